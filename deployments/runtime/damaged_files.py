"""Looks into the files of a SavedModel that could not be loaded, for an error that names what is damaged."""

from __future__ import annotations

import os
from functools import partial

from core.storage.damaged_model import damaged_file
from core.storage.whole_saved_model import INDEX, MODEL

MOST_INDEX_BYTES = 64 * 2**20


def damage_in(path: str) -> str:
    """Return which file of a version's folder is damaged and how, with its path; empty where none is found."""
    try:
        sizes = _sizes(path)
        index = _start_of(os.path.join(path, INDEX), MOST_INDEX_BYTES) if INDEX in sizes else b""
        if MODEL not in sizes:
            found = damaged_file(sizes, _nothing, index)
        else:
            with open(os.path.join(path, MODEL), "rb", buffering=0) as model:
                found = damaged_file(sizes, partial(_read, model.fileno()), index)
    except OSError:
        return ""
    return os.path.join(path, found) if found else ""


def _sizes(path: str) -> dict[str, int]:
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return {os.path.relpath(file, path): os.path.getsize(file) for file in files if os.path.isfile(file)}


def _start_of(file: str, most_bytes: int) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(most_bytes)


def _read(descriptor: int, start: int, end: int) -> bytes:
    return os.pread(descriptor, end - start, start)


def _nothing(start: int, end: int) -> bytes:
    del start, end
    return b""
