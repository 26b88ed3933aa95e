"""Where things lie in the cache folder of a node, and how they come and go."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.storage.cache_entries import FileState, Manifest
from deployments.storage.cache_folder import CacheFolder, file_states, publish, read_manifest, size_bytes
from deployments.system.file_lock import FileLock


@pytest.fixture
def folder(tmp_path: Path) -> CacheFolder:
    """An empty cache."""
    made = CacheFolder(tmp_path / "cache")
    made.make()
    return made


def put(folder: CacheFolder, name: str, **files: bytes) -> Path:
    """Put files into an entry or a fetch."""
    path = folder.at(name)
    path.mkdir(parents=True)
    for file, content in files.items():
        (path / file).write_bytes(content)
    return path


def test_the_folder_is_open_to_its_owner_only(folder: CacheFolder) -> None:
    """Models may be secret; to make the folder again changes nothing."""
    put(folder, "entries/m-1", a=b"x")

    folder.make()

    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder.path, *folder.path.iterdir())} == {0o700}
    assert list(folder.names()) == ["entries/m-1"]


@pytest.mark.parametrize(("name", "lock"), [("entries/m-1", "m-1.use"), ("fetching/m-1", "m-1.fetch")])
def test_entries_and_fetches_have_locks_of_their_own(folder: CacheFolder, name: str, lock: str) -> None:
    """To use a version and to fetch one of the same name do not wait for each other."""
    assert folder.lock_file(name) == folder.path / "locks" / lock
    assert folder.lock_file(name) != folder.room_lock_file


def test_what_is_discarded_is_gone_as_a_whole(folder: CacheFolder) -> None:
    """Also when it was gone before."""
    put(folder, "entries/m-1", a=b"x")
    put(folder, "fetching/m-2", a=b"x")

    folder.discard("entries/m-1")
    folder.discard("entries/m-1")

    assert list(folder.names()) == ["fetching/m-2"]
    assert list((folder.path / "trash").iterdir()) == []


def test_what_a_killed_process_began_to_delete_is_deleted(folder: CacheFolder) -> None:
    """The next process that makes room sweeps."""
    put(folder, "trash/m-1-00", a=b"x")

    folder.empty_trash()

    assert list((folder.path / "trash").iterdir()) == []


def test_locks_of_what_is_gone_are_removed_unless_they_are_held(folder: CacheFolder) -> None:
    """A process that waits for a lock must not wait for a file that was deleted."""
    put(folder, "entries/m-1", a=b"x")
    files = {name: folder.lock_file(name) for name in ("entries/m-1", "entries/m-2", "entries/m-3", "fetching/m-1")}
    for file in files.values():
        file.touch()

    with FileLock.take(files["entries/m-3"]):
        folder.remove_stray_locks()

    assert {name for name, file in files.items() if file.exists()} == {"entries/m-1", "entries/m-3"}


def test_a_fetched_folder_becomes_an_entry_with_its_manifest(folder: CacheFolder) -> None:
    """The manifest is the last file, so an entry without it is not whole."""
    fetched = put(folder, "fetching/m-1", a=b"xyz")
    manifest = Manifest("s3://b/m/1", "f", {"a": FileState(3, 5)})

    publish(fetched, folder.at("entries/m-1"), manifest)

    assert list(folder.names()) == ["entries/m-1"]
    assert read_manifest(folder.at("entries/m-1")) == manifest


@pytest.mark.parametrize("text", [None, "", "{", b"\xff".decode("latin-1")])
def test_an_entry_without_a_readable_manifest_has_none(folder: CacheFolder, text: str | None) -> None:
    """It is fetched anew."""
    entry = put(folder, "entries/m-1")
    if text is not None:
        (entry / "manifest.json").write_text(text, encoding="latin-1")

    assert read_manifest(entry) is None
    assert read_manifest(entry / "manifest.json") is None


def test_files_are_counted_at_every_depth(folder: CacheFolder) -> None:
    """With their paths below the folder, as in a manifest."""
    entry = put(folder, "entries/m-1", a=b"x")
    (entry / "variables").mkdir()
    (entry / "variables" / "index").write_bytes(b"12")

    assert {path: one.size_bytes for path, one in file_states(entry).items()} == {"a": 1, "variables/index": 2}
    assert size_bytes(entry) == 3
    assert size_bytes(entry / "missing") == 0
