"""The inputs of predict from lists that were cut out of the text."""

from __future__ import annotations

import numpy as np
import simdjson

from core.inference.dtypes import DataType
from core.json.columns import Arrays, number_kind, typed_numbers
from core.json.cut_lists import CutText, NumberList
from core.json.elements import Element, UnsuitableDocumentError, member_names
from core.json.rows import DTypes
from core.json.tensors import FLOATS, INTEGERS


def cut_inputs(cut: CutText, value: Element, dtypes: DTypes, *, by_row: bool) -> Arrays:
    """Read `instances` or `inputs` in what is left of the text; raises UnsuitableDocumentError.

    As lists are cut out whole, a list is one tensor, an object has one for each input, and in a list of objects each of
    them has.
    """
    if isinstance(value, simdjson.Array) and by_row:
        return _rows(cut, list(value), dtypes)
    if isinstance(value, simdjson.Object) and not by_row:
        if not dtypes.keys() <= set(member_names(value)):
            raise UnsuitableDocumentError
        return {name: _stacked([_list_at(cut, value[name])], dtype)[0] for name, dtype in dtypes.items()}
    if len(dtypes) != 1:
        raise UnsuitableDocumentError
    ((name, dtype),) = dtypes.items()
    return {name: _stacked([_list_at(cut, value)], dtype)[0]}


def _rows(cut: CutText, rows: list[Element], dtypes: DTypes) -> Arrays:
    if not all(isinstance(row, simdjson.Object) and set(member_names(row)) == set(dtypes) for row in rows):
        raise UnsuitableDocumentError
    return {name: _stacked([_list_at(cut, row[name]) for row in rows], dtype) for name, dtype in dtypes.items()}


def _list_at(cut: CutText, value: Element) -> NumberList:
    found = cut.at(value)
    if found is None:
        raise UnsuitableDocumentError
    return found


def _stacked(lists: list[NumberList], dtype: DataType) -> np.ndarray:
    """Stack lists of one shape along a new first dimension."""
    shape = lists[0].shape
    if (dtype not in FLOATS and dtype not in INTEGERS) or any(one.shape != shape for one in lists):
        raise UnsuitableDocumentError
    parts = [one.numbers(number_kind(dtype)) for one in lists]
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        raise UnsuitableDocumentError
    return typed_numbers(known[0] if len(known) == 1 else np.concatenate(known), (len(lists), *shape), dtype)
