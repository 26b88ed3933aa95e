"""The folder on each node that holds versions from remote storage: where things lie, and how they come and go.

    entries/NAME/files/    a version, whole and verified; described by the manifest.json beside it
    fetching/NAME/         a version that is being fetched, or the remains of a fetch that was cut short
    locks/NAME.use         held shared by every model server that uses the entry, so that it is not evicted
    locks/NAME.fetch       held by the one process that fetches a URL; the others wait and find the entry
    locks/room             held while room is made
    trash/                 what is being deleted

An entry is created by one rename, after its files are on the disk. Locks end with their processes, so a process that is
killed leaves nothing behind that could not be used or deleted.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from core.storage.cache_entries import FileState, Manifest
from deployments.system.file_lock import FileLock

LOCK_KINDS: Mapping[str, str] = {"entries": "use", "fetching": "fetch"}
"""The lock that protects what lies in a folder of the cache."""


class CacheFolder:
    """The cache folder of a node; names of things in it are `entries/NAME` and `fetching/NAME`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create the folders that are missing, accessible to this user only."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("entries", "fetching", "locks", "trash"):
            (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def at(self, name: str) -> Path:
        """Return the path of an entry or a fetch."""
        return self.path / name

    def names(self) -> Iterator[str]:
        """Yield the names of all entries and fetches."""
        for kind in LOCK_KINDS:
            yield from (f"{kind}/{path.name}" for path in (self.path / kind).iterdir())

    def lock_file(self, name: str) -> Path:
        """Return the file of the lock that is held while an entry is used, or a fetch is under way."""
        kind, _, own_name = name.partition("/")
        return self.path / "locks" / f"{own_name}.{LOCK_KINDS[kind]}"

    @property
    def room_lock_file(self) -> Path:
        """Return the file of the lock that is held while room is made."""
        return self.path / "locks" / "room"

    def discard(self, name: str) -> None:
        """Delete an entry or a fetch in one step, so that no part of it is ever seen."""
        source = self.at(name)
        trash = self.path / "trash" / f"{source.name}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            source.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def empty_trash(self) -> None:
        """Delete what was being deleted when its process ended."""
        for path in (self.path / "trash").iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def remove_stray_locks(self) -> None:
        """Delete the lock files of entries and fetches that are gone."""
        for kind, suffix in LOCK_KINDS.items():
            for lock_file in (self.path / "locks").glob(f"*.{suffix}"):
                if not (self.path / kind / lock_file.stem).exists():
                    lock = FileLock.take_if_free(lock_file)
                    if lock is not None:
                        lock.remove()


def file_states(folder: Path) -> dict[str, FileState]:
    """Return the state of all files below a folder; those that vanish meanwhile are left out."""
    states = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(FileNotFoundError):
                seen = path.lstat()
                states[str(path.relative_to(folder))] = FileState(seen.st_size, seen.st_mtime_ns)
    return states


def size_bytes(folder: Path) -> int:
    """Count the bytes of all files below a folder."""
    return sum(one.size_bytes for one in file_states(folder).values())


def read_manifest(entry: Path) -> Manifest | None:
    """Return the manifest of an entry; None when it has none that can be read."""
    try:
        return Manifest.from_text((entry / "manifest.json").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def publish(fetched: Path, entry: Path, manifest: Manifest) -> None:
    """Turn a fetched folder into an entry by one rename, once its files and their names are on the disk."""
    with (fetched / "manifest.json").open("w", encoding="utf-8") as file:
        file.write(manifest.to_text())
        file.flush()
        os.fsync(file.fileno())
    for folder, _, _ in os.walk(fetched):
        _sync(Path(folder))
    fetched.rename(entry)
    _sync(entry.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
