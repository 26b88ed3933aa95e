"""JSON values to arrays: the values of each element type, and the shape of nested lists (TensorFlow Serving).

Every function has a fast way that works on whole lists and returns None when anything is in doubt; the exact way walks
the values in the order of the document and finds the error that TensorFlow Serving would report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import cast

import numpy as np

from core.errors import InvalidArgument, Unimplemented
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.giving_up import PORTION, go_on, patiently
from core.json.picture import complaint, dump
from core.json.strings import raw_bytes
from core.json.values import JsonObject, Value, base64_bytes, is_base64, type_name

LARGEST_RANK = 64
"""numpy's limit; TensorFlow's own is 254."""

INT32_RANGE = (-(2**31), 2**31 - 1)
INTEGERS: Mapping[DataType, tuple[int, int, type[np.generic]]] = MappingProxyType(
    {
        DataType.INT32: (*INT32_RANGE, np.int32),
        DataType.INT16: (*INT32_RANGE, np.int32),
        DataType.INT8: (*INT32_RANGE, np.int32),
        DataType.UINT8: (*INT32_RANGE, np.int32),
        DataType.INT64: (-(2**63), 2**63 - 1, np.int64),
        DataType.UINT32: (0, 2**32 - 1, np.uint32),
        DataType.UINT64: (0, 2**64 - 1, np.uint64),
    }
)
"""The range that an integer type accepts, and the type it is read as; narrow types are read as int32 and wrap."""

FLOATS = frozenset({DataType.FLOAT, DataType.DOUBLE})
NUMBERS = frozenset({int, float})

Scalar = bool | int | float | bytes


@dataclass(frozen=True, slots=True)
class Dense:
    """The values of a tensor in row-major order, and its shape, which may have more dimensions than numpy knows."""

    shape: tuple[int, ...]
    values: np.ndarray

    def array(self, alias: str) -> np.ndarray:
        """Return the array, unless its rank is beyond all reason."""
        if len(self.shape) > LARGEST_RANK:
            raise InvalidArgument(f"tensor parsing error: {alias}")
        return self.values.reshape(self.shape)


def tensor(value: Value, dtype: DataType) -> Dense:
    """Read one whole tensor."""
    return fast_tensor(value, dtype) or _exact_tensor(value, dtype)


def fast_tensor(value: Value, dtype: DataType) -> Dense | None:
    """Read one whole tensor; None if anything about it is in doubt."""
    flat = _flatten(value)
    if flat is None:
        return None
    shape, leaves = flat
    values = fast_values(leaves, dtype)
    return None if values is None else Dense(shape, values)


def fast_values(leaves: list[Value], dtype: DataType) -> np.ndarray | None:
    """Return the array of scalars if all have the right type, else None."""
    kinds = set(map(type, leaves))
    if dtype is DataType.STRING and kinds <= {str, JsonObject}:
        return _fast_strings(leaves, kinds)
    if (dtype in FLOATS and kinds <= NUMBERS) or (dtype is DataType.BOOL and kinds <= {bool}):
        return _array(leaves, dtype)
    if dtype in INTEGERS and kinds <= {int} and _in_range(leaves, dtype):
        return _array(leaves, dtype)
    return None


class Column:
    """Tensors of one input, one per element of a row request; all must have the shape of the first."""

    __slots__ = ("_count", "_dtype", "_leaves", "_rows", "_shape")

    def __init__(self, dtype: DataType) -> None:
        self._dtype = dtype
        self._leaves: list[Scalar] = []
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._rows = 0

    def add(self, value: Value) -> None:
        """Take the tensor of the next element."""
        shape = first_shape(value)
        leaves = _exact_leaves(value, shape, self._dtype)
        if self._rows == 0:
            self._shape, self._count = shape, len(leaves)
        if len(leaves) != self._count:
            raise InvalidArgument(f"Expecting tensor size: {self._count} but got: {len(leaves)}")
        if shape != self._shape:
            raise InvalidArgument(f"Expecting shape {_print(self._shape)} but got: {_print(shape)}")
        self._leaves += leaves
        self._rows += 1

    def dense(self) -> Dense:
        """Return all tensors stacked along a new first dimension."""
        return Dense((self._rows, *self._shape), _array(self._leaves, self._dtype))


def first_shape(value: Value) -> tuple[int, ...]:
    """Return the shape that the first elements suggest; everything else must agree with it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _print(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _flatten(value: Value) -> tuple[tuple[int, ...], list[Value]] | None:
    """Take a regular nested list apart, level by level."""
    shape = []
    while isinstance(value, list) and len(value) == 1:
        shape.append(1)
        value = value[0]
        if not len(shape) % PORTION:
            go_on()
    level = [value]
    while level and isinstance(level[0], list):
        if set(map(type, level)) != {list} or len(set(map(len, level))) != 1:  # type: ignore[arg-type]
            return None
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))  # type: ignore[arg-type]
    return tuple(shape), level


