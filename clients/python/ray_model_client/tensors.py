"""TensorFlow's TensorProto: written with raw content, read in every form that servers send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ray_model_client.arrays import from_memory, from_strings, from_values, memory_of, strings_of
from ray_model_client.dtypes import ElementType, type_numbered, type_of
from ray_model_client.wire import (
    Piece,
    Value,
    as_bytes,
    as_signed,
    broken,
    fields,
    nested,
    number,
    text,
    varint,
    varints,
)

DTYPE, SHAPE, CONTENT, STRINGS, HALF, FLOAT8 = 1, 2, 4, 8, 13, 18
FIXED: Mapping[int, np.dtype] = {5: np.dtype("<f4"), 6: np.dtype("<f8"), 9: np.dtype("<f4"), 12: np.dtype("<f8")}
"""The lists whose packed form is an array's own memory; complex numbers are pairs."""
MOST_BYTES = 2**31
"""What a tensor may grow to by repeating its last value: no more than a message could carry."""


def tensor(array: np.ndarray, name: str) -> list[Piece]:
    """Encode an array as the pieces of a TensorProto; `name` is that of an input, for errors."""
    kind = type_of(array, name)
    dims: list[Piece] = []
    for size in array.shape:
        dims += nested(2, number(1, size))
    pieces = [*number(DTYPE, kind.number), *nested(SHAPE, dims)]
    if kind.field == STRINGS:
        for one in strings_of(array, name):
            pieces += text(STRINGS, one)
        return pieces
    return [*pieces, *nested(CONTENT, [memory_of(array)])] if array.size else pieces


def shape_of(message: Value) -> tuple[int, ...] | None:
    """Return the dimensions of a TensorShapeProto, -1 for unknown ones; None for an unknown rank."""
    dims: list[int] = []
    for one, value in fields(as_bytes(message)):
        if one == 3 and value:
            return None
        if one == 2:
            sizes = [as_signed(size) for inner, size in fields(as_bytes(value)) if inner == 1]
            dims.append(sizes[-1] if sizes else 0)
    return tuple(dims)


def array_of(message: Value) -> np.ndarray:
    """Decode a TensorProto.

    Raises ServerError: DATA_LOSS for what is not one, UNIMPLEMENTED for a type that cannot be read.
    """
    parts = _TensorParts()
    for one, value in fields(as_bytes(message)):
        parts.take(one, value)
    kind, shape = type_numbered(parts.dtype), parts.shape
    if any(size < 0 for size in shape):
        broken(f"a tensor has the shape {list(shape)}")
    if kind.field == STRINGS:
        content = parts.content
        return from_strings(_split(content, math.prod(shape)) if content else _repeated(parts.strings, shape), shape)
    if parts.content:
        return from_memory(parts.content, kind, shape)
    return _listed([value for one, value in parts.values if one == kind.field], kind, shape)


@dataclass
class _TensorParts:
    """The fields of a TensorProto, as they come."""

    dtype: int = 0
    shape: tuple[int, ...] = ()
    content: memoryview = field(default_factory=lambda: memoryview(b""))
    strings: list[bytes] = field(default_factory=list)
    values: list[tuple[int, Value]] = field(default_factory=list)

    def take(self, number: int, value: Value) -> None:
        if number == DTYPE:
            self.dtype = as_signed(value)
        elif number == SHAPE:
            self.shape = shape_of(value) or ()
        elif number == CONTENT:
            self.content = as_bytes(value)
        elif number == STRINGS:
            self.strings.append(bytes(as_bytes(value)))
        else:
            self.values.append((number, value))


def _listed(values: list[Value], kind: ElementType, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array of typed values, which may come packed or one by one; the last one counts for all that lack."""
    packed = b"".join([varint(one) if isinstance(one, int) else one for one in values])
    found = _unpacked(packed, kind)
    count = math.prod(shape)
    if found.size < count:
        if count * found.itemsize > MOST_BYTES:
            broken(f"a tensor of shape {list(shape)} has {found.size} values")
        last = found[-1:] if found.size else np.zeros(1, found.dtype)
        found = np.concatenate([found, np.repeat(last, count - found.size)])
    return from_values(found, kind, shape)


def _unpacked(packed: bytes, kind: ElementType) -> np.ndarray:
    """Return the values of a packed list, in the type of the tensor; bfloat16 without ml-dtypes as its bits."""
    fixed = FIXED.get(kind.field)
    if fixed is not None:
        size = kind.dtype.itemsize if kind.dtype is not None else fixed.itemsize
        if len(packed) % size:
            broken("a list of floating-point numbers ends within one")
        values = np.frombuffer(packed, fixed)
        return values if kind.dtype is None or kind.dtype.kind != "c" else values.view(kind.dtype)
    if kind.field == FLOAT8:
        return _viewed(np.frombuffer(packed, np.uint8), kind)
    values = varints(packed)
    if kind.field == HALF:
        return _viewed(values.astype(np.uint16), kind)
    return values.view(np.int64) if kind.dtype is None or kind.dtype.kind == "i" else values


def _viewed(bits: np.ndarray, kind: ElementType) -> np.ndarray:
    return bits if kind.dtype is None else bits.view(kind.dtype)


def _repeated(strings: list[bytes], shape: tuple[int, ...]) -> list[bytes]:
    count = math.prod(shape)
    if len(strings) < count and count * 8 <= MOST_BYTES:
        return strings + [strings[-1] if strings else b""] * (count - len(strings))
    return strings


def _split(content: memoryview, count: int) -> list[bytes]:
    """Return the strings of raw content: the lengths of all as varints, then their bytes."""
    raw = bytes(content)
    ends = np.flatnonzero(np.frombuffer(raw, np.uint8) < 0x80)
    if len(ends) < count:
        broken("the strings of a tensor end too early")
    at = int(ends[count - 1]) + 1 if count else 0
    strings = []
    for length in varints(raw[:at]).tolist():
        strings.append(raw[at : at + length])
        at += length
    if at != len(raw):
        broken("the strings of a tensor do not have their lengths")
    return strings
