"""ModelInferRequest: the requested model, found without decoding tensors, and the request that a model server plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.protobuf_wire import parse_message
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.oip.datatypes import numpy_of
from core.oip.grpc_answer import GrpcWriter
from core.oip.infer_plan import plan_infer
from core.oip.infer_request import InferRequest, InputTensor, Parameter, RequestedOutput, element_count
from core.oip.model_reference import VERSION_LABEL, ModelReference, model_reference
from core.oip.raw_tensors import raw_array
from core.protos import oip_pb2

_Input = oip_pb2.ModelInferRequest.InferInputTensor
_CONTENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
"""The typed field of each datatype; FP16 and BF16 have none."""


def asked_model(raw: bytes) -> ModelReference:
    """Read which model a serialized request means; raises InvalidArgument."""
    message = parse_message(oip_pb2.ModelInferRequest, raw)
    label = message.parameters.get(VERSION_LABEL)
    return model_reference(message.model_name, message.model_version, None if label is None else label.string_param)


def plan_grpc_infer(model: ServedModel, body: bytes) -> RunPlan:
    """Plan a serialized ModelInferRequest; raises ServingError."""
    message = parse_message(oip_pb2.ModelInferRequest, body)
    raw = message.raw_input_contents
    writer = GrpcWriter(is_raw=bool(raw) or not message.inputs)
    return plan_infer(model, _request(message, raw), writer.write)


def read_grpc_infer(body: bytes) -> InferRequest:
    """Read a serialized ModelInferRequest; raises InvalidArgument."""
    message = parse_message(oip_pb2.ModelInferRequest, body)
    return _request(message, message.raw_input_contents)


def _request(message: oip_pb2.ModelInferRequest, raw: Sequence[bytes]) -> InferRequest:
    if raw and len(raw) != len(message.inputs):
        raise InvalidArgument(f"{len(message.inputs)} inputs have {len(raw)} entries in raw_input_contents")
    inputs = [_raw(*pair) for pair in zip(message.inputs, raw, strict=True)] if raw else map(_typed, message.inputs)
    outputs = tuple(RequestedOutput(one.name) for one in message.outputs)
    return InferRequest(tuple(inputs), outputs, message.id, _parameters(message.parameters))


def _parameters(sent: Mapping[str, oip_pb2.InferParameter]) -> Mapping[str, Parameter]:
    return {name: _value(one) for name, one in sent.items()}


def _value(parameter: oip_pb2.InferParameter) -> Parameter:
    choice = parameter.WhichOneof("parameter_choice")
    value: Parameter = "" if choice is None else getattr(parameter, choice)
    return value


def _raw(one: _Input, raw: bytes) -> InputTensor:
    return InputTensor(one.name, raw_array(one.name, tuple(one.shape), numpy_of(one.datatype, one.name), raw))


def _typed(one: _Input) -> InputTensor:
    dtype = numpy_of(one.datatype, one.name)
    field = _CONTENTS.get(one.datatype.upper())
    if field is None:
        raise InvalidArgument(f"input '{one.name}' of type {one.datatype} must be in raw_input_contents")
    values = getattr(one.contents, field)
    count = element_count(one.name, tuple(one.shape), dtype.itemsize)
    if len(values) != count:
        raise InvalidArgument(f"input '{one.name}' has {len(values)} elements, and its shape says {count}")
    array = np.empty(count, dtype)
    array[:] = values
    return InputTensor(one.name, array.reshape(tuple(one.shape)))
