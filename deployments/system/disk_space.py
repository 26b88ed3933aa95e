"""Looks whether a disk is so full that processes, which open files at their start, cannot begin there."""

from __future__ import annotations

import os
from pathlib import Path

LEAST_FREE_BYTES = 1024 * 1024
"""Below this, files can perhaps be made and not be written."""


def full_disk(folder: Path) -> str:
    """Return that the disk of a folder is full, with what to do; empty while there is room, or where nobody can say."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    free_bytes = disk.f_bavail * disk.f_frsize
    lacks = "bytes" if free_bytes < LEAST_FREE_BYTES else "files" if disk.f_files and not disk.f_favail else ""
    if not lacks:
        return ""
    left = f"less than {LEAST_FREE_BYTES} bytes are free" if lacks == "bytes" else "no more files can be made"
    return f"The disk of {folder} is full ({left}), and no process can start: make room there"
