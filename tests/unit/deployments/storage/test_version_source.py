"""Tests of listing versions, on a local file system and through fsspec."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from core.config.version_policy import All, Latest
from core.storage.version_listing import Source, VersionDirectory, VersionListing
from deployments.storage import version_source
from deployments.storage.version_source import MOST_FOLDERS_OUTSIDE, VersionSource


@pytest.fixture
def memory():
    """A store in memory, empty again afterwards."""
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def write(path: Path, content: bytes = b"model") -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(base_path: object, policy=Latest()) -> VersionListing:  # noqa: B008 - frozen
    """List as the watcher does."""
    source: Source = VersionSource()
    return source.list_versions(str(base_path), policy)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_versions_are_listed_with_their_files(tmp_path, prefix) -> None:
    """Deep files too, with size and the time of their last change."""
    write(tmp_path / "3" / "saved_model.pb")
    write(tmp_path / "3" / "variables" / "variables.index", b"index")

    directory = listed(f"{prefix}{tmp_path}").versions[3]

    assert directory.path == str(tmp_path / "3")
    assert {(file.path, file.size_bytes) for file in directory.files} == {
        ("saved_model.pb", 5),
        ("variables/variables.index", 5),
    }
    assert all(file.changed_s == pytest.approx(datetime.now(UTC).timestamp(), abs=60) for file in directory.files)


def test_a_file_whose_time_was_set_back_shows_when_it_was_written(tmp_path) -> None:
    """Copies that keep times must not look finished while they are made."""
    file = write(tmp_path / "1" / "saved_model.pb")
    os.utime(file, (1000, 1000))

    (entry,) = listed(tmp_path).versions[1].files

    assert entry.changed_s == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


def test_other_names_are_ignored_with_their_reason(tmp_path) -> None:
    """What is no number is no version."""
    for name in ("7", "tmp", "8.denied"):
        write(tmp_path / name / "saved_model.pb")

    found = listed(tmp_path)

    assert set(found.versions) == {7}
    assert found.ignored == {"tmp": "not a whole number", "8.denied": "not a whole number"}


@pytest.mark.parametrize(("policy", "name"), [(Latest(), "7"), (All(), "007")])
def test_of_two_directories_with_one_number_the_policy_decides(tmp_path, policy, name) -> None:
    """The path is that of the directory chosen."""
    write(tmp_path / "7" / "saved_model.pb")
    write(tmp_path / "007" / "saved_model.pb")

    assert listed(tmp_path, policy).versions[7].path == str(tmp_path / name)


def test_a_file_named_as_a_number_is_a_version_without_files(tmp_path) -> None:
    """It is never complete."""
    write(tmp_path / "7")

    assert listed(tmp_path).versions[7].files == frozenset()


def test_linked_directories_are_followed(tmp_path) -> None:
    """A version may be a link into a store of models."""
    write(tmp_path / "elsewhere" / "saved_model.pb")
    base = tmp_path / "base"
    base.mkdir()
    (base / "1").symlink_to(tmp_path / "elsewhere")

    assert {file.path for file in listed(base).versions[1].files} == {"saved_model.pb"}


def test_dangling_links_count_as_not_there(tmp_path) -> None:
    """What vanishes while we look is the same."""
    write(tmp_path / "1" / "saved_model.pb")
    (tmp_path / "1" / "gone").symlink_to(tmp_path / "nowhere")

    assert {file.path for file in listed(tmp_path).versions[1].files} == {"saved_model.pb"}


@pytest.mark.parametrize("link", ["2", "1/circle"])
def test_links_in_a_circle_do_not_hide_other_versions(tmp_path, link) -> None:
    """They lead nowhere, so that nothing is there."""
    write(tmp_path / "1" / "saved_model.pb")
    (tmp_path / link).symlink_to(tmp_path / link)

    found = listed(tmp_path)

    assert found.error == ""
    assert {file.path for file in found.versions[1].files} == {"saved_model.pb"}
    assert all(not found.versions[number].files for number in found.versions if number != 1)


@pytest.mark.parametrize("link", ["1/loop", "1/variables/loop"])
def test_a_link_to_a_folder_above_does_not_hide_the_model(tmp_path, link) -> None:
    """A loop has no end; the version is listed all the same."""
    write(tmp_path / "1" / "saved_model.pb")
    write(tmp_path / "1" / "variables" / "variables.index")
    (tmp_path / link).symlink_to(tmp_path / "1")

    found = listed(tmp_path)

    assert found.error == ""
    assert {"saved_model.pb", "variables/variables.index"} <= {file.path for file in found.versions[1].files}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("folders", ["ab", "abcdefghijkl"])
def test_links_to_and_fro_end_soon(tmp_path, folders) -> None:
    """Folders with links to each other have more paths than can be walked; every tick would hang."""
    write(tmp_path / "1" / "saved_model.pb")
    for folder in folders:
        write(tmp_path / "1" / folder / "file")
        for other in set(folders) - {folder}:
            (tmp_path / "1" / folder / f"to_{other}").symlink_to(f"../{other}")
            (tmp_path / "1" / folder / f"also_to_{other}").symlink_to(f"../{other}")

    found = {file.path for file in listed(tmp_path).versions[1].files}

    assert {"saved_model.pb", *(f"{folder}/file" for folder in folders)} <= found
    assert len(folders) > 2 or {"a/to_b/file", "a/also_to_b/file", "b/to_a/file", "b/also_to_a/file"} <= found


def test_what_cannot_be_listed_is_an_error_of_the_listing(tmp_path) -> None:
    """Nothing is raised, so that one model's storage cannot stop the others."""
    file = write(tmp_path / "file")

    assert listed(tmp_path / "nope").error == f"NOT_FOUND: {tmp_path}/nope not found"
    assert listed(file).error == f"FAILED_PRECONDITION: {file} is not a directory"
    assert listed("unknown-store://bucket/m").error.startswith(
        "INVALID_ARGUMENT: unknown-store://bucket/m: Protocol not"
    )


def test_a_folder_that_may_not_be_read_says_so(monkeypatch) -> None:
    """As root everything may be read, hence the stand-in."""

    def refuse(_: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(version_source.os, "listdir", refuse)

    assert listed("/m").error == "PERMISSION_DENIED: /m: [Errno 13] Permission denied"


@pytest.mark.parametrize("unreadable", ["8", "8/variables"])
def test_a_version_that_may_not_be_read_hides_no_other(tmp_path, monkeypatch, unreadable) -> None:
    """It is there, so that one which runs is not taken away; the others are listed as ever."""
    for name in ("7", "8"):
        write(tmp_path / name / "saved_model.pb")
        write(tmp_path / name / "variables" / "variables.index")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.path.normpath(path) == str(tmp_path / unreadable):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(version_source.os, "scandir", refuse)

    found = listed(tmp_path)

    assert found.error == ""
    assert found.versions[8] == VersionDirectory(str(tmp_path / "8"), unreadable="Permission denied")
    assert len(found.versions[7].files) == 2


def test_an_empty_base_path_is_no_error(tmp_path, memory) -> None:
    """It unloads the model, as TensorFlow Serving does."""
    memory.makedirs("/empty")

    assert listed(tmp_path) == VersionListing()
    assert listed("memory://empty") == VersionListing()


@pytest.mark.parametrize("base", ["memory://models/m", "memory://models/m/"])
def test_a_store_is_listed_by_the_paths_of_its_files(memory, base) -> None:
    """Object stores have no directories."""
    memory.pipe("/models/m/3/saved_model.pb", b"model")
    memory.pipe("/models/m/3/variables/variables.index", b"index")
    memory.pipe("/models/m/33/saved_model.pb", b"other")
    memory.pipe("/models/m/readme.txt", b"text")

    found = listed(base)

    assert found.versions[3].path == "memory://models/m/3"
    assert {(file.path, file.size_bytes) for file in found.versions[3].files} == {
        ("saved_model.pb", 5),
        ("variables/variables.index", 5),
    }
    assert {file.path for file in found.versions[33].files} == {"saved_model.pb"}
    assert found.ignored == {"readme.txt": "not a whole number"}


def test_a_store_without_the_base_path_says_so(memory) -> None:
    """An object store cannot tell an empty folder from none."""
    memory.pipe("/models/other/1/saved_model.pb", b"model")

    assert listed("memory://models/m").error == "NOT_FOUND: memory://models/m not found"


def test_an_error_that_nobody_foresaw_is_one_of_its_model_only(monkeypatch) -> None:
    """Its text is scrubbed of what changes at every look."""

    def fail(_: str) -> list[str]:
        raise OSError(5, "Input/output error at 0x7f001122")

    monkeypatch.setattr(version_source.os, "listdir", fail)

    assert listed("/m").error == "UNAVAILABLE: /m: OSError: [Errno 5] Input/output error at …"


def test_a_file_instead_of_a_base_path_is_named(memory) -> None:
    """In a store as on a disk."""
    memory.pipe("/models/m", b"file")

    assert listed("memory://models/m").error == "FAILED_PRECONDITION: memory://models/m: not a directory"


def test_files_outside_of_versions_are_listed_where_there_are_no_versions(tmp_path: Path) -> None:
    """They show what lies there instead, nearest first; beside versions they say nothing, and links are not followed."""
    for path in ("readme.md", "deep/1/saved_model.pb", "a/b/c/d/e/too_deep"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("text")
    (tmp_path / "back").symlink_to(tmp_path)
    without = VersionSource().list_versions(str(tmp_path), Latest()).outside
    (tmp_path / "1").mkdir()

    assert without == {"readme.md", "deep/1/saved_model.pb", "back"}
    assert VersionSource().list_versions(str(tmp_path), Latest()).outside == frozenset()


def test_a_base_path_without_versions_is_looked_into_as_far_as_a_hint_needs(tmp_path: Path) -> None:
    """It may be a whole disk by mistake."""
    for number in range(2 * MOST_FOLDERS_OUTSIDE):
        (tmp_path / f"folder{number}").mkdir()
        (tmp_path / f"folder{number}" / "file").touch()

    assert len(VersionSource().list_versions(str(tmp_path), Latest()).outside) == MOST_FOLDERS_OUTSIDE - 1
