"""JSON bodies of inference: to an `InferRequest`, with raw tensors behind the JSON (binary tensor data extension).

Short JSON is read by orjson, long JSON by simdjson, which hands out numbers without an object for each; what these
refuse goes to the exact parser, which knows `NaN` and has the better error texts. Of equal names of members the last
counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.giving_up import patiently
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.inference.tensor_proto import MAX_RANK
from core.json.cut_lists import with_cut_lists
from core.json.document import require_affordable
from core.json.exact_parser import parse_whole
from core.json.flat_array import decoded_base64, flat_array
from core.json.long_lists import with_long_lists
from core.json.skeleton import require_shallow
from core.json.strings import is_text
from core.json.values import JsonObject
from core.oip.datatypes import name_of, numpy_of
from core.oip.infer_plan import plan_infer
from core.oip.infer_request import (
    NO_PARAMETERS,
    InferRequest,
    InputTensor,
    RequestedOutput,
    check_tensor_parameters,
    dimensions_text,
    element_count,
)
from core.oip.json_answer import write_json_answer
from core.oip.model_reference import VERSION_LABEL
from core.oip.raw_tensors import raw_array, raw_request
from core.oip.rest_body import RestBody, split_body

DATA: Final = "data"
BINARY_SIZE: Final = "binary_data_size"
BINARY: Final = "binary_data"
BINARY_OUTPUT: Final = "binary_data_output"
SHARED_MEMORY: Final = "shared_memory_region"
CONTENT_TYPE: Final = "content_type"
BASE64: Final = "base64"

LARGEST_SHORT_BYTES: Final = 16 * 1024
"""Up to this size an object for each number is cheaper than a document of simdjson."""


def plan_json_infer(model: ServedModel, body: bytes) -> RunPlan:
    """Plan a forwarded REST body; raises ServingError."""
    parts = split_body(body)
    request = _read(model, parts)
    by_default = parts.is_raw_request or _truth(BINARY_OUTPUT, request.parameters.get(BINARY_OUTPUT))
    return plan_infer(model, request, partial(write_json_answer, is_binary_by_default=bool(by_default)))


def read_rest_infer(model: ServedModel, body: bytes) -> InferRequest:
    """Read a forwarded REST body; raises ServingError."""
    return _read(model, split_body(body))


def _read(model: ServedModel, parts: RestBody) -> InferRequest:
    return raw_request(model, parts.raw) if parts.is_raw_request else read_infer_request(parts)


def read_infer_request(body: RestBody) -> InferRequest:
    """Read a request; raises InvalidArgument."""
    use = partial(_request, body.raw)
    request = with_cut_lists(body.json, DATA, use) if len(body.json) > LARGEST_SHORT_BYTES else None
    if request is not None:
        return request
    text = bytes(body.json)
    require_shallow(text)
    if len(text) <= LARGEST_SHORT_BYTES:
        try:
            return _request(body.raw, orjson.loads(text))
        except orjson.JSONDecodeError:
            return _exact_request(text, body.raw)
    return with_long_lists(text, DATA, use) or _exact_request(text, body.raw)


def _exact_request(text: bytes, raw: memoryview) -> InferRequest:
    """Read what only the exact parser can judge."""
    require_affordable(text)
    try:
        text.isascii() or text.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"the request JSON is not UTF-8 at byte {error.start}; send BYTES that are not text with '{BINARY_SIZE}'"
        ) from None
    try:
        document = parse_whole(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse the request JSON buffer: {error}") from None
    return _request(raw, document)


def _request(raw: memoryview, document: Any) -> InferRequest:
    members = _object("a request", document)
    inputs = _InputReader(raw)
    tensors = tuple(map(inputs.read, patiently(_list(members, "inputs"))))
    inputs.check_used()
    outputs = members.get("outputs")
    wanted = () if outputs is None else tuple(map(_output, patiently(_list(members, "outputs"))))
    return InferRequest(tensors, wanted, _id(members), _request_parameters(members))


def _object(what: str, value: Any) -> Mapping[str, Any]:
    if type(value) is dict:
        return value
    if isinstance(value, JsonObject):
        return dict(value.members())
    raise InvalidArgument(f"{what} must be a JSON object")


def _list(members: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = members.get(key)
    if not isinstance(found, list):
        raise InvalidArgument(f"a request must have '{key}', a list with one object for each of them")
    return found


def _id(members: Mapping[str, Any]) -> str | None:
    found = members.get("id")
    if found is not None and not (isinstance(found, str) and is_text(found)):
        raise InvalidArgument("'id' must be a string of Unicode characters")
    return found


def _parameters(place: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters that are given; null is as good as absent."""
    found = place.get("parameters")
    if not found:
        return NO_PARAMETERS if found is None else _object("'parameters'", found)
    return {key: value for key, value in patiently(tuple(_object("'parameters'", found).items())) if value is not None}


