"""Inference requests of the Open Inference Protocol in each of its forms, and readers of their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from core.oip.datatypes import BYTES, NUMPY_OF
from core.oip.raw_tensors import raw_pieces
from core.oip.rest_body import ALL_JSON, JSON_LENGTH_HEADER, LENGTH_BYTES, footer
from core.protos import oip_pb2
from core.routing.transport import Call, Method

Arrays = Mapping[str, np.ndarray]
Parameters = Mapping[str, bool | int | float | str]

_PLAIN = {dtype: name for name, dtype in NUMPY_OF.items()}


def json_infer(arrays: Arrays, outputs: Sequence[str] = (), parameters: Parameters | None = None) -> bytes:
    """Make a body of JSON alone."""
    document = _document(arrays, outputs, parameters)
    for one, array in zip(document["inputs"], arrays.values(), strict=True):
        one["data"] = [text.decode() for text in array.ravel()] if array.dtype.hasobject else array.ravel().tolist()
    return json.dumps(document).encode() + footer(ALL_JSON)


def binary_infer(arrays: Arrays, outputs: Sequence[str] = (), parameters: Parameters | None = None) -> bytes:
    """Make a body with raw tensors behind the JSON, which asks for raw outputs."""
    raw = [b"".join(raw_pieces(array)) for array in arrays.values()]
    document = _document(arrays, outputs, {"binary_data_output": True, **(parameters or {})})
    for one, part in zip(document["inputs"], raw, strict=True):
        one["parameters"] = {"binary_data_size": len(part)}
    head = json.dumps(document).encode()
    return head + b"".join(raw) + footer(len(head))


def raw_grpc_infer(arrays: Arrays, outputs: Sequence[str] = (), parameters: Parameters | None = None) -> bytes:
    """Make a message with raw contents."""
    message = _message(arrays, outputs, parameters)
    message.raw_input_contents.extend(b"".join(raw_pieces(array)) for array in arrays.values())
    return message.SerializeToString()


def typed_grpc_infer(arrays: Arrays, outputs: Sequence[str] = (), parameters: Parameters | None = None) -> bytes:
    """Make a message with typed contents."""
    message = _message(arrays, outputs, parameters)
    for one, array in zip(message.inputs, arrays.values(), strict=True):
        getattr(one.contents, _contents(array.dtype)).extend(array.ravel().tolist())
    return message.SerializeToString()


FORMS: Mapping[str, tuple[Method, Callable[..., bytes]]] = {
    "rest json": (Method.OIP_REST_INFER, json_infer),
    "rest binary": (Method.OIP_REST_INFER, binary_infer),
    "grpc raw": (Method.OIP_INFER, raw_grpc_infer),
    "grpc typed": (Method.OIP_INFER, typed_grpc_infer),
}
"""All forms of a request, by name: the method, and what makes the body."""


def is_carried(form: str, arrays: Arrays) -> bool:
    """Whether a form has a place for these tensors."""
    dtypes = {array.dtype for array in arrays.values()}
    if not dtypes <= _PLAIN.keys():
        return False
    if form == "grpc typed":
        return not any(_PLAIN[dtype] in {"FP16", "BF16"} for dtype in dtypes)
    return form != "rest json" or all(map(_is_text, arrays.values()))


def _is_text(array: np.ndarray) -> bool:
    try:
        return not array.dtype.hasobject or all(one.decode() is not None for one in array.ravel())
    except UnicodeDecodeError:
        return False


def bits(arrays: Arrays) -> dict[str, object]:
    """Return what must be equal of tensors, by name: type, shape and memory."""
    return {
        name: (one.dtype, one.shape, one.tolist() if one.dtype.hasobject else one.tobytes())
        for name, one in arrays.items()
    }


def arrays_of(method: Method, answer: bytes) -> dict[str, np.ndarray]:
    """Read the outputs of what a model server answers."""
    if method is Method.OIP_INFER:
        return grpc_arrays(answer)
    body, headers = over_http(answer)
    return http_arrays(body, {name.lower(): value for name, value in headers.items()})


def infer_call(form: str, arrays: Arrays, timeout_s: float | None = None, **chosen: object) -> Call:
    """Make the call of a request in a form."""
    method, body = FORMS[form]
    return Call(method, body(arrays, **chosen), timeout_s)


def over_http(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a body with a footer, as they travel over HTTP."""
    length = int.from_bytes(body[-LENGTH_BYTES:], "little", signed=True)
    return body[:-LENGTH_BYTES], {} if length == ALL_JSON else {JSON_LENGTH_HEADER: str(length)}


