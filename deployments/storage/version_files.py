"""Finds the files of a version on this node: at their local path, or in the cache for remote storage."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from core.config.server_settings import ModelCacheSettings
from core.errors import FailedPrecondition
from core.storage.version_listing import is_remote, local_path
from deployments.storage.any_store import AnyStore
from deployments.storage.version_cache import Lease, ModelCache, RemoteVersion

APPLICATION_FOLDER = "ray_model_server"


def local_files(version: RemoteVersion, settings: ModelCacheSettings) -> Lease:
    """Return a version's files as a local folder, fetched if necessary; raises ServingError when that fails."""
    if not is_remote(version.url):
        return Lease(local_path(version.url))
    folder = Path(settings.folder) if settings.folder else default_folder(os.environ)
    return ModelCache(folder, settings.max_bytes, AnyStore()).obtain(version)


def default_folder(environment: Mapping[str, str]) -> Path:
    """Return a folder that only this user can write: a model in it is code that is run.

    It is the user's cache folder or, where there is no writable home, one in the folder for temporary files.
    """
    named = environment.get("XDG_CACHE_HOME", "")
    for parent in (named, os.path.expanduser("~/.cache")):
        if os.path.isabs(parent) and _can_be_made(parent):
            return Path(parent, APPLICATION_FOLDER, "versions")
    own = Path(tempfile.gettempdir(), f"{APPLICATION_FOLDER}-{os.getuid()}")
    own.mkdir(mode=0o700, exist_ok=True)
    seen = own.lstat()
    if own.is_symlink() or seen.st_uid != os.getuid() or seen.st_mode & 0o022:
        raise FailedPrecondition(f"{own} can be written by others; choose a folder with the flag model_cache_dir")
    return own / "versions"


def _can_be_made(folder: str) -> bool:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def files_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, as far as they can be read."""
    try:
        return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    except OSError:
        return 0
