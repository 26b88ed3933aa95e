"""JSON bodies of inference: to an `InferRequest`, with raw tensors behind the JSON (binary tensor data extension)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.oip.datatypes import numpy_of
from core.oip.infer_plan import plan_infer
from core.oip.infer_request import InferRequest, InputTensor, RequestedOutput, element_count
from core.oip.json_answer import JsonWriter
from core.oip.raw_tensors import raw_array
from core.oip.rest_body import RestBody, split_body

BINARY_SIZE: Final = "binary_data_size"
BINARY: Final = "binary_data"
BINARY_OUTPUT: Final = "binary_data_output"


def plan_json_infer(model: ServedModel, body: bytes) -> RunPlan:
    """Plan a forwarded REST body; raises ServingError."""
    request = read_infer_request(split_body(body))
    by_default = request.parameters.get(BINARY_OUTPUT) is True
    return plan_infer(model, request, JsonWriter(is_binary_by_default=by_default).write)


def read_infer_request(body: RestBody) -> InferRequest:
    """Read a request; raises InvalidArgument."""
    document = _document(body.json)
    inputs = _objects(document, "inputs")
    if not inputs:
        raise InvalidArgument("a request must have 'inputs', a list with one object for each input")
    return InferRequest(
        _inputs(inputs, body.raw),
        tuple(_output(one) for one in _objects(document, "outputs")),
        _id(document),
        _parameters(document),
    )


def _document(text: memoryview) -> Mapping[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"failed to parse the request JSON buffer: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("a request must be a JSON object")
    return document


def _objects(document: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = document.get(key) or ()
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, dict) for one in found):
        raise InvalidArgument(f"'{key}' must be a list of objects")
    return found


def _id(document: Mapping[str, Any]) -> str | None:
    found = document.get("id")
    if found is not None and not isinstance(found, str):
        raise InvalidArgument("'id' must be a string")
    return found


def _parameters(place: Mapping[str, Any]) -> Mapping[str, Any]:
    found = place.get("parameters") or {}
    if not isinstance(found, dict):
        raise InvalidArgument("'parameters' must be an object")
    return found


def _inputs(inputs: Sequence[Mapping[str, Any]], raw: memoryview) -> tuple[InputTensor, ...]:
    tensors, at = [], 0
    for one in inputs:
        name = _name(one)
        dtype = numpy_of(str(one.get("datatype", "")), name)
        shape = one.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise InvalidArgument(f"input '{name}' must have a 'shape', a list of integers")
        size = _parameters(one).get(BINARY_SIZE)
        if size is None:
            tensors.append(InputTensor(name, _from_json(name, shape, dtype, one.get("data"))))
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise InvalidArgument(f"input '{name}' has a '{BINARY_SIZE}' that does not fit the body")
        tensors.append(InputTensor(name, raw_array(name, shape, dtype, raw[at : at + size])))
        at += size
    if at != len(raw):
        raise InvalidArgument(f"{len(raw) - at} bytes are left over behind the inputs")
    return tuple(tensors)


def _name(place: Mapping[str, Any]) -> str:
    name = place.get("name")
    if not isinstance(name, str):
        raise InvalidArgument("every input and output must have a 'name'")
    return name


def _from_json(name: str, shape: Sequence[int], dtype: np.dtype, data: Any) -> np.ndarray:
    count = element_count(name, shape, dtype.itemsize)
    flat = np.asarray([one.encode() for one in data], object) if dtype.hasobject else np.asarray(data, dtype).ravel()
    if flat.size != count:
        raise InvalidArgument(f"input '{name}' has {flat.size} elements, and its shape says {count}")
    return flat.reshape(shape)


def _output(place: Mapping[str, Any]) -> RequestedOutput:
    wanted = _parameters(place).get(BINARY)
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidArgument(f"'{BINARY}' must be true or false")
    return RequestedOutput(_name(place), wanted)