def _exact_tensor(value: Value, dtype: DataType) -> Dense:
    shape = first_shape(value)
    return Dense(shape, _array(_exact_leaves(value, shape, dtype), dtype))


def _exact_leaves(value: Value, shape: tuple[int, ...], dtype: DataType) -> list[Scalar]:
    """Walk the values in order, without recursion, and collect the scalars."""
    leaves: list[Scalar] = []
    open_lists: list[Iterator[Value]] = [iter((value,))]
    lists = 0
    while open_lists:
        lists += 1
        if not lists % PORTION:
            go_on()
        for item in open_lists[-1]:
            level = len(open_lists) - 1
            if isinstance(item, list):
                _check_list(item, level, shape)
                open_lists.append(patiently(item))
                break
            _check_level(item, level, len(shape))
            leaves.append(_scalar(item, dtype))
        else:
            open_lists.pop()
    return leaves


def _check_list(value: list[Value], level: int, shape: tuple[int, ...]) -> None:
    if level >= len(shape):
        raise InvalidArgument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise InvalidArgument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )


def _check_level(value: Value, level: int, rank: int) -> None:
    if level != rank:
        rule = f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
        raise InvalidArgument(complaint(value, rule))


def _scalar(value: Value, dtype: DataType) -> Scalar:
    """Read one element; raises ServingError if it does not fit the type."""
    if dtype is DataType.STRING:
        return _string(value, dtype)
    if dtype in FLOATS and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if dtype is DataType.BOOL and isinstance(value, bool):
        return value
    if dtype in INTEGERS and type(value) is int and _in_range([value], dtype):
        return value
    if dtype in FLOATS or dtype in INTEGERS or dtype is DataType.BOOL:
        raise _wrong_type(value, dtype)
    raise Unimplemented(f"Conversion of JSON Value: {dump(value)} to type: {dtype.label}")


def _string(value: Value, dtype: DataType) -> bytes:
    if isinstance(value, str):
        return raw_bytes(value)
    if not isinstance(value, JsonObject):
        raise _wrong_type(value, dtype)
    if not is_base64(value):
        raise InvalidArgument(complaint(value, "not formatted correctly for base64 data"))
    return base64_bytes(value)


def _wrong_type(value: Value, dtype: DataType) -> InvalidArgument:
    return InvalidArgument(complaint(value, f"Type: {type_name(value)} is not of expected type: {dtype.label}"))


def _in_range(leaves: list[Value], dtype: DataType) -> bool:
    smallest, largest, _ = INTEGERS[dtype]
    return not leaves or (smallest <= min(leaves) and max(leaves) <= largest)  # type: ignore[type-var, operator]


def _fast_strings(leaves: list[Value], kinds: set[type]) -> np.ndarray | None:
    """Encode all strings at once where no string holds the separator, else one by one."""
    if kinds == {str}:
        strings = raw_bytes("\0".join(cast(list[str], leaves))).split(b"\0")
        if len(strings) == len(leaves):
            return _objects(strings)
    try:
        return _objects([_string(leaf, DataType.STRING) for leaf in leaves])
    except InvalidArgument:
        return None


def _array(leaves: list[Scalar] | list[Value], dtype: DataType) -> np.ndarray:
    """Make a flat array of values that are known to fit."""
    if dtype is DataType.STRING:
        return _objects(leaves)
    target = NUMPY_DTYPE.get(dtype, np.dtype(object))
    if dtype in INTEGERS:
        return np.array(leaves, dtype=INTEGERS[dtype][2]).astype(target, copy=False)
    if dtype is DataType.FLOAT:
        return to_float32(np.array(leaves, dtype=np.float64))
    return np.array(leaves, dtype=target)


def to_float32(values: np.ndarray) -> np.ndarray:
    """Cast as C does: too large becomes infinite, too small becomes zero, silently."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _objects(strings: list[bytes] | list[Scalar] | list[Value]) -> np.ndarray:
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array
