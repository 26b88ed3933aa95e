"""The calls of the Open Inference Protocol (version 2): tensors travel raw, which its servers take fastest."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ray_model_client.arrays import from_memory, from_strings, from_values, memory_of, sent_array, strings_of
from ray_model_client.calls import ClientCall, entry_of
from ray_model_client.dtypes import ElementType, type_called, type_of
from ray_model_client.values import Inference, ModelDescription, ServerDescription, TensorDescription
from ray_model_client.wire import (
    Piece,
    Value,
    as_bytes,
    as_float,
    as_signed,
    as_text,
    broken,
    double,
    entry,
    fields,
    joined,
    nested,
    number,
    text,
    varint,
    varints,
)

INFERENCE = "/inference.GRPCInferenceService/"
Parameter = bool | int | float | str
_LENGTH = struct.Struct("<I")

_CONTENTS: Mapping[str, int] = {
    "BOOL": 1,
    "INT8": 2,
    "INT16": 2,
    "INT32": 2,
    "INT64": 3,
    "UINT8": 4,
    "UINT16": 4,
    "UINT32": 4,
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    "BYTES": 8,
}
"""The field of InferTensorContents that has the values of a datatype, where a server does not answer raw."""


def infer(
    model: str,
    inputs: Mapping[str, ArrayLike],
    *,
    outputs: Sequence[str] = (),
    version: int | str | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    request_id: str = "",
    timeout_s: float | None = None,
) -> ClientCall[Inference]:
    """Run a model on named arrays; returns the named outputs, or all of them.

    `parameters` are the request's; this server takes `signature` among them.
    """
    pieces = [*_model(model, version), *(text(3, request_id) if request_id else [])]
    for name, value in (parameters or {}).items():
        pieces += entry(4, name, _parameter(value))
    raw: list[Piece] = []
    for name, given in inputs.items():
        array = sent_array(given, name)
        pieces += _input(name, array)
        raw += nested(7, _raw(name, array))
    for name in outputs:
        pieces += nested(6, text(1, name))
    return ClientCall(f"{INFERENCE}ModelInfer", joined(pieces + raw), _inference, timeout_s)


def is_live(*, timeout_s: float | None = None) -> ClientCall[bool]:
    """Whether the server's process answers."""
    return ClientCall(f"{INFERENCE}ServerLive", b"", _truth, timeout_s)


def is_ready(*, timeout_s: float | None = None) -> ClientCall[bool]:
    """Whether the server should be sent requests."""
    return ClientCall(f"{INFERENCE}ServerReady", b"", _truth, timeout_s)


def is_model_ready(model: str, *, version: int | str | None = None, timeout_s: float | None = None) -> ClientCall[bool]:
    """Whether a model, or one version of it, answers."""
    return ClientCall(f"{INFERENCE}ModelReady", joined(_model(model, version)), _truth, timeout_s)


def describe_server(*, timeout_s: float | None = None) -> ClientCall[ServerDescription]:
    """Return name, version and extensions of the server."""
    return ClientCall(f"{INFERENCE}ServerMetadata", b"", _server, timeout_s)


def describe_model(
    model: str, *, version: int | str | None = None, timeout_s: float | None = None
) -> ClientCall[ModelDescription]:
    """Return versions, inputs and outputs of a model."""
    return ClientCall(f"{INFERENCE}ModelMetadata", joined(_model(model, version)), _description, timeout_s)


def _model(model: str, version: int | str | None) -> list[Piece]:
    return [*text(1, model), *([] if version is None else text(2, str(version)))]


def _parameter(value: Parameter) -> list[Piece]:
    if isinstance(value, bool):
        return number(1, value)
    if isinstance(value, int):
        return number(2, value)
    return text(3, value) if isinstance(value, str) else double(4, value)


def _input(name: str, array: np.ndarray) -> list[Piece]:
    datatype = type_of(array, name).datatype
    if not datatype:
        raise TypeError(f"{name!r} is an array of {array.dtype}, which version 2 has no datatype for.")
    shape: list[Piece] = [varint(size) for size in array.shape]
    return nested(5, [*text(1, name), *text(2, datatype), *(nested(3, shape) if shape else [])])


def _raw(name: str, array: np.ndarray) -> list[Piece]:
    if not array.dtype.hasobject:
        return [memory_of(array)]
    return [part for one in strings_of(array, name) for part in (_LENGTH.pack(len(one)), one)]


def _truth(raw: bytes) -> bool:
    return any(bool(value) for field, value in fields(raw) if field == 1)


