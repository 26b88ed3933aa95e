"""Protobuf's wire format, read and written by hand: https://protobuf.dev/programming-guides/encoding.

A message is a list of pieces that is joined once, so that the memory of a large array is copied only into the request.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from ray_model_client.values import Code, ServerError

Piece = bytes | memoryview
Value = int | memoryview
"""The value of a field: a number of a varint, otherwise its bytes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
_U64 = 2**64


def varint(value: int) -> bytes:
    """Encode a number; negative ones in 64-bit two's complement."""
    value %= _U64
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int) -> list[Piece]:
    """Encode a whole number, as an enum, a bool or an int64."""
    return [varint(field << 3 | VARINT), varint(value)]


def nested(field: int, pieces: list[Piece]) -> list[Piece]:
    """Encode a message, or the packed values of a list."""
    return [varint(field << 3 | BYTES), varint(sum(map(len, pieces))), *pieces]


def text(field: int, value: str | bytes) -> list[Piece]:
    """Encode a string or bytes."""
    return nested(field, [value.encode() if isinstance(value, str) else value])


def double(field: int, value: float) -> list[Piece]:
    """Encode a double."""
    return [varint(field << 3 | FIXED64), struct.pack("<d", value)]


def entry(field: int, key: str, value: list[Piece]) -> list[Piece]:
    """Encode an entry of a map whose values are messages or lists."""
    return nested(field, [*text(1, key), *nested(2, value)])


def joined(pieces: list[Piece]) -> bytes:
    """Return the message."""
    return b"".join(pieces)


def broken(what: str) -> NoReturn:
    """Raise the error of an answer that is not a message."""
    raise ServerError(Code.DATA_LOSS, f"The answer of the server cannot be read: {what}.")


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field.

    Raises ServerError (DATA_LOSS) for what is not a message.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _varint_at(view, at)
        kind, start = key & 7, at
        if kind == VARINT:
            value, at = _varint_at(view, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, start = _varint_at(view, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            broken(f"a field has wire type {kind}")
        at = start + size
        if at > len(view):
            broken("it ends within a field")
        yield key >> 3, view[start:at]


def _varint_at(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * LONGEST_VARINT, 7):
        if at >= len(view):
            broken("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _U64, at
    broken("a number is too long")


def as_text(value: Value) -> str:
    """Return a string field."""
    try:
        return str(as_bytes(value), "utf-8")
    except UnicodeDecodeError:
        broken("a text is not UTF-8")


def as_bytes(value: Value) -> memoryview:
    """Return the bytes of a field that must have some."""
    if isinstance(value, int):
        broken("a field is a number")
    return value


def as_signed(value: Value) -> int:
    """Return an int32, an int64 or an enum."""
    if not isinstance(value, int):
        broken("a field is not a number")
    return value - _U64 if value >= _U64 // 2 else value


def as_float(value: Value) -> float:
    """Return a float or a double."""
    raw = as_bytes(value)
    if len(raw) not in (4, 8):
        broken("a field is not a floating-point number")
    return float(struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0])


def varints(packed: bytes) -> np.ndarray:
    """Return the numbers of a packed list, uint64; works on the columns of 7-bit digits instead of one by one."""
    digits = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(digits < 0x80)
    if not digits.size:
        return np.empty(0, np.uint64)
    if not ends.size or ends[-1] != digits.size - 1:
        broken("a list of numbers ends within one")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > LONGEST_VARINT:
        broken("a number of a list is too long")
    values = np.zeros(ends.size, np.uint64)
    for place in range(longest):
        has_digit = lengths > place
        digit = digits[starts[has_digit] + place].astype(np.uint64) & np.uint64(0x7F)
        values[has_digit] |= digit << np.uint64(7 * place)
    return values
