"""How a version is fetched: pieces, what is kept of an earlier attempt, pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.storage.fetch_plan import CHUNK_BYTES, FinishedFile, chunks, finished_files, identity, unusable_name
from core.storage.version_listing import FileEntry

FILE = FileEntry("variables/variables.index", 10, 50.0, "etag")


@pytest.mark.parametrize(
    ("begun", "size", "pieces"),
    [
        (0, 0, []),
        (0, 1, [(0, 1)]),
        (0, CHUNK_BYTES, [(0, CHUNK_BYTES)]),
        (0, CHUNK_BYTES + 1, [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES + 1)]),
        (7, 9, [(7, 9)]),
        (9, 9, []),
    ],
)
def test_pieces_cover_what_is_missing(begun, size, pieces) -> None:
    """Without gaps, and none is empty."""
    assert list(chunks(begun, size)) == pieces


@pytest.mark.parametrize(
    ("paths", "unusable"),
    [
        (["saved_model.pb", "variables/variables.index"], ""),
        (["../etc/passwd"], "../etc/passwd"),
        (["a/../../b"], "a/../../b"),
        (["/etc/passwd"], "/etc/passwd"),
        (["a//b"], "a//b"),
        (["./a"], "./a"),
        (["a\0b"], "a\0b"),
        (["a" * 256], "a" * 256),
        (["é" * 128], "é" * 128),
        (["assets", "assets/vocabulary.txt"], "assets/vocabulary.txt"),
        (["a/b", "a/b/c/d"], "a/b/c/d"),
    ],
)
def test_names_that_no_folder_can_hold_are_found(paths, unusable) -> None:
    """A store must not be able to write anywhere else on the node."""
    assert unusable_name(frozenset(FileEntry(path, 1) for path in paths)) == unusable


@pytest.mark.parametrize(
    "other",
    [replace(FILE, path="x"), replace(FILE, size_bytes=11), replace(FILE, changed_s=51.0), replace(FILE, etag="other")],
)
def test_other_content_has_another_identity(other) -> None:
    """Nothing of it may be continued."""
    assert identity(FILE) == identity(replace(FILE))
    assert identity(FILE) != identity(other)


def test_a_file_of_which_nothing_is_told_has_no_identity() -> None:
    """Its size alone does not say whether it is the same."""
    assert identity(FileEntry("a", 1)) == ""


def test_finished_files_are_known_again() -> None:
    """The journal says which, as long as their content is wanted."""
    line = FinishedFile(FILE.path, identity(FILE), "md5").to_line()

    assert finished_files(line, [FILE]) == {FILE.path: FinishedFile(FILE.path, identity(FILE), "md5")}
    assert finished_files(line, [replace(FILE, etag="other")]) == {}
    assert finished_files(line, []) == {}


@pytest.mark.parametrize("line", ['{"path": "a", "identity"', "[]", "null", "7", '{"path": "a"}', "", '{"path": 1}'])
def test_broken_lines_of_a_journal_are_skipped(line) -> None:
    """The last one is often cut short."""
    good = FinishedFile(FILE.path, identity(FILE), "md5").to_line()

    assert set(finished_files(good + line, [FILE])) == {FILE.path}


def test_a_file_without_identity_is_never_finished() -> None:
    """It is fetched again."""
    nameless = FileEntry("a", 1)

    assert finished_files(FinishedFile("a", "", "md5").to_line(), [nameless]) == {}