def _request_parameters(members: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the request; clients of MLServer nest headers in them, for nobody here."""
    found = _parameters(members)
    if VERSION_LABEL in found:
        raise InvalidArgument(
            f"parameter '{VERSION_LABEL}' is one of gRPC; over REST the label is in the path, /labels/L"
        )
    return {key: value for key, value in found.items() if isinstance(value, (str, int, float))} if found else found


class _InputReader:
    """Reads the inputs in their order, as the raw tensors behind the JSON have no other place."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._at = 0

    def read(self, sent: Any) -> InputTensor:
        place = _object("an input", sent)
        name = _name(place)
        dtype = numpy_of(_datatype(name, place), name)
        shape = _shape(name, place)
        parameters = _parameters(place)
        data, size = place.get(DATA), parameters.get(BINARY_SIZE)
        _check_one_source(name, data, size, parameters)
        if size is not None:
            return InputTensor(name, raw_array(name, shape, dtype, self._take(name, size)))
        is_base64 = dtype.hasobject and parameters.get(CONTENT_TYPE) == BASE64
        return InputTensor(name, _from_json(name, shape, dtype, data, is_base64=is_base64))

    def check_used(self) -> None:
        """Raise InvalidArgument where raw bytes are left."""
        left = len(self._raw) - self._at
        if left:
            raise InvalidArgument(f"{left} bytes are left over behind the {self._at} bytes of the binary inputs")

    def _take(self, name: str, sent: Any) -> memoryview:
        size = _whole(sent)
        if size is None or size < 0:
            raise InvalidArgument(f"input '{name}': '{BINARY_SIZE}' must be a number of bytes")
        left = len(self._raw) - self._at
        if size > left:
            raise InvalidArgument(
                f"input '{name}' has a '{BINARY_SIZE}' of {size}, but {left} bytes are left in the body"
            )
        self._at += size
        return self._raw[self._at - size : self._at]


def _from_json(name: str, shape: Sequence[int], dtype: np.dtype, data: Any, *, is_base64: bool) -> np.ndarray:
    count = element_count(name, shape, dtype.itemsize)
    try:
        flat = flat_array(data, dtype, name_of(dtype))
        flat = decoded_base64(flat) if is_base64 else flat
    except InvalidArgument as error:
        raise InvalidArgument(f"the 'data' of input '{name}': {error}") from None
    if flat.size != count:
        raise InvalidArgument(
            f"input '{name}' has {flat.size} elements in its 'data', and its shape {dimensions_text(shape)} has {count}"
        )
    return flat.reshape(shape)


def _check_one_source(name: str, data: Any, size: Any, parameters: Mapping[str, Any]) -> None:
    sources = (data is not None) + (size is not None) + (parameters.get(SHARED_MEMORY) is not None)
    if sources != 1:
        raise InvalidArgument(
            f"input '{name}' must set exactly one of '{DATA}', and '{BINARY_SIZE}' or '{SHARED_MEMORY}' in its "
            f"'parameters', and has {sources} of them"
        )
    if parameters:
        check_tensor_parameters(f"input '{name}'", parameters)


def _name(place: Mapping[str, Any]) -> str:
    name = place.get("name")
    if not isinstance(name, str):
        raise InvalidArgument("every input and output must have a 'name', a string")
    return name


def _datatype(name: str, place: Mapping[str, Any]) -> str:
    datatype = place.get("datatype")
    if not isinstance(datatype, str):
        raise InvalidArgument(f"input '{name}' must have a 'datatype', a string")
    return datatype


def _shape(name: str, place: Mapping[str, Any]) -> Sequence[int]:
    sent = place.get("shape")
    if isinstance(sent, list) and len(sent) > MAX_RANK:
        raise InvalidArgument(f"input '{name}' has {len(sent)} dimensions; {MAX_RANK} are possible")
    shape = [_whole(size) for size in sent] if isinstance(sent, list) else [None]
    if None in shape:
        raise InvalidArgument(f"input '{name}' must have a 'shape', a list of integers")
    return shape  # type: ignore[return-value]


def _whole(value: Any) -> int | None:
    """Return an integer, also one that a client writes as `1.0`; None for anything else."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _truth(key: str, value: Any) -> bool | None:
    """Return a boolean, also one that a client writes as `1.0`; None for None."""
    if value is None or type(value) is bool:
        return value
    if value not in (0, 1) or isinstance(value, str):
        raise InvalidArgument(f"parameter '{key}' must be true or false")
    return bool(value)


def _output(sent: Any) -> RequestedOutput:
    place = _object("an output", sent)
    name = _name(place)
    parameters = _parameters(place)
    if not parameters:
        return RequestedOutput(name)
    check_tensor_parameters(f"output '{name}'", parameters)
    return RequestedOutput(name, _truth(BINARY, parameters.get(BINARY)))
