"""Row and columnar requests to named tensors (TensorFlow Serving, `instances` and `inputs`).

A row request is a list with one element per example, a columnar request holds whole tensors. Rows are read column by
column where that is certainly right; when anything is in doubt they are read one by one, as the texts of errors need
it. If an element names an input twice, the first value counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from core.errors import InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.error_texts import listed
from core.inference.giving_up import patiently
from core.json.picture import dump
from core.json.tensors import Column, Dense, fast_tensor, tensor
from core.json.values import JsonObject, Value, is_base64

DTypes = Mapping[str, DataType]
Tensors = dict[str, Dense]


def read_inputs(value: Value, dtypes: DTypes) -> Tensors:
    """Read the value of `inputs`: an object with all inputs, or the one tensor of the only input."""
    if not _is_object(value):
        if len(dtypes) > 1:
            raise InvalidArgument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {name: tensor(value, dtype) for name, dtype in dtypes.items()}
    members = cast(JsonObject, value).first_values()
    return {name: _named_input(members, name, dtypes[name]) for name in sorted(dtypes)}


def read_instances(elements: list[Value], dtypes: DTypes) -> Tensors:
    """Read the elements of `instances`; there is at least one."""
    if len(dtypes) > 1 and not isinstance(elements[0], JsonObject):
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if _is_object(elements[0]):
        return _fast_objects(elements, dtypes) or _exact_objects(elements, dtypes)
    name = min(dtypes)
    dense = fast_tensor(elements, dtypes[name])
    return {name: dense or _exact_values(elements, dtypes[name])}


def _is_object(value: Value) -> bool:
    return isinstance(value, JsonObject) and not is_base64(value)


def _named_input(members: Mapping[str, Value], name: str, dtype: DataType) -> Dense:
    if name not in members:
        raise InvalidArgument(f"Missing named input: {name} in 'inputs' object.")
    return tensor(members[name], dtype)


def _fast_objects(elements: list[Value], dtypes: DTypes) -> Tensors | None:
    """Read column by column, if all elements have the same members in the same order."""
    if not all(map(_is_object, elements)):
        return None
    objects = cast(list[JsonObject], elements)
    names = objects[0].names
    if sorted(names) != sorted(dtypes) or any(element.names != names for element in objects):
        return None
    columns = zip(*(element.values for element in objects), strict=True)
    tensors = {name: fast_tensor(list(column), dtypes[name]) for name, column in zip(names, columns, strict=True)}
    return None if None in tensors.values() else cast(Tensors, tensors)


def _exact_values(elements: list[Value], dtype: DataType) -> Dense:
    column = Column(dtype)
    for index, element in enumerate(patiently(elements)):
        if _is_object(element):
            raise InvalidArgument(f"Expecting value/list but got object at item {index} of input list")
        try:
            column.add(element)
        except ServingError as error:
            raise _wrap(f"{index}", error) from None
    return column.dense()


def _exact_objects(elements: list[Value], dtypes: DTypes) -> Tensors:
    columns = {name: Column(dtype) for name, dtype in dtypes.items()}
    for index, element in enumerate(patiently(elements)):
        if not _is_object(element):
            raise InvalidArgument(f"Expecting object but got list at item {index} of input list")
        _add_object(columns, cast(JsonObject, element), index)
    return {name: column.dense() for name, column in columns.items()}


def _add_object(columns: Mapping[str, Column], element: JsonObject, index: int) -> None:
    seen = set()
    for name, value in element.members():
        if name not in seen:
            seen.add(name)
            _add_member(columns, name, value, index)
    if seen != set(columns):
        raise InvalidArgument(
            f"Failed to process element: {index} of 'instances' list. "
            f"JSON object: {dump(element)} keys must be equal to: {listed(columns)}"
        )


def _add_member(columns: Mapping[str, Column], name: str, value: Value, index: int) -> None:
    place = f"{index} key: {name}"
    if name not in columns:
        raise _wrap(place, InvalidArgument(f"JSON object: does not have named input: {name}"))
    try:
        columns[name].add(value)
    except ServingError as error:
        raise _wrap(place, error) from None


def _wrap(place: str, error: ServingError) -> InvalidArgument:
    return InvalidArgument(f"Failed to process element: {place} of 'instances' list. Error: {error.code.name}: {error}")
