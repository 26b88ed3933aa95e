"""Whether a SavedModel is completely written, by what its own files say."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.storage.version_listing import CHANGING, FileEntry, Judged, VersionDirectory, VersionListing
from core.storage.whole_saved_model import (
    INDEX,
    MODEL,
    REST_S,
    ReadAt,
    Unreadable,
    asset_files,
    finished_last,
    is_all_there,
    shard_sizes,
)
from tests.support.zoo_models import MODELS, zoo_folder

NOW_S = 1e9
ZOO = sorted(path.parent for path in MODELS.rglob(MODEL))
SHARDED = zoo_folder("tf_sharded", 1)
TABLE = zoo_folder("tf_assets_table", 1)


def reader(content: bytes) -> ReadAt:
    """Return how a file with this content is read."""
    return lambda start, end: content[start:end]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a version."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(files: Mapping[str, bytes]) -> bool:
    """Whether files are a whole SavedModel."""
    entries = frozenset(FileEntry(path, len(content), NOW_S) for path, content in files.items())
    return is_all_there(entries, reader(files.get(MODEL, b"")), files.get(INDEX, b""))


@pytest.mark.parametrize("folder", ZOO, ids=lambda path: path.parent.name)
def test_what_exporters_write_is_whole(folder: Path) -> None:
    """Every SavedModel of the zoo that has variables; the index knows the size of each file to the byte."""
    files = contents(folder)

    assert whole(files)
    assert sum(shard_sizes(files[INDEX]).values()) == sum(
        len(content) for path, content in files.items() if ".data-" in path
    )


@pytest.mark.parametrize("folder", [SHARDED, TABLE], ids=["shards", "assets"])
def test_a_copy_is_whole_when_its_last_byte_is_there(folder: Path) -> None:
    """In whatever order it is made, and wherever it is cut off."""
    files = {path: content for path, content in contents(folder).items() if path != "fingerprint.pb"}
    for missing, content in files.items():
        rest = {path: content for path, content in files.items() if path != missing}
        assert not whole(rest), missing
        if missing.startswith("assets/"):
            continue  # a copy that is still written is newer than saved_model.pb
        for cut in {0, 1, len(content) // 2, len(content) - 1}:
            assert not whole({**rest, missing: content[:cut]}), (missing, cut)


def test_a_model_file_is_cut_off_wherever_it_ends_early() -> None:
    """Every place of it: no beginning of a file is taken for the whole."""
    content = contents(TABLE)[MODEL]

    assert asset_files(reader(content), len(content)) == {"words.txt"}
    for end in range(len(content)):
        with pytest.raises(Unreadable):
            asset_files(reader(content[:end]), end)


def test_an_index_is_cut_off_wherever_it_ends_early() -> None:
    """Its last bytes say that it is one."""
    content = contents(SHARDED)[INDEX]

    assert len(shard_sizes(content)) > 1
    for end in range(len(content)):
        with pytest.raises(Unreadable):
            shard_sizes(content[:end])


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=8))
def test_any_bytes_are_read_or_refused(content: bytes, at: int, more: bytes) -> None:
    """Nothing else is raised, and nothing is read without end."""
    index = contents(SHARDED)[INDEX]
    for model, table in (
        (content, content + struct.pack("<Q", 0xDB4775248B80FB57)),
        (content, index[:at] + more + index[at + len(more) :]),
    ):
        whole({MODEL: model, INDEX: table})


def known(*paths: str, number: int = 2, **changed_s: float) -> Judged:
    """Return what is known of versions 1, which is complete, and 2, which waits; files are a second old or as given."""
    at_s = {"saved_model": MODEL, "index": INDEX, "fingerprint": "fingerprint.pb", "asset": "assets/a"}
    changed = {at_s[name]: NOW_S - ago_s for name, ago_s in changed_s.items()}
    files = frozenset(FileEntry(path, 1, changed.get(path, NOW_S - 1.0)) for path in {MODEL, INDEX, *paths, *changed})
    earlier = frozenset({FileEntry(MODEL, 1, 1.0), FileEntry("variables/variables.index", 1, 1.0)})
    listing = VersionListing({1: VersionDirectory("/m/1", earlier), number: VersionDirectory(f"/m/{number}", files)})
    return Judged(listing, {number: CHANGING}, found=listing)


@pytest.mark.parametrize(
    ("seen", "is_finished"),
    [
        pytest.param(known(), True, id="all_at_once"),
        pytest.param(known(saved_model=0.5), True, id="written_last"),
        pytest.param(known(saved_model=0.5, fingerprint=0.4), True, id="TensorFlow_writes_a_fingerprint_later"),
        pytest.param(known("assets.extra/hooks.py"), True, id="with_more_than_the_version_before"),
        pytest.param(known(saved_model=REST_S / 2), False, id="just_now"),
        pytest.param(known(fingerprint=REST_S / 2), False, id="a_fingerprint_just_now"),
        pytest.param(known(saved_model=-5.0), False, id="in_the_future"),
        pytest.param(known(index=0.5), False, id="variables_later"),
        pytest.param(known(asset=0.5), False, id="assets_later"),
    ],
)
def test_only_a_version_whose_model_was_written_last_is_read(seen: Judged, *, is_finished: bool) -> None:
    """Files that come after it may have followers that nothing names."""
    assert [one.path for one in finished_last(seen, NOW_S)] == (["/m/2"] if is_finished else [])


def test_a_version_without_what_lies_beside_an_earlier_one_is_not_read() -> None:
    """Hooks may still come, without which it would answer something else; assets and fingerprints are named elsewhere."""
    for path, is_finished in (
        ("assets.extra/hooks.py", False),
        ("batching_params.pbtxt", False),
        ("assets/a", True),
        ("fingerprint.pb", True),
    ):
        seen = known()
        assert seen.found is not None
        first = seen.found.versions[1]
        more = replace(first, files=first.files | {FileEntry(path, 1, 1.0)})
        listing = VersionListing({**seen.found.versions, 1: more})
        assert bool(list(finished_last(replace(seen, found=listing), NOW_S))) is is_finished, path


def test_a_version_that_waits_for_something_else_is_not_read() -> None:
    """Nor one without times, nor one that is only known from before."""
    seen = known()
    timeless = frozenset({FileEntry(MODEL, 1), FileEntry(INDEX, 1, 1.0)})

    assert not list(finished_last(replace(seen, waiting={2: "waits for saved_model.pb"}), NOW_S))
    assert not list(finished_last(replace(seen, waiting={3: CHANGING}), NOW_S))
    assert not list(finished_last(Judged(waiting={2: CHANGING}), NOW_S))
    listing = VersionListing({2: VersionDirectory("/m/2", timeless)})
    assert not list(finished_last(replace(seen, found=listing), NOW_S))
