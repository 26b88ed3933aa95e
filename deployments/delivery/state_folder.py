"""Small text files in a folder that outlives the server: local, or at a URL of a store that can be written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import Code
from core.storage.store_errors import StorageFailed, storage_failed
from core.storage.version_listing import is_remote, local_path
from deployments.storage.remote_store import symptoms_of
from deployments.storage.store_opening import open_store

Answer = TypeVar("Answer")

LARGEST_BYTES = 16 * 1024 * 1024
"""A larger file is not one of ours."""

UNFINISHED = ".unfinished"


class StateFolder(Protocol):
    """A folder of files; every method raises StorageFailed, and may take long."""

    def names(self) -> frozenset[str]:
        """Return the names of the files; a folder that is not there yet has none."""

    def read(self, name: str) -> bytes:
        """Return a file."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, instead of one of that name; a reader finds either of them whole."""

    def rename(self, name: str, to: str) -> None:
        """Give a file another name."""

    def remove(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""


def state_folder(place: str) -> StateFolder:
    """Return the folder at a local path or URL; opens nothing yet."""
    return StoreFolder(place.rstrip("/")) if is_remote(place) else LocalFolder(Path(local_path(place)))


class LocalFolder:
    """A folder of this machine, or of a file system that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> frozenset[str]:
        """Return the names of the files, without those that were never finished."""
        if not _asked(self._folder, self._folder.exists):
            return frozenset()
        found = _asked(self._folder, lambda: os.listdir(self._folder))
        return frozenset(name for name in found if not name.endswith(UNFINISHED))

    def read(self, name: str) -> bytes:
        """Return a file."""
        path = self._folder / name

        def content() -> bytes:
            _require_small(path, path.stat().st_size)
            return path.read_bytes()

        return _asked(path, content)

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside and rename it: after a power cut there is the old one or the new one."""
        path = self._folder / name

        def put() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(path.name + UNFINISHED)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            _sync(self._folder)

        _asked(path, put)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name."""
        _asked(self._folder / name, lambda: (self._folder / name).replace(self._folder / to))

    def remove(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""
        _asked(self._folder / name, lambda: (self._folder / name).unlink(missing_ok=True))


class StoreFolder:
    """A folder of an object store, where a file that is put is there at once and whole."""

    def __init__(self, url: str) -> None:
        self._url = url

    def names(self) -> frozenset[str]:
        """Return the names of the files directly in the folder."""

        def listed(store: Any, root: str) -> frozenset[str]:
            try:
                found = store.ls(root, detail=False)
            except FileNotFoundError:
                return frozenset()
            return frozenset(str(one).rstrip("/").rpartition("/")[2] for one in found)

        return self._ask("", listed)

    def read(self, name: str) -> bytes:
        """Return a file."""

        def content(store: Any, path: str) -> bytes:
            _require_small(f"{self._url}/{name}", int(store.size(path) or 0))
            return bytes(store.cat_file(path))

        return self._ask(name, content)

    def write(self, name: str, content: bytes) -> None:
        """Put a file there by one request."""

        def put(store: Any, path: str) -> None:
            store.makedirs(path.rpartition("/")[0], exist_ok=True)
            store.pipe_file(path, content)

        self._ask(name, put)

    def rename(self, name: str, to: str) -> None:
        """Copy a file to its other name and delete it under the first one."""
        self._ask(name, lambda store, path: store.mv(path, f"{path.rpartition('/')[0]}/{to}"))

    def remove(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""

        def deleted(store: Any, path: str) -> None:
            if store.exists(path):
                store.rm_file(path)

        self._ask(name, deleted)

    def _ask(self, name: str, question: Callable[[Any, str], Answer]) -> Answer:
        """Open the store for one question, so that credentials are always fresh: there is one in many seconds."""
        url = f"{self._url}/{name}".rstrip("/")
        try:
            store = open_store(url)
            return question(store, store._strip_protocol(url).rstrip("/"))  # noqa: SLF001 - every file system has it
        except StorageFailed:
            raise
        except Exception as error:
            raise storage_failed(symptoms_of(error), url) from error


def _asked(path: Path, question: Callable[[], Answer]) -> Answer:
    """Ask this machine's file system; raises StorageFailed."""
    try:
        return question()
    except OSError as error:
        raise StorageFailed(Code.UNAVAILABLE, f"{path}: {error.strerror or error}") from error


def _require_small(path: Path | str, size_bytes: int) -> None:
    if size_bytes > LARGEST_BYTES:
        raise StorageFailed(Code.RESOURCE_EXHAUSTED, f"{path}: it is larger than {LARGEST_BYTES} bytes")


def _sync(folder: Path) -> None:
    """Let a rename reach the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