def _server(raw: bytes) -> ServerDescription:
    told = list(fields(raw))
    name, version = (next((as_text(value) for field, value in told if field == one), "") for one in (1, 2))
    return ServerDescription(name, version, tuple(as_text(value) for field, value in told if field == 3))


def _description(raw: bytes) -> ModelDescription:
    told = list(fields(raw))
    name, platform = (next((as_text(value) for field, value in told if field == one), "") for one in (1, 3))
    versions = tuple(as_text(value) for field, value in told if field == 2)
    inputs, outputs = (tuple(_head(value) for field, value in told if field == one) for one in (4, 5))
    return ModelDescription(name, versions, platform, inputs, outputs)


def _head(message: Value) -> TensorDescription:
    """Read name, datatype and shape, which stand in the same fields wherever version 2 has a tensor."""
    name, datatype, shape = "", "", list[int]()
    for field, value in fields(as_bytes(message)):
        if field == 1:
            name = as_text(value)
        elif field == 2:
            datatype = as_text(value)
        elif field == 3:
            shape += [as_signed(value)] if isinstance(value, int) else varints(bytes(value)).view(np.int64).tolist()
    return TensorDescription(name, datatype, tuple(shape))


def _inference(raw: bytes) -> Inference:
    texts = {1: "", 2: "", 3: ""}
    parameters: dict[str, Parameter] = {}
    tensors, contents = list[Value](), list[memoryview]()
    for field, value in fields(raw):
        if field in texts:
            texts[field] = as_text(value)
        elif field == 4:
            parameters |= _told_parameter(value)
        elif field == 5:
            tensors.append(value)
        elif field == 6:
            contents.append(as_bytes(value))
    if contents and len(contents) != len(tensors):
        broken(f"it has {len(tensors)} outputs and raw contents of {len(contents)}")
    heads = [_head(one) for one in tensors]
    arrays = map(_of_raw, heads, contents) if contents else map(_of_list, heads, tensors)
    outputs = dict(zip((head.name for head in heads), arrays, strict=True))
    return Inference(texts[1], texts[2], outputs, texts[3], parameters)


def _told_parameter(entry: Value) -> dict[str, Parameter]:
    name, encoded = entry_of(entry)
    found = [one for one in map(_choice, fields(encoded)) if one is not None]
    return {name: found[-1]} if found else {}


def _choice(one: tuple[int, Value]) -> Parameter | None:
    field, value = one
    if field == 1:
        return bool(value)
    if field in (2, 5):
        return as_signed(value) if field == 2 else as_signed(value) % 2**64
    if field == 3:
        return as_text(value)
    return as_float(value) if field == 4 else None


def _of_raw(head: TensorDescription, raw: memoryview) -> np.ndarray:
    kind = _kind(head)
    return from_strings(_split(raw), head.shape) if head.datatype == "BYTES" else from_memory(raw, kind, head.shape)


def _kind(head: TensorDescription) -> ElementType:
    if any(size < 0 for size in head.shape):
        broken(f"output {head.name!r} has the shape {list(head.shape)}")
    return type_called(head.datatype)


def _split(raw: memoryview) -> list[bytes]:
    strings, at = [], 0
    while at < len(raw):
        start = at + _LENGTH.size
        if start > len(raw):
            broken("the strings of an output end within a length")
        at = start + _LENGTH.unpack_from(raw, at)[0]
        if at > len(raw):
            broken("the strings of an output end within one")
        strings.append(bytes(raw[start:at]))
    return strings


def _of_list(head: TensorDescription, message: Value) -> np.ndarray:
    """Return the array of typed contents, which servers send that do not answer raw."""
    kind, wanted = _kind(head), _CONTENTS.get(head.datatype)
    if wanted is None:
        if math.prod(head.shape):
            broken(f"output {head.name!r} of {head.datatype} has no raw contents")
        return from_memory(memoryview(b""), kind, head.shape)
    found = [one for field, value in fields(as_bytes(message)) if field == 5 for one in fields(as_bytes(value))]
    values = [value for field, value in found if field == wanted]
    if wanted == 8:
        return from_strings([bytes(as_bytes(one)) for one in values], head.shape)
    packed = b"".join([varint(one) if isinstance(one, int) else one for one in values])
    if wanted in (6, 7):
        return from_memory(memoryview(packed), kind, head.shape)
    numbers = varints(packed)
    is_signed = kind.dtype is not None and kind.dtype.kind == "i"
    return from_values(numbers.view(np.int64) if is_signed else numbers, kind, head.shape)
