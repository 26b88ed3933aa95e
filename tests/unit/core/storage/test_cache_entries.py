"""Entries of the node's cache: their names, whether they are whole, and which of them go."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ResourceExhausted
from core.storage.cache_entries import FileState, Manifest, Occupant, Room, damage, entry_name, url_name, victims

URL = "s3://bucket/models/half_plus_two/7"
FILES = {"saved_model.pb": FileState(10, 1), "variables/variables.index": FileState(5, 2)}
MANIFEST = Manifest(URL, "f1", FILES)
WIDE = Room(limit_bytes=10**9, free_bytes=10**9)


def test_names_show_model_and_version() -> None:
    """For operators who look into the folder."""
    assert url_name(URL).startswith("half_plus_two-7-")
    assert entry_name(URL, "f1").startswith("half_plus_two-7-")


def test_names_differ_by_url_and_content() -> None:
    """Two contents of one URL are two entries."""
    names = {url_name(URL), entry_name(URL, "f1"), entry_name(URL, "f2"), entry_name(URL.replace("bucket", "b2"), "f1")}

    assert len(names) == 4
    assert entry_name(URL, "f1") == entry_name(URL, "f1")


@pytest.mark.parametrize("url", ["memory://", "s3://b/../../x", "s3://b/a b/ü\0/", "x" * 5000, "s3://b/" + "y" * 400])
def test_every_url_gives_a_name_that_is_one_folder(url) -> None:
    """Whatever stands in it."""
    name = url_name(url)

    assert "/" not in name
    assert "\0" not in name
    assert 0 < len(name) < 100
    assert not name.startswith(".")


def test_a_manifest_is_read_as_it_was_written() -> None:
    """Its size is that of its files."""
    assert Manifest.from_text(MANIFEST.to_text()) == MANIFEST
    assert MANIFEST.size_bytes == 15


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        '{"url": "u", "fingerprint": "f", "files": []}',
        '{"url": "u", "fingerprint": "f", "files": {"a": 1}}',
        '{"url": "u", "fingerprint": "f", "files": {"a": {"size_bytes": "x", "changed_ns": 1}}}',
        json.dumps({"url": "u", "files": {}}),
    ],
)
def test_a_broken_manifest_is_none(text) -> None:
    """It is no reason to fail."""
    assert Manifest.from_text(text) is None


def test_an_untouched_entry_is_whole() -> None:
    """All files as they were."""
    assert damage(MANIFEST, URL, "f1", dict(FILES)) == ""


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({**FILES, "saved_model.pb": FileState(9, 1)}, "saved_model.pb was changed"),
        ({**FILES, "saved_model.pb": FileState(10, 3)}, "saved_model.pb was changed"),
        ({"saved_model.pb": FILES["saved_model.pb"]}, "variables/variables.index is missing"),
        ({**FILES, "more": FileState(0, 0)}, "more was added"),
        ({}, "saved_model.pb is missing"),
    ],
)
def test_changed_entries_are_damaged(found, text) -> None:
    """Truncated, changed, deleted or added files."""
    assert damage(MANIFEST, URL, "f1", found) == text


@pytest.mark.parametrize("manifest", [None, Manifest("other", "f1", FILES), Manifest(URL, "f2", FILES)])
def test_an_entry_of_something_else_is_damaged(manifest) -> None:
    """So is one that does not say what it is."""
    assert damage(manifest, URL, "f1", FILES) == "its manifest is missing or broken"


def occupant(name: str, size: int, used_s: float = 0.0, *, is_in_use: bool = False) -> Occupant:
    """Make something that takes room."""
    return Occupant(name, size, used_s, is_in_use)


def test_nothing_goes_while_there_is_room() -> None:
    """A cache keeps what it has."""
    assert victims([occupant("a", 10)], 10, 0, Room(20, 10)) == ()


def test_the_longest_unused_goes_first() -> None:
    """And no more than needed."""
    present = [occupant("new", 10, 3.0), occupant("old", 10, 1.0), occupant("middle", 10, 2.0)]

    assert victims(present, 15, 0, Room(30, 10**9)) == ("old", "middle")


def test_what_is_in_use_never_goes() -> None:
    """However old it is."""
    present = [occupant("used", 10, 1.0, is_in_use=True), occupant("free", 10, 2.0)]

    assert victims(present, 10, 0, Room(20, 10**9)) == ("free",)


def test_a_full_disk_evicts_as_the_limit_does() -> None:
    """What lies there of the version already needs no more room."""
    assert victims([occupant("a", 10)], 20, 5, Room(10**9, 15)) == ()
    assert victims([occupant("a", 10)], 20, 5, Room(10**9, 14)) == ("a",)


def test_without_room_nothing_goes_and_the_limit_is_named() -> None:
    """Evicting in vain would only cost the next version its cache."""
    present = [occupant("used", 80, is_in_use=True), occupant("free", 10)]

    with pytest.raises(ResourceExhausted, match=r"of 50 bytes: running versions hold 80 of 100 bytes.*model_cache_max"):
        victims(present, 50, 0, Room(100, 10**9))


def test_without_disk_the_text_says_disk() -> None:
    """A larger limit would not help."""
    with pytest.raises(ResourceExhausted, match=r"disk of the model cache has no room .* 50 bytes: 20 bytes are free"):
        victims([occupant("used", 80, is_in_use=True)], 50, 0, Room(10**9, 20))


occupants = st.lists(
    st.builds(occupant, st.uuids().map(str), st.integers(0, 50), st.floats(0, 9), is_in_use=st.booleans()), max_size=8
)


@given(occupants, st.integers(0, 100), st.integers(0, 200), st.integers(0, 200))
def test_what_goes_makes_room_and_is_nobodys(present, wanted, limit, free) -> None:
    """Whatever lies there: afterwards the version fits, or nothing was chosen at all."""
    try:
        chosen = set(victims(present, wanted, 0, Room(limit, free)))
    except ResourceExhausted:
        return

    gone = [one for one in present if one.name in chosen]
    freed = sum(one.size_bytes for one in gone)
    assert not any(one.is_in_use for one in gone)
    assert sum(one.size_bytes for one in present) - freed + wanted <= limit
    assert wanted <= free + freed
