"""Arrays as bytes, and back: the part that both protocols share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ray_model_client.dtypes import ElementType, widened
from ray_model_client.wire import Piece, broken


def sent_array(value: ArrayLike, name: str) -> np.ndarray:
    """Make an array; texts become bytes, and Python floats become float32, which most models take.

    Raises ValueError for lists of unequal length, and TypeError for masked arrays: no message can hide elements.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name!r} is a masked array; fill it first.")
    if _is_text(value):
        return _objects(value)  # at once: as numpy's own texts, all would be as long as the longest for a moment
    if isinstance(value, (np.ndarray, np.generic)):
        given = np.asarray(value)
        return given.astype(object) if given.dtype.kind in "SU" else given
    try:
        array = np.asarray(value)
    except UnicodeDecodeError:  # str and bytes in one list
        return _objects(value)
    except ValueError as error:
        raise ValueError(f"{name!r} cannot be made an array: {error}") from None
    if array.dtype.kind in "SU":
        return _objects(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _is_text(value: ArrayLike) -> bool:
    """Whether a value is a text, or a list of nothing but texts."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(one, (str, bytes)) for one in value)
    return isinstance(value, (str, bytes))


def _objects(value: ArrayLike) -> np.ndarray:
    """Return texts as an array of objects: numpy's own texts lose the zero bytes at their ends."""
    return np.array(value, object)


def strings_of(array: np.ndarray, name: str) -> list[bytes]:
    """Return the elements of an array of strings; raises TypeError for others, ValueError for half characters."""
    elements = array.ravel().tolist()
    for one in elements:
        if not isinstance(one, (str, bytes)):
            raise TypeError(f"{name!r} holds a {type(one).__name__}, which is neither text nor bytes.")
    try:
        return [one.encode() if isinstance(one, str) else one for one in elements]
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} holds half of a surrogate pair, which is not a character.") from None


def memory_of(array: np.ndarray) -> Piece:
    """Return the bytes of an array of numbers: row-major, little endian."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""


def from_memory(raw: memoryview, kind: ElementType, shape: Sequence[int]) -> np.ndarray:
    """Return the array of raw bytes, read-only and in place; raises ServerError where they do not fit the shape."""
    dtype = kind.dtype
    if dtype is None:
        return widened(from_bits(raw, shape))
    if len(raw) != math.prod(shape) * dtype.itemsize:
        broken(f"a tensor of shape {list(shape)} has {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape)


def from_bits(raw: memoryview, shape: Sequence[int]) -> np.ndarray:
    """Return 16-bit floats that numpy does not know, as uint16."""
    if len(raw) != math.prod(shape) * 2:
        broken(f"a tensor of shape {list(shape)} has {len(raw)} bytes")
    return np.frombuffer(raw, "<u2").reshape(shape)


def from_strings(strings: Sequence[bytes], shape: Sequence[int]) -> np.ndarray:
    """Return an array of `bytes` objects."""
    if len(strings) != math.prod(shape):
        broken(f"a tensor of shape {list(shape)} has {len(strings)} strings")
    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(shape)


def from_values(values: np.ndarray, kind: ElementType, shape: Sequence[int]) -> np.ndarray:
    """Return an array of listed values, already as wide as the list has them."""
    count = math.prod(shape)
    if values.size != count:
        broken(f"a tensor of shape {list(shape)} has {values.size} values")
    if kind.dtype is None:
        return widened(values.astype(np.uint16)).reshape(shape)
    return values.astype(kind.dtype, copy=False).reshape(shape)
