"""Looks into the files of a SavedModel for what is damaged: after a load that failed, and for an inspection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from core.storage.damaged_model import damaged_file
from core.storage.whole_saved_model import INDEX, MODEL
from deployments.storage.whole_model import read_at

LONGEST_INDEX_BYTES = 64 * 2**20
"""A longer index is not looked into: a part of it would look cut off."""


def damage_in(path: str) -> str:
    """Return which file of a version's folder is damaged and how, with its path; empty where none is found."""
    try:
        found = damage_of(path, _sizes(path))
    except OSError:
        return ""
    return os.path.join(path, found) if found else ""


def damage_of(path: str, sizes: Mapping[str, int]) -> str:
    """Return which file of a version is damaged and how, by its relative path; empty where none is found.

    `sizes` are bytes by relative path; of these files, the folder at `path` needs to hold the model and the index of
    the variables alone, and the latter up to `LONGEST_INDEX_BYTES`. Raises OSError for one that cannot be read.
    """
    index = _index(os.path.join(path, INDEX), sizes.get(INDEX, 0))
    if MODEL not in sizes:
        return damaged_file(sizes, _nothing, index)
    with open(os.path.join(path, MODEL), "rb", buffering=0) as model:
        return damaged_file(sizes, partial(read_at, model.fileno()), index)


def _sizes(path: str) -> dict[str, int]:
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return {os.path.relpath(file, path): os.path.getsize(file) for file in files if os.path.isfile(file)}


def _index(file: str, size_bytes: int) -> bytes | None:
    if not size_bytes:
        return b""
    if size_bytes > LONGEST_INDEX_BYTES:
        return None
    with open(file, "rb") as opened:
        return opened.read(size_bytes)


def _nothing(start: int, end: int) -> bytes:
    del start, end
    return b""
