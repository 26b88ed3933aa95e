"""Answers in JSON of TensorFlow Serving's protocol as tensors, with names where they have some.

Numbers have no types there: integers, floats and truth values are told apart, as they are written.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.tensor_proto import bytes_array

_BASE64: Final = "b64"
_DTYPE: Final[Mapping[type, type]] = {bool: np.bool_, int: np.int64, float: np.float64}


def predict_tensors(body: bytes, only_output: str) -> dict[str, np.ndarray]:
    """Read the answer of predict: rows or columns; raises InvalidArgument."""
    document = json_of(body)
    if "predictions" in document:
        return _rows(document["predictions"], only_output)
    if "outputs" not in document:
        raise InvalidArgument("the answer has neither predictions nor outputs")
    outputs = document["outputs"]
    if _is_named(outputs):
        return {name: nested_array(one) for name, one in outputs.items()}
    return {only_output: nested_array(outputs)}


def _rows(rows: Any, only_output: str) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise InvalidArgument("predictions are not a list")
    if not rows or not _is_named(rows[0]):
        return {only_output: nested_array(rows)}
    names = rows[0].keys()
    if any(not isinstance(row, dict) or row.keys() != names for row in rows):
        raise InvalidArgument("predictions have different outputs")
    return {name: nested_array([row[name] for row in rows]) for name in names}


def results_of(body: bytes) -> list[Any]:
    """Return the results of classify or regress; raises InvalidArgument."""
    results = json_of(body).get("results")
    if not isinstance(results, list):
        raise InvalidArgument("the answer has no results")
    return results


def json_of(body: bytes) -> dict[str, Any]:
    """Parse an answer, with the words for numbers that are not finite, and with bytes that are not UTF-8."""
    try:
        document = orjson.loads(body)
    except ValueError:
        try:
            document = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"the answer is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("the answer is not a JSON object")
    return document


def _is_named(value: Any) -> bool:
    """Whether a value has outputs by name, and is not a text in base64."""
    return isinstance(value, dict) and value.keys() != {_BASE64}


def nested_array(value: Any) -> np.ndarray:
    """Make the array of nested lists; raises InvalidArgument for lists that are no array."""
    shape, leaf = _outline(value)
    dtype = _DTYPE.get(type(leaf))
    if leaf is None:
        return np.empty(shape)
    try:
        if dtype is not None:
            return _numbers(value, dtype)
        return bytes_array(list(map(_text, _leaves(value, shape)))).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"lists are no array: {error}") from None


def _numbers(value: Any, dtype: type) -> np.ndarray:
    try:
        return np.array(value, dtype)
    except OverflowError:
        return np.array(value, np.uint64)


def _outline(value: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape by the first elements, and the first of all; None where there is none."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            return tuple(shape), None
        value = value[0]
    return tuple(shape), value


def _leaves(value: Any, shape: Sequence[int]) -> Iterator[Any]:
    if not shape:
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError("their lengths differ")
    for one in value:
        yield from _leaves(one, shape[1:])


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict) and isinstance(text := value.get(_BASE64), str):
        try:
            return base64.b64decode(text)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
    raise TypeError(f"{type(value).__name__} is neither number nor text")
