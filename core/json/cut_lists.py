"""Long lists of numbers of a JSON text, cut out by the compiled part before anything else reads the text.

`native/number_lists.c` reads a list into one array, however it is nested, and proves meanwhile that it is nested
regularly. What is left of the text is short, and each list in it is a string that no such text can hold otherwise: it
begins with a NUL, written as an escape, and the texts have no escapes. Without the compiled part, or where it is in
doubt, the lanes of simdjson read the text.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
import orjson

from core.json.elements import UnsuitableDocumentError
from core.json.skeleton import MOST_LEVELS, is_deeper

T = TypeVar("T")
Text: TypeAlias = bytes | bytearray | memoryview

EXTENSION: Final = "core.json._number_lists"
PURE_PYTHON_VARIABLE: Final = "RAY_MODEL_SERVER_PURE_PYTHON"

LEAST_BYTES: Final = 2048
"""In long texts, shorter lists stay there."""

LEAST_SHORT_BYTES: Final = 12
"""The same in short texts; what stands for a list is no longer."""

LONGEST_SHORT_BYTES: Final = 8 * 1024
"""Up to this length a text is short: it is cut in memory that is kept."""

MOST_LISTS: Final = 64
MOST_RANK: Final = 8
"""Deeper lists stay in the text, as in `native/number_lists.h`."""
LARGEST_UNCOUNTED_BYTES: Final = 4 * 1024 * 1024
"""In larger texts the commas are counted, to know how many numbers there are."""

LONGEST_REST_BYTES: Final = 16 * 1024
"""What is left becomes values here, which nobody interrupts and whose memory nobody counts."""

MARK: Final = "\0"
WHOLE: Final = np.dtype(np.int64)
DOUBLE: Final = np.dtype(np.float64)


class NumberList(NamedTuple):
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


class CutText(NamedTuple):
    """A text without its long lists, and these."""

    rest: bytes
    lists: Sequence[NumberList]

    def at(self, value: Any) -> NumberList | None:
        """Return the list that a value of the rest stands for."""
        place = place_of(value)
        return None if place is None else self.lists[place]


def place_of(value: Any) -> int | None:
    """Return which of the lists a value of the rest stands for; None if it is none of them."""
    is_list = isinstance(value, str) and value.startswith(MARK)
    return int(value[1:]) if is_list else None


def cut_lists(text: Text) -> CutText | None:
    """Cut a text; None where it has no list of numbers that is long enough, or one that others must judge."""
    part = _extension()
    if part is None:
        return None
    return _cut_short(part, text) if len(text) <= LONGEST_SHORT_BYTES else _cut_long(part, text)


class _Room:
    """What the compiled part writes into for a short text."""

    __slots__ = ("found", "length", "numbers", "rest")

    def __init__(self, new: Callable[..., Any]) -> None:
        self.numbers = new("int64_t[]", LONGEST_SHORT_BYTES // 2 + 1)
        self.rest = new("char[]", LONGEST_SHORT_BYTES)
        self.length = new("size_t*")
        self.found = new("number_list[]", MOST_LISTS)


_rooms: list[_Room] = []
"""Those at rest, of as many texts as were cut at a time; taking and giving back are atomic operations."""


def _cut_short(part: Any, text: Text) -> CutText | None:
    try:
        room = _rooms.pop()
    except IndexError:
        room = _Room(part.ffi.new)
    try:
        whole = text if type(text) is bytes else part.ffi.from_buffer("char[]", text)
        buffers = room.rest, room.length, room.numbers, len(room.numbers), room.found, len(room.found)
        count = part.lib.cut_number_lists(whole, len(text), LEAST_SHORT_BYTES, *buffers)
        if count <= 0:
            return None
        lists = [_copied(part.ffi, room.numbers, room.found[at]) for at in range(count)]
        return CutText(part.ffi.buffer(room.rest, room.length[0])[:], lists)
    finally:
        _rooms.append(room)


def _copied(ffi: Any, numbers: Any, found: Any) -> NumberList:
    flat = np.frombuffer(ffi.buffer(numbers + found.start, found.count * WHOLE.itemsize)[:], _dtype(found))
    return NumberList(flat, tuple(ffi.unpack(found.dims, found.rank)))


def _dtype(found: Any) -> np.dtype:
    return WHOLE if found.is_whole else DOUBLE


def _cut_long(part: Any, text: Text) -> CutText | None:
    numbers = np.empty(_most_numbers(text), WHOLE)
    rest, length = np.empty(len(text), np.uint8), part.ffi.new("size_t*")
    found = part.ffi.new("number_list[]", MOST_LISTS)
    buffers = part.ffi.from_buffer("char[]", rest), length, part.ffi.from_buffer("int64_t[]", numbers), len(numbers)
    whole = part.ffi.from_buffer("char[]", text)
    count = part.lib.cut_number_lists(whole, len(text), LEAST_BYTES, *buffers, found, MOST_LISTS)
    if count <= 0:
        return None
    lists = [_number_list(part.ffi, numbers, one) for one in found[0:count]]
    return CutText(rest[: length[0]].tobytes(), lists)


def _most_numbers(text: Text) -> int:
    """Return how many numbers a valid text holds at most; memory that is not written costs nothing, within limits."""
    if len(text) <= LARGEST_UNCOUNTED_BYTES:
        return len(text) // 2 + 1
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(","))) + 1


def with_cut_lists(text: Text, key: str, use: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Apply a function to an object whose members named `key`, at any level, are `NumberList`s where they were cut out.

    Returns None where others must judge the text: it may be too deep, much of it is left, another member is such a
    list, or its reader wants plain values.
    """
    cut = cut_lists(text)
    if cut is None or len(cut.rest) > LONGEST_REST_BYTES or is_deeper(cut.rest, MOST_LEVELS - MOST_RANK):
        return None
    try:
        document = orjson.loads(cut.rest)
        return use(_with_lists(cut, document, key)) if type(document) is dict else None
    except (orjson.JSONDecodeError, UnsuitableDocumentError):
        return None


def _with_lists(cut: CutText, value: Any, key: str, name: str = "") -> Any:
    if type(value) is dict:
        return {member: _with_lists(cut, one, key, member) for member, one in value.items()}
    if type(value) is list:
        return [_with_lists(cut, one, key) for one in value]
    found = cut.at(value)
    if found is not None and name != key:
        raise UnsuitableDocumentError
    return value if found is None else found


def _number_list(ffi: Any, numbers: np.ndarray, found: Any) -> NumberList:
    flat = numbers[found.start : found.start + found.count].view(_dtype(found))
    return NumberList(flat, tuple(ffi.unpack(found.dims, found.rank)))


@functools.cache
def _extension() -> Any:
    """Return the compiled part; None where it was not built, or is to be left aside.

    It is opened at the first long list, not with this module: a router reads none.
    """
    if os.environ.get(PURE_PYTHON_VARIABLE):
        return None
    try:
        return importlib.import_module(EXTENSION)
    except ImportError:
        return None
