"""Storage: lists the versions below a base path, on a local file system or any store that fsspec knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import fsspec

from core.source import FileEntry, VersionDirectory, VersionListing, version_directories
from core.version_policy import VersionPolicy

log = logging.getLogger(__name__)

LOCAL_SCHEME = "file://"


class Storage:
    """The Source of the server: picks the way by the form of the base path."""

    def list_versions(self, base_path: str, policy: VersionPolicy) -> VersionListing:
        """List the versions below a base path with their files; a failure is the listing's error."""
        path = base_path.removeprefix(LOCAL_SCHEME)
        try:
            if "://" in path:
                return _list_remote(path, policy)
            return _list_local(path, policy)
        except FileNotFoundError:
            return VersionListing(error=f"NOT_FOUND: {base_path} not found")
        except NotADirectoryError:
            return VersionListing(error=f"FAILED_PRECONDITION: {base_path} is not a directory")
        except PermissionError as error:
            return VersionListing(error=f"PERMISSION_DENIED: {base_path}: {error}")
        except Exception as error:  # noqa: BLE001 - every store raises what it likes; one model's storage must not stop the others
            return VersionListing(error=f"UNAVAILABLE: {base_path}: {type(error).__name__}: {error}")


def _list_local(base_path: str, policy: VersionPolicy) -> VersionListing:
    directories, ignored = version_directories(os.listdir(base_path), policy)
    versions = {}
    for number, name in directories.items():
        path = os.path.join(base_path, name)
        versions[number] = VersionDirectory(path, frozenset(_local_files(path, "")))
    return VersionListing(versions, ignored)


def _local_files(root: str, below: str) -> Iterator[FileEntry]:
    """Give all files below a directory; what vanishes while we look counts as not there."""
    try:
        entries = list(os.scandir(os.path.join(root, below)))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        relative = f"{below}{entry.name}"
        try:
            if entry.is_dir():
                if not _leads_up(entry):
                    yield from _local_files(root, f"{relative}/")
                continue
            seen = entry.stat()
        except FileNotFoundError:
            continue
        yield FileEntry(relative, seen.st_size, max(seen.st_mtime, seen.st_ctime))


def _leads_up(entry: os.DirEntry[str]) -> bool:
    """Tell whether a directory is a link to one that it lies in, which could be followed for ever."""
    if not entry.is_symlink():
        return False
    here = os.path.realpath(os.path.dirname(entry.path))
    return f"{here}/".startswith(f"{os.path.realpath(entry.path)}/")


def _list_remote(url: str, policy: VersionPolicy) -> VersionListing:
    store, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    root = root.rstrip("/")
    found: dict[str, dict[str, Any]] = store.find(root, detail=True)
    if not found and not store.exists(root):
        raise FileNotFoundError(url)
    relative = {path.removeprefix(root).lstrip("/"): info for path, info in found.items()}
    directories, ignored = version_directories(relative, policy)
    scheme = url.partition("://")[0]
    versions = {
        number: VersionDirectory(f"{scheme}://{root}/{name}", frozenset(_remote_files(f"{name}/", relative)))
        for number, name in directories.items()
    }
    return VersionListing(versions, ignored)


def _remote_files(prefix: str, relative: dict[str, dict[str, Any]]) -> Iterator[FileEntry]:
    for path, info in relative.items():
        if path.startswith(prefix):
            yield FileEntry(path.removeprefix(prefix), int(info.get("size") or 0), _changed_s(info))


def _changed_s(info: dict[str, Any]) -> float | None:
    changed = info.get("LastModified") or info.get("mtime") or info.get("updated")
    if isinstance(changed, datetime):
        return changed.timestamp()
    return float(changed) if isinstance(changed, int | float) else None
