"""Tensors of TensorFlow and arrays of numpy: each made from the other, with at most one copy and one owner.

Ownership, the whole of it:

- A small array is copied into memory of TensorFlow's. A large one that happens to be aligned as TensorFlow wants it is
  lent instead: `_lent` keeps it alive until TensorFlow, which counts references, calls `_give_back`. That may come long
  after the call the array was fed to (a queue, an output that is the input itself) and on any thread.
- Strings live in memory of ours in TensorFlow's layout, whose strings are freed when it is dropped. The compiled part
  frees it itself; without it, it is lent as a large array is.
- A fetched tensor is copied when small, and then deleted at once. A large one is looked at in place: the array's base
  is the tensor's owner, so the last view of it deletes it, whether or not the session still lives.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from core.errors import InvalidArgument, ResourceExhausted
from core.inference.dtypes import NUMPY_DTYPE, TYPE_OF, DataType
from deployments.runtime.compiled import compiled, string_tensor, string_values
from deployments.runtime.library import ffi

COPIED_BYTES = 16 * 1024
"""Up to this size copying is cheaper than keeping account of an owner."""

STRING_BYTES: int = ffi.sizeof("TF_TString")

_tickets = itertools.count(1)
_lent: dict[int, Any] = {}


@ffi.callback("void(void*, size_t, void*)")  # type: ignore[untyped-decorator]
def _give_back(_data: Any, _length: int, ticket: Any) -> None:
    _lent.pop(int(ffi.cast("uintptr_t", ticket)), None)


def to_tensor(lib: Any, array: np.ndarray, expected: DataType) -> Any:
    """Make the tensor of an array; the caller deletes it.

    `expected` is the type that the graph takes; an array of another type keeps its own, and TensorFlow itself reports
    that it does not fit.
    """
    dtype = expected if NUMPY_DTYPE.get(expected) == array.dtype else _own_type(array)
    if dtype is DataType.STRING:
        return _string_tensor(lib, array)
    if array.nbytes > COPIED_BYTES:
        return _large_tensor(lib, array, dtype)
    return _copied_tensor(lib, array, dtype)


def from_tensor(lib: Any, tensor: Any, dtype: DataType) -> np.ndarray:
    """Make the array of a fetched tensor, which now belongs to this function; do not write into the array."""
    try:
        shape = tuple([lib.TF_Dim(tensor, axis) for axis in range(lib.TF_NumDims(tensor))])
        if dtype is DataType.STRING:
            return _string_array(lib, tensor, shape)
        size = lib.TF_TensorByteSize(tensor)
        if size <= COPIED_BYTES:
            return _copied_array(lib.TF_TensorData(tensor), size, np.empty(shape, NUMPY_DTYPE[dtype]))
        owner = _Owner(lib, tensor, size)
        tensor = ffi.NULL
    finally:
        if tensor != ffi.NULL:
            lib.TF_DeleteTensor(tensor)
    return np.asarray(owner).view(NUMPY_DTYPE[dtype]).reshape(shape)


class _Owner:
    """Deletes a tensor when the last array that shows its memory is gone."""

    __slots__ = ("__array_interface__", "_tensor")

    def __init__(self, lib: Any, tensor: Any, size: int) -> None:
        self._tensor = ffi.gc(tensor, lib.TF_DeleteTensor, size)
        address = int(ffi.cast("uintptr_t", lib.TF_TensorData(tensor)))
        # Read-only: TensorFlow may give the same memory to the next caller, as with the value of a constant.
        self.__array_interface__ = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (address, True)}


def _own_type(array: np.ndarray) -> DataType:
    try:
        return TYPE_OF[array.dtype]
    except KeyError:
        raise InvalidArgument(f"Arrays of type {array.dtype} have no counterpart in TensorFlow") from None


def _copied_tensor(lib: Any, array: np.ndarray, dtype: DataType) -> Any:
    size = array.nbytes
    tensor = lib.TF_AllocateTensor(dtype, array.shape, array.ndim, size)
    if tensor == ffi.NULL:
        raise ResourceExhausted(f"No memory for a tensor of {size} bytes")
    if size:
        ffi.memmove(lib.TF_TensorData(tensor), _readable(array), size)
    return tensor


def _large_tensor(lib: Any, array: np.ndarray, dtype: DataType) -> Any:
    memory = ffi.from_buffer(_readable(array))
    if int(ffi.cast("uintptr_t", memory)) % lib.TF_TensorDefaultAlignment():
        return _copied_tensor(lib, array, dtype)
    return _lend(lib, array, dtype, memory)


def _lend(lib: Any, array: np.ndarray, dtype: DataType, memory: Any) -> Any:
    size = array.size * (STRING_BYTES if dtype is DataType.STRING else array.itemsize)
    ticket = next(_tickets)
    _lent[ticket] = memory
    return lib.TF_NewTensor(dtype, array.shape, array.ndim, memory, size, _give_back, ffi.cast("void*", ticket))


def _readable(array: np.ndarray) -> np.ndarray:
    """Return the same bytes in one piece, as a type that Python's buffer protocol knows."""
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return array.reshape(-1).view(np.uint8) if array.dtype.kind == "V" else array


def _copied_array(data: Any, size: int, array: np.ndarray) -> np.ndarray:
    if size:
        ffi.memmove(array.reshape(-1).view(np.uint8) if array.dtype.kind == "V" else array, data, size)
    return array


def _string_tensor(lib: Any, array: np.ndarray) -> Any:
    values = array.ravel().tolist()
    extension = compiled(lib)
    if extension is not None and set(map(type, values)) <= {bytes}:
        return string_tensor(extension, values, array.shape)
    memory = _new_strings(lib, len(values))
    # Copied, not viewed: operations copy a view's address, which may outlive the value it points to.
    for index, value in enumerate(values):
        lib.TF_StringCopy(memory + index, value, len(value))
    return _lend(lib, array, DataType.STRING, memory)


def _new_strings(lib: Any, count: int) -> Any:
    """Make empty strings, which are all zero bytes; their later contents are freed with them."""

    def free(strings: Any) -> None:
        for index in range(count):
            lib.TF_StringDealloc(strings + index)

    return ffi.gc(ffi.new("TF_TString[]", count), free)


def _string_array(lib: Any, tensor: Any, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    extension = compiled(lib)
    if extension is not None:
        return string_values(extension, tensor, count).reshape(shape)
    strings = ffi.cast("TF_TString*", lib.TF_TensorData(tensor))
    array = np.empty(count, object)
    for index in range(len(array)):
        string = strings + index
        array[index] = ffi.buffer(lib.TF_StringGetDataPointer(string), lib.TF_StringGetSize(string))[:]
    return array.reshape(shape)
