"""JSON objects to serialized tf.Examples (TensorFlow Serving, features of classify and regress)."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import InvalidArgument
from core.json.picture import complaint
from core.json.strings import raw_bytes
from core.json.tensors import to_float32
from core.json.values import JsonObject, Value, base64_bytes, is_base64, type_name
from core.protos import tensor_pb2

LARGEST_INT64 = 2**63 - 1
BYTES = "bytes"
FLOAT = "float"
INT64 = "int64"


def example_bytes(value: Value) -> bytes:
    """Serialize one example or context; the name of a feature may repeat, then its values are joined."""
    if not isinstance(value, JsonObject):
        raise InvalidArgument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = tensor_pb2.Example()
    features: dict[str, list[Value]] = {}
    for name, content in value.members():
        features.setdefault(name, []).extend(content if isinstance(content, list) else [content])
    for name, values in features.items():
        _fill(example.features.feature[_printable(name)], name, values)
    return example.SerializeToString(deterministic=True)


def _printable(name: str) -> str:
    """Insist on UTF-8, as protobuf does for names."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(complaint(name, "is not a name of a feature, as it is not UTF-8")) from None
    return name


def _fill(feature: tensor_pb2.Feature, name: str, values: list[Value]) -> None:
    kind = None
    elements = []
    for value in values:
        found = _kind(name, value)
        if kind not in (None, found):
            raise InvalidArgument(f"Unexpected element type in feature: {name} expecting type: {kind}")
        kind = found
        elements.append(_element(name, value))
    if kind == BYTES:
        feature.bytes_list.value.extend(elements)
    elif kind == FLOAT:
        feature.float_list.value.extend(to_float32(np.array(elements, dtype=np.float64)).tolist())
    elif kind == INT64:
        feature.int64_list.value.extend(elements)


def _kind(name: str, value: Value) -> str:
    if isinstance(value, float):
        return FLOAT
    if isinstance(value, int):
        return INT64
    if isinstance(value, str) or is_base64(value):
        return BYTES
    raise InvalidArgument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _element(name: str, value: Value) -> Any:
    """Return an element as its list holds it; its own fault is reported before those of later elements."""
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        if value > LARGEST_INT64:
            raise InvalidArgument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return int(value)
    return base64_bytes(value) if isinstance(value, JsonObject) else raw_bytes(str(value))
