"""Reads from a local version what shows that it is completely written (`core.storage.whole_saved_model`)."""

from __future__ import annotations

import os
from functools import partial

from core.storage.version_listing import VersionDirectory
from core.storage.whole_saved_model import INDEX, MODEL, MOST_INDEX_BYTES, is_all_there


def is_whole(version: VersionDirectory) -> bool:
    """Whether a version is a SavedModel with all that its files name; a file that cannot be read says no."""
    if not all(one.size_bytes for one in version.files if one.path in {MODEL, INDEX}):
        return False  # perhaps not a file, which could not be read without waiting
    try:
        with (
            open(os.path.join(version.path, MODEL), "rb", buffering=0) as model,
            open(os.path.join(version.path, INDEX), "rb") as index,
        ):
            content = index.read(MOST_INDEX_BYTES + 1)
            if len(content) > MOST_INDEX_BYTES:
                return False
            return is_all_there(version.files, partial(read_at, model.fileno()), content)
    except OSError:
        return False


def read_at(descriptor: int, start: int, end: int) -> bytes:
    """Return the bytes of an open file from a place up to another one, or fewer at its end."""
    return os.pread(descriptor, end - start, start)
