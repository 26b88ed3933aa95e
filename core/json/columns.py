"""The fast lanes: numbers of a request to arrays without an object per number.

They come from lists that were cut out of the text, or from buffers of simdjson.

A buffer does not show how its numbers were nested; comparing skeletons proves it. All functions work on a document of
simdjson and either return arrays that are certainly right or raise UnsuitableDocumentError, on which
`core.json.document` leaves the lane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import simdjson

from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.json.cut_lists import MOST_LISTS, NumberList, place_of
from core.json.elements import Element, UnsuitableDocumentError, member_names, numbers
from core.json.rows import DTypes
from core.json.skeleton import Shape, check_skeleton, is_deeper, list_shape, list_skeleton, object_skeleton, value_shape
from core.json.tensors import FLOATS, INTEGERS, fast_tensor, fast_values, to_float32

Arrays = dict[str, np.ndarray]
Places: TypeAlias = int | Mapping[str, int] | tuple[Mapping[str, int], ...]
"""Which of the lists that were cut out of a body are its inputs: one list, one for each name, or the latter by row."""

BUFFERS: Mapping[str, np.dtype] = MappingProxyType(
    {"d": np.dtype(np.float64), "i": np.dtype(np.int64), "u": np.dtype(np.uint64)}
)
"""Buffers of simdjson: its names for double, int64 and uint64."""

MOST_ROWS = 1_000_000


def one_tensor(document: Element, key: str, dtype: DataType, body: bytes) -> np.ndarray:
    """Read a list that is the whole tensor: `inputs` of one input, or `instances` of plain values."""
    value = document[key]
    shape = list_shape(value)
    if dtype in FLOATS or dtype in INTEGERS:
        check_skeleton(document, key, list_skeleton(shape, limit=len(body)), body)
    elif is_deeper(body):
        raise UnsuitableDocumentError
    return _tensor(value, shape, dtype)


def named_tensors(document: Element, key: str, dtypes: DTypes, body: bytes) -> Arrays:
    """Read an object with one list per input."""
    value = document[key]
    names = member_names(value)
    if not dtypes.keys() <= set(names):
        raise UnsuitableDocumentError
    shapes = [value_shape(value[name]) for name in names]
    check_skeleton(document, key, object_skeleton([list_skeleton(shape, limit=len(body)) for shape in shapes]), body)
    return {name: _member(value, name, dtype) for name, dtype in dtypes.items()}


def named_rows(document: Element, key: str, dtypes: DTypes, body: bytes) -> Arrays:
    """Read a list of objects that all have the same members in the same order."""
    rows = _few(document[key])
    names = member_names(rows[0])
    if set(names) != set(dtypes):
        raise UnsuitableDocumentError
    shapes = [value_shape(rows[0][name]) for name in names]
    row = object_skeleton([list_skeleton(shape, limit=len(body)) for shape in shapes])
    check_skeleton(document, key, list_skeleton((len(rows),), row, limit=len(body)), body)
    if any(list(row.keys()) != names for row in rows):
        raise UnsuitableDocumentError
    return {
        name: _column([row[name] for row in rows], shape, dtypes[name])
        for name, shape in zip(names, shapes, strict=True)
    }


def cut_places(value: Element, *, by_row: bool) -> Places:
    """Read where in `instances` or `inputs` lists were cut out; raises UnsuitableDocumentError.

    As lists are cut out whole, a list is one tensor, an object has one for each input, and in a list of objects each of
    them has.
    """
    if isinstance(value, simdjson.Array) and by_row and 0 < len(value) <= MOST_LISTS:
        return tuple(map(_places_in_row, value))
    if isinstance(value, simdjson.Object) and not by_row:
        places = {name: place_of(value[name]) for name in member_names(value)}
        return {name: place for name, place in places.items() if place is not None}
    return _place(value)


def _places_in_row(row: Element) -> Mapping[str, int]:
    if not isinstance(row, simdjson.Object) or not len(row):
        raise UnsuitableDocumentError
    return {name: _place(row[name]) for name in member_names(row)}


def _place(value: Element) -> int:
    place = place_of(value)
    if place is None:
        raise UnsuitableDocumentError
    return place


def cut_inputs(lists: Sequence[NumberList], places: Places, dtypes: DTypes) -> Arrays:
    """Make the arrays of all inputs from lists that were cut out; raises UnsuitableDocumentError."""
    if isinstance(places, int):
        if len(dtypes) != 1:
            raise UnsuitableDocumentError
        ((name, dtype),) = dtypes.items()
        return {name: _alone(lists[places], dtype)}
    if isinstance(places, tuple):
        if any(row.keys() != dtypes.keys() for row in places):
            raise UnsuitableDocumentError
        return {name: _stacked([lists[row[name]] for row in places], dtype) for name, dtype in dtypes.items()}
    if not dtypes.keys() <= places.keys():
        raise UnsuitableDocumentError
    return {name: _alone(lists[places[name]], dtype) for name, dtype in dtypes.items()}


def _alone(one: NumberList, dtype: DataType) -> np.ndarray:
    """Make the array of a list that is a whole tensor."""
    return _cast(_fitting(one, dtype), dtype).reshape(one.shape)


def _stacked(lists: list[NumberList], dtype: DataType) -> np.ndarray:
    """Stack lists of one shape along a new first dimension."""
    shape = lists[0].shape
    if any(one.shape != shape for one in lists):
        raise UnsuitableDocumentError
    parts = [_fitting(one, dtype) for one in lists]
    return _typed(parts[0] if len(parts) == 1 else np.concatenate(parts), (len(lists), *shape), dtype)


def _fitting(one: NumberList, dtype: DataType) -> np.ndarray:
    """Return the numbers of a list, all of the kind that a type is read as."""
    values = one.numbers(_kind(dtype)) if dtype in FLOATS or dtype in INTEGERS else None
    return _known(values)


def _few(value: Element) -> list[Element]:
    """Take the rows of a list, unless they are so many that their memory must be judged first."""
    if len(value) > MOST_ROWS:
        raise UnsuitableDocumentError
    return list(value)


def _member(value: Element, name: str, dtype: DataType) -> np.ndarray:
    content = value[name]
    if type(content) is simdjson.Array:
        return _tensor(content, list_shape(content), dtype)
    return _known(fast_values([content], dtype)).reshape(())


def _tensor(value: Element, shape: Shape, dtype: DataType) -> np.ndarray:
    if dtype in FLOATS or dtype in INTEGERS:
        return _numbers(numbers(value, _kind(dtype)), shape, dtype)
    dense = fast_tensor(value.as_list(), dtype)
    if dense is None:
        raise UnsuitableDocumentError
    return dense.values.reshape(dense.shape)


def _column(values: Sequence[Element], shape: Shape, dtype: DataType) -> np.ndarray:
    """Stack one input of all rows."""
    if not shape:
        return _known(fast_values(list(values), dtype))
    if dtype in FLOATS or dtype in INTEGERS:
        kind = _kind(dtype)
        buffer = b"".join([numbers(value, kind) for value in values])
        return _numbers(buffer, (len(values), *shape), dtype)
    dense = fast_tensor([value.as_list() for value in values], dtype)
    if dense is None:
        raise UnsuitableDocumentError
    return dense.values.reshape(dense.shape)


def _kind(dtype: DataType) -> str:
    if dtype in FLOATS:
        return "d"
    return "u" if INTEGERS[dtype][0] == 0 else "i"


def _numbers(buffer: bytes | memoryview, shape: Shape, dtype: DataType) -> np.ndarray:
    return _typed(np.frombuffer(buffer, dtype=BUFFERS[_kind(dtype)]), shape, dtype)


def _typed(values: np.ndarray, shape: Shape, dtype: DataType) -> np.ndarray:
    # Lists of none and of one element have the same skeleton.
    if values.size != math.prod(shape):
        raise UnsuitableDocumentError
    return _cast(values, dtype).reshape(shape)


def _cast(values: np.ndarray, dtype: DataType) -> np.ndarray:
    if dtype is DataType.FLOAT:
        return to_float32(values)
    if dtype in INTEGERS and values.size:
        smallest, largest, _ = INTEGERS[dtype]
        if int(values.min()) < smallest or int(values.max()) > largest:
            raise UnsuitableDocumentError
    return values.astype(NUMPY_DTYPE[dtype], copy=False)


def _known(values: np.ndarray | None) -> np.ndarray:
    if values is None:
        raise UnsuitableDocumentError
    return values
