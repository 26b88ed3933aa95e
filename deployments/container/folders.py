"""Folders for temporary files: in a container whose root is read-only there may be none but `/dev/shm`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping

from core.container.object_store_place import SHARED_MEMORY, ObjectStorePlace, object_store_place


def provide_temporary_folder(environment: MutableMapping[str, str]) -> str:
    """Let this process and those it starts use `/dev/shm` where no other folder can be written; returns a warning.

    The warning is empty where nothing was missing. Where `/dev/shm` cannot be written either, nothing changes, and
    whoever makes a file there gets the error.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
            return ""
        environment["TMPDIR"] = tempfile.tempdir = SHARED_MEMORY
        return f"No folder for temporary files can be written: they are below {SHARED_MEMORY}. Mount one on /tmp."
    return ""


def place_of_objects(session_folder: str) -> ObjectStorePlace:
    """Return where a local Ray whose session is in this folder keeps its objects."""
    return object_store_place(_free_bytes(SHARED_MEMORY), session_folder, _free_bytes(session_folder))


def _free_bytes(folder: str) -> int:
    """Return the bytes that this process may still write below a folder; 0 where that cannot be seen."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize
