"""The store of any URL: fsspec's, or the source of a package for a scheme that fsspec does not know."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import fsspec

from core.errors import Code
from core.storage.checksums import StoredChecksums
from core.storage.source_store import OpenSource, SourceStore
from core.storage.store_errors import SHORT_READ, StorageFailed, Symptoms, storage_failed
from core.storage.version_listing import FileEntry
from deployments.storage.remote_store import FsspecStore, RemoteStore, WholeFile, symptoms_of
from deployments.system.entry_points import ExtensionPoint, registered

Answer = TypeVar("Answer")


class AnyStore:
    """Every store that fsspec or an installed package supports; a package is imported for a URL of its scheme only."""

    def __init__(self) -> None:
        self._fsspec = FsspecStore()
        self._sources: dict[str, PackageStore] = {}
        self._lock = threading.Lock()

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """Return all files below a URL."""
        return self._of(url).list_files(url)

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Return a piece of a file."""
        return self._of(url).read(url, path, start, end)

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Return the checksums that the store holds of a file."""
        return self._of(url).checksums(url, path)

    def read_whole(self, url: str, most_bytes: int, known_state: str = "") -> WholeFile | None:
        """Return a small file; None while its state is the known one."""
        return self._of(url).read_whole(url, most_bytes, known_state)

    def _of(self, url: str) -> RemoteStore:
        scheme = url.partition("://")[0]
        if scheme in fsspec.available_protocols() or scheme not in tuple(registered(ExtensionPoint.SOURCES)):
            return self._fsspec
        with self._lock:
            if scheme not in self._sources:
                self._sources[scheme] = PackageStore(scheme, _source(scheme, url))
            return self._sources[scheme]


def _source(scheme: str, url: str) -> OpenSource:
    """Return what opens the source of a scheme; raises StorageFailed when that is broken."""
    sources = registered(ExtensionPoint.SOURCES)
    found: OpenSource | None = sources.get(scheme)
    if found is None:
        text = f"{url}: there is no source for {scheme}:// now: {sources.why_not(scheme)}"
        raise StorageFailed(Code.FAILED_PRECONDITION, text)
    return found


class PackageStore:
    """The source of a package as a store: opened on first use, its answers checked, its errors turned into ours."""

    def __init__(self, scheme: str, opens: OpenSource) -> None:
        self._scheme = scheme
        self._opens = opens
        self._opened: SourceStore | None = None
        self._lock = threading.Lock()

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """Return all files below a URL; an answer that is not a listing is an error that does not pass."""
        found = self._ask(url, lambda source: source.list_files(url))
        if not isinstance(found, Mapping) or not all(_is_file(path, entry) for path, entry in found.items()):
            self._refuse(url, "list_files returned something else than FileEntry values with their sizes by path")
        return {path: replace(entry, path=path) for path, entry in found.items()}

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Return a piece of a file; a piece that is too short counts as a broken connection."""
        data = self._ask(f"{url}/{path}", lambda source: source.read(url, path, start, end))
        if not isinstance(data, bytes | bytearray | memoryview):
            self._refuse(url, f"read returned a {type(data).__name__}, not bytes")
        if len(data) != end - start:
            raise storage_failed(Symptoms(frozenset({SHORT_READ})), f"{url}/{path}")
        return bytes(data)

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Return the checksums that the source holds of a file."""
        found = self._ask(f"{url}/{path}", lambda source: source.checksums(url, path))
        if not isinstance(found, StoredChecksums):
            self._refuse(url, f"checksums returned a {type(found).__name__}, not StoredChecksums")
        return found

    def read_whole(self, url: str, most_bytes: int, known_state: str = "") -> WholeFile | None:
        """Return a small file: it is found in the listing of its folder, and read as one piece."""
        folder, _, name = url.rpartition("/")
        entry = self.list_files(folder).get(name)
        if entry is None:
            raise storage_failed(Symptoms(frozenset({FileNotFoundError.__name__})), url)
        if entry.size_bytes > most_bytes:
            raise StorageFailed(Code.RESOURCE_EXHAUSTED, f"{url}: it is larger than {most_bytes} bytes")
        state = f"{entry.etag} {entry.changed_s} {entry.size_bytes}" if entry.etag or entry.changed_s else ""
        if state and state == known_state:
            return None
        return WholeFile(self.read(folder, name, 0, entry.size_bytes), state)

    def _ask(self, url: str, question: Callable[[SourceStore], Answer]) -> Answer:
        try:
            with self._lock:
                source = self._opened = self._opened or self._opens()
            return question(source)
        except StorageFailed:
            raise
        except Exception as error:
            raise storage_failed(symptoms_of(error), url) from error

    def _refuse(self, url: str, what: str) -> None:
        raise StorageFailed(Code.INTERNAL, f"{url}: source {self._scheme}: {what}")


def _is_file(path: object, entry: object) -> bool:
    return isinstance(path, str) and isinstance(entry, FileEntry) and type(entry.size_bytes) is int
