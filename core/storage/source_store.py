"""The Protocol of a source: a storage of base paths that a package adds for URLs of a scheme.

Packages register one by the entry point `ray_model_server.sources`; its name is the scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from core.storage.checksums import StoredChecksums
from core.storage.version_listing import FileEntry


class SourceStore(Protocol):
    """Lists and reads files at URLs; one object serves a process, and is called from several threads at once.

    What is missing is FileNotFoundError, what is refused PermissionError, and what may pass ConnectionError or
    TimeoutError; those last and all other errors are tried again. A `core.storage.store_errors.StorageFailed` says
    itself whether that helps. The server adds retries, the cache of each node, and its checks of what was read.
    """

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """Return all files below a URL by their paths relative to it, with sizes in bytes.

        An `etag` or `changed_s` that differs when the content does lets the server see replaced files, and go on with a
        fetch that was cut short.
        """

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Return the bytes of the file at a path below a URL, from `start` up to and without `end`."""

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Return what the storage knows of a file; `StoredChecksums()` for nothing."""


class OpenSource(Protocol):
    """What an entry point names: a class or function that opens a source, once in each process that needs it."""

    def __call__(self) -> SourceStore:
        """Open the source."""
