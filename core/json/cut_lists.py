"""Long lists of numbers of a JSON text, cut out by the compiled part before anything else reads the text.

`native/number_lists.c` reads a list into one array, however it is nested, and proves meanwhile that it is nested
regularly. What is left of the text is short, and each list in it is a string that no such text can hold otherwise: it
begins with a NUL, written as an escape, and the texts have no escapes. Without the compiled part, or where it is in
doubt, the lanes of simdjson read the text.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.json.elements import UnsuitableDocumentError

EXTENSION: Final = "core.json._number_lists"
PURE_PYTHON_VARIABLE: Final = "RAY_MODEL_SERVER_PURE_PYTHON"

LEAST_BYTES: Final = 2048
"""Shorter lists stay in the text."""

LEAST_TEXT_BYTES: Final = 8 * 1024
"""In shorter texts nothing is looked for."""

MOST_LISTS: Final = 256
MARK: Final = "\0"
WHOLE: Final = np.dtype(np.int64)
DOUBLE: Final = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class NumberList:
    """A list that was cut out: int64 if every number was written as a whole one, else doubles; in row-major order."""

    flat: np.ndarray
    shape: tuple[int, ...]

    def values(self) -> list[Any]:
        """Leave it to others to read the text: how each number was written is not known any more."""
        raise UnsuitableDocumentError

    def numbers(self, kind: str) -> np.ndarray | None:
        """Return the numbers, of the kind `d`, `i` or `u` (double, int64, uint64); None where one does not fit it."""
        if kind == "d":
            return self.flat.astype(DOUBLE, copy=False)
        if self.flat.dtype != WHOLE or (kind == "u" and int(self.flat.min()) < 0):
            return None
        return self.flat if kind == "i" else self.flat.astype(np.uint64)


@dataclass(frozen=True, slots=True)
class CutText:
    """A text without its long lists, and these."""

    rest: bytes
    lists: Sequence[NumberList]

    def at(self, value: Any) -> NumberList | None:
        """Return the list that a value of the rest stands for."""
        is_list = isinstance(value, str) and value.startswith(MARK)
        return self.lists[int(value[1:])] if is_list else None


def cut_lists(text: bytes) -> CutText | None:
    """Cut a text; None where it has no long list of numbers, or one that others must judge."""
    part = _PART
    if part is None or len(text) < LEAST_TEXT_BYTES:
        return None
    commas = int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(",")))
    numbers = np.empty(commas + 1, WHOLE)
    rest, length = np.empty(len(text), np.uint8), part.ffi.new("size_t*")
    found = part.ffi.new("number_list[]", MOST_LISTS)
    buffers = part.ffi.from_buffer("char[]", rest), length, part.ffi.from_buffer("int64_t[]", numbers)
    count = part.lib.cut_number_lists(text, len(text), LEAST_BYTES, *buffers, found, MOST_LISTS)
    if count <= 0:
        return None
    lists = [_number_list(part.ffi, numbers, one) for one in found[0:count]]
    return CutText(rest[: length[0]].tobytes(), lists)


def _number_list(ffi: Any, numbers: np.ndarray, found: Any) -> NumberList:
    flat = numbers[found.start : found.start + found.count]
    flat = flat if found.is_whole else flat.view(DOUBLE)
    return NumberList(flat, tuple(ffi.unpack(found.dims, found.rank)))


def _extension() -> Any:
    """Return the compiled part; None where it was not built, or is to be left aside."""
    if os.environ.get(PURE_PYTHON_VARIABLE):
        return None
    try:
        return importlib.import_module(EXTENSION)
    except ImportError:
        return None


_PART: Final = _extension()