def http_arrays(body: bytes, headers: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read the outputs of an answer over HTTP; `headers` have names in lower case."""
    length = int(headers.get(JSON_LENGTH_HEADER.lower(), len(body)))
    raw = memoryview(body)[length:]
    arrays = {}
    for one in json.loads(body[:length])["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is None:
            arrays[one["name"]] = _from_json(one)
        else:
            arrays[one["name"]] = _from_raw(bytes(raw[:size]), one["datatype"], one["shape"])
            raw = raw[size:]
    assert not raw
    return arrays


def grpc_arrays(answer: bytes) -> dict[str, np.ndarray]:
    """Read the outputs of an answer over gRPC, raw or typed."""
    message = oip_pb2.ModelInferResponse.FromString(answer)
    if message.raw_output_contents:
        pairs = zip(message.outputs, message.raw_output_contents, strict=True)
        return {one.name: _from_raw(raw, one.datatype, one.shape) for one, raw in pairs}
    return {
        one.name: _array(list(getattr(one.contents, _contents(NUMPY_OF[one.datatype]))), one.datatype, one.shape)
        for one in message.outputs
    }


def _from_json(output: dict) -> np.ndarray:
    data = [text.encode() if isinstance(text, str) else text for text in output["data"]]
    return _array([float("nan") if one is None else one for one in data], output["datatype"], output["shape"])


def _array(values: list, datatype: str, shape: Sequence[int]) -> np.ndarray:
    flat = np.empty(len(values), NUMPY_OF[datatype])
    flat[:] = values
    return flat.reshape(tuple(shape))


def _from_raw(raw: bytes, datatype: str, shape: Sequence[int]) -> np.ndarray:
    if datatype != BYTES:
        return np.frombuffer(raw, NUMPY_OF[datatype]).reshape(tuple(shape))
    strings = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        strings.append(raw[4:end])
        raw = raw[end:]
    return _array(strings, datatype, shape)


def _document(arrays: Arrays, outputs: Sequence[str], parameters: Parameters | None) -> dict:
    inputs = [
        {"name": name, "datatype": _PLAIN[array.dtype], "shape": list(array.shape)} for name, array in arrays.items()
    ]
    document: dict = {"inputs": inputs}
    if outputs:
        document["outputs"] = [{"name": name} for name in outputs]
    if parameters:
        document["parameters"] = dict(parameters)
    return document


def named(message: bytes, model: str, version: str = "") -> bytes:
    """Address a message to a model."""
    changed = oip_pb2.ModelInferRequest.FromString(message)
    changed.model_name, changed.model_version = model, version
    return changed.SerializeToString()


def _message(arrays: Arrays, outputs: Sequence[str], parameters: Parameters | None) -> oip_pb2.ModelInferRequest:
    message = oip_pb2.ModelInferRequest(model_name="m")
    for name, array in arrays.items():
        message.inputs.add(name=name, datatype=_PLAIN[array.dtype], shape=array.shape)
    for name in outputs:
        message.outputs.add(name=name)
    for name, value in (parameters or {}).items():
        setattr(message.parameters[name], _PARAMETERS[type(value)], value)
    return message


_PARAMETERS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def _contents(dtype: np.dtype) -> str:
    if dtype.hasobject:
        return "bytes_contents"
    if dtype.kind == "b":
        return "bool_contents"
    if dtype.kind == "f":
        return f"fp{8 * dtype.itemsize}_contents"
    kind = "uint" if dtype.kind == "u" else "int"
    return f"{kind}64_contents" if dtype.itemsize == 8 else f"{kind}_contents"
