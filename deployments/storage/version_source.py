"""Lists the versions below a base path, on a local file system or any store that fsspec or a package knows."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from core.config.version_policy import VersionPolicy
from core.storage.directory_names import version_directories
from core.storage.layout_hints import shown_outside
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed, scrubbed
from core.storage.version_listing import (
    FileEntry,
    VersionDirectory,
    VersionListing,
    is_remote,
    local_path,
)
from deployments.storage.any_store import AnyStore
from deployments.storage.remote_store import RemoteStore, RetryingStore

MOST_LINKS_TO_A_FOLDER = 16
"""How often a version may lead to the same folder through links."""

MOST_FOLDERS_OUTSIDE = 100
"""How many folders of a base path without versions are looked into."""

LISTING_RETRIES = RetryPolicy(attempts=3, first_pause_s=0.3)


class VersionSource:
    """The Source of the server, local or remote by the form of the base path; may be used from several threads."""

    def __init__(self, store: RemoteStore | None = None) -> None:
        self._store = store or RetryingStore(AnyStore(), LISTING_RETRIES, time.sleep)

    def list_versions(self, base_path: str, policy: VersionPolicy, subpath: str = "") -> VersionListing:
        """List the versions below a base path with their files; a failure is the listing's error."""
        try:
            if is_remote(base_path):
                return _list_remote(self._store, base_path, policy, subpath)
            return _list_local(local_path(base_path), policy, subpath)
        except Exception as error:  # noqa: BLE001 - stores raise exceptions of every kind; one model's storage must not affect the others
            return VersionListing(error=_error_text(base_path, error))


def _error_text(base_path: str, error: Exception) -> str:
    """Return the text of an error, the same as long as its cause lasts."""
    if isinstance(error, StorageFailed):
        return f"{error.code.name}: {error}"
    if isinstance(error, FileNotFoundError):
        return f"NOT_FOUND: {base_path} not found"
    if isinstance(error, NotADirectoryError):
        return f"FAILED_PRECONDITION: {base_path} is not a directory"
    if isinstance(error, PermissionError):
        return f"PERMISSION_DENIED: {base_path}: {error}"
    return f"UNAVAILABLE: {base_path}: {scrubbed(f'{type(error).__name__}: {error}')}"


def _list_local(base_path: str, policy: VersionPolicy, subpath: str) -> VersionListing:
    directories, ignored = version_directories(os.listdir(base_path), policy)
    versions = {number: _local_version(os.path.join(base_path, name), subpath) for number, name in directories.items()}
    outside = frozenset() if versions else shown_outside(nearest_files(base_path))
    return VersionListing(versions, ignored, outside=outside)


def nearest_files(base_path: str) -> Iterator[str]:
    """Yield the files below a base path folder by folder, the nearest first; a wrong base path may be a whole disk."""
    folders = deque([""])
    for _ in range(MOST_FOLDERS_OUTSIDE):
        if not folders:
            return
        below = folders.popleft()
        with suppress(OSError):  # a hint is not worth an error
            entries = sorted(os.scandir(os.path.join(base_path, below)), key=lambda one: one.name)
            folders.extend(f"{below}{one.name}/" for one in entries if one.is_dir(follow_symlinks=False))
            yield from (f"{below}{one.name}" for one in entries if not one.is_dir(follow_symlinks=False))


def _local_version(folder: str, subpath: str) -> VersionDirectory:
    """Return one version with its files; one that cannot be read is listed all the same, and hides no other."""
    path = os.path.join(folder, subpath) if subpath else folder
    try:
        files = frozenset(_local_files(path, "", _Links()))
        beside = _beside(nearest_files(folder), subpath) if subpath else frozenset()
        return VersionDirectory(path, files, beside=beside)
    except OSError as error:
        return VersionDirectory(path, unreadable=error.strerror or type(error).__name__)


def _beside(paths: Iterable[str], subpath: str) -> frozenset[str]:
    return shown_outside(path for path in paths if not path.startswith(f"{subpath}/"))


@dataclass(frozen=True, slots=True)
class _Links:
    """Links to directories within one version.

    `left` has the folders that were left through a link on the way here, `met` how often each target was reached.
    A link that leads back never ends. Links between two folders multiply with every turn, long before the operating
    system reports that there are too many of them.
    """

    left: tuple[str, ...] = ()
    met: Counter[str] = field(default_factory=Counter)

    def after(self, entry: os.DirEntry[str]) -> _Links | None:
        """Return the links on the way into a directory; None when it is a link that is not to be followed."""
        if not entry.is_symlink():
            return self
        target = os.path.realpath(entry.path)
        left = (*self.left, os.path.realpath(os.path.dirname(entry.path)))
        self.met[target] += 1
        leads_back = any(f"{folder}/".startswith(f"{target}/") for folder in left)
        return None if leads_back or self.met[target] > MOST_LINKS_TO_A_FOLDER else replace(self, left=left)


def _local_files(root: str, below: str, links: _Links) -> Iterator[FileEntry]:
    """Yield all files below a directory; files that vanish meanwhile, and broken links, are left out."""
    try:
        entries = list(os.scandir(os.path.join(root, below)))
    except OSError as error:
        _expect_nothing_there(error)
        return
    for entry in entries:
        relative = f"{below}{entry.name}"
        try:
            if entry.is_dir():
                further = links.after(entry)
                if further is not None:
                    yield from _local_files(root, f"{relative}/", further)
                continue
            seen = entry.stat()
        except OSError as error:
            _expect_nothing_there(error)
            continue
        yield FileEntry(relative, seen.st_size, max(seen.st_mtime, seen.st_ctime))


def _expect_nothing_there(error: OSError) -> None:
    """Raise an error unless it says that nothing is there, or that links form a circle."""
    if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        raise error


def _list_remote(store: RemoteStore, url: str, policy: VersionPolicy, subpath: str) -> VersionListing:
    """List everything below the base path at once: object stores have no directories that could be listed alone."""
    url = url.rstrip("/")
    by_directory: dict[str, set[FileEntry]] = {}
    found = store.list_files(url)
    for path, entry in found.items():
        directory, slash, name = path.partition("/")
        files = by_directory.setdefault(directory, set())
        if slash:
            files.add(replace(entry, path=name))
    directories, ignored = version_directories(by_directory, policy)
    versions = {
        number: _remote_version(f"{url}/{name}", by_directory[name], subpath) for number, name in directories.items()
    }
    return VersionListing(versions, ignored, outside=frozenset() if versions else shown_outside(sorted(found)))


def _remote_version(url: str, files: Iterable[FileEntry], subpath: str) -> VersionDirectory:
    if not subpath:
        return VersionDirectory(url, frozenset(files))
    inner = (replace(one, path=one.path[len(subpath) + 1 :]) for one in files if one.path.startswith(f"{subpath}/"))
    beside = _beside(sorted(one.path for one in files), subpath)
    return VersionDirectory(f"{url}/{subpath}", frozenset(inner), beside=beside)
