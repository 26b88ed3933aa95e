"""ModelInferRequest: the requested model, found without decoding tensors, and the request that a model server plans.

The protobuf runtime would copy every tensor to find a name or a shape. So the plain case of a large message (a few
top-level fields with a length in front) is walked by hand: raw contents stay where they came, and the small rest is
parsed. Whatever the walk does not know goes to the runtime as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from core.errors import InvalidArgument
from core.inference.giving_up import patiently
from core.inference.protobuf_wire import (
    LENGTH_DELIMITED,
    Memory,
    length_delimited,
    parse_message,
    tag,
    top_level_fields,
)
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.oip.datatypes import numpy_of
from core.oip.grpc_answer import GrpcWriter
from core.oip.infer_plan import SIGNATURE_NAME, plan_infer
from core.oip.infer_request import (
    NO_PARAMETERS,
    InferRequest,
    InputTensor,
    Parameter,
    RequestedOutput,
    check_tensor_parameters,
)
from core.oip.model_reference import VERSION_LABEL, ModelReference, model_reference
from core.oip.raw_tensors import raw_array
from core.oip.typed_contents import typed_array
from core.protos import oip_pb2

_Request = oip_pb2.ModelInferRequest
_Input = _Request.InferInputTensor
_Parameters = Mapping[str, oip_pb2.InferParameter]

_PARAMETERS_TAG: Final = tag(4)
_ABOUT_THE_MODEL: Final = frozenset(number << 3 | LENGTH_DELIMITED for number in (1, 2, 4))
_RAW: Final = 7 << 3 | LENGTH_DELIMITED
BYTES_OF_A_STEP: Final = 8192
"""The runtime copies about so many bytes in the time that the walk needs for one field."""
_WALK_FROM_BYTES: Final = 4 * BYTES_OF_A_STEP
MOST_PARTS: Final = 10_000
"""A request may have so many parameters, inputs and outputs each."""


def asked_model(raw: Memory) -> ModelReference:
    """Read which model and signature a serialized request means; raises InvalidArgument."""
    message = parse_message(oip_pb2.SerializedInferRequest, _about_the_model(raw))
    sent = message.parameters
    if not sent:
        return model_reference(message.model_name, message.model_version)
    _check_number("parameters", sent)
    entries = b"".join([length_delimited(_PARAMETERS_TAG, one) for one in sent])
    parameters = parse_message(_Request, entries).parameters
    label = _text_parameter(parameters, VERSION_LABEL)
    asked = model_reference(message.model_name, message.model_version, label)
    return replace(asked, signature=_text_parameter(parameters, SIGNATURE_NAME) or "")


def plan_grpc_infer(model: ServedModel, body: Memory) -> RunPlan:
    """Plan a serialized ModelInferRequest; raises ServingError."""
    message, raw = _taken_apart(body)
    writer = GrpcWriter(is_raw=bool(raw) or not message.inputs)
    return plan_infer(model, _request(message, raw), writer.write)


def read_grpc_infer(body: Memory) -> InferRequest:
    """Read a serialized ModelInferRequest; raises InvalidArgument."""
    return _request(*_taken_apart(body))


def _fields(raw: Memory) -> list[tuple[int, int, int]]:
    """Return the top-level fields of a large message of the plain kind, else none."""
    if len(raw) < _WALK_FROM_BYTES:
        return []
    return top_level_fields(raw, len(raw) // BYTES_OF_A_STEP) or []


def raw_tensor_at(body: Memory) -> int:
    """Return where the largest raw content of a large message begins; 0 where none is found."""
    raw = [(end - start, start) for key, start, end in _fields(body) if key == _RAW]
    return max(raw, default=(0, 0))[1]


def _about_the_model(raw: Memory) -> Memory:
    """Leave out of a message what does not say which model it means."""
    fields = _fields(raw)
    if not fields:
        return raw
    begins = (0, *(end for _, _, end in fields))
    wanted = [raw[begin:end] for begin, (key, _, end) in zip(begins, fields, strict=False) if key in _ABOUT_THE_MODEL]
    return b"".join(wanted)


def _taken_apart(body: Memory) -> tuple[_Request, Sequence[Memory]]:
    """Return a message, and its raw contents; those of a large one in place."""
    if len(body) < _WALK_FROM_BYTES:
        message = parse_message(_Request, body)
        return message, message.raw_input_contents
    view, raw, rest, begin = memoryview(body), [], [], 0
    for key, start, end in _fields(body):
        if key == _RAW:
            raw.append(view[start:end])
        else:
            rest.append(view[begin:end])
        begin = end
    if raw:
        return parse_message(_Request, b"".join(rest)), raw
    _check_parts(body)
    message = parse_message(_Request, body)
    return message, message.raw_input_contents


def _check_parts(body: Memory) -> None:
    """Refuse a message of nothing but empty parts, of which each would take forty times its size in memory."""
    parts = parse_message(oip_pb2.SerializedInferParts, body)
    _check_number("parameters", parts.parameters)
    _check_number("inputs", parts.inputs)
    _check_number("outputs", parts.outputs)


def _check_number(what: str, sent: Sequence[bytes]) -> None:
    if len(sent) > MOST_PARTS:
        raise InvalidArgument(f"a request may have {MOST_PARTS} {what}, and {len(sent)} were sent")


def _request(message: _Request, raw: Sequence[Memory]) -> InferRequest:
    sent = message.inputs[:]  # each look into a repeated field makes its messages anew
    wanted = message.outputs[:]
    # An input in shared memory has no contents, which it must not be told first.
    _check_parameters("input", sent)
    _check_parameters("output", wanted)
    if raw and len(raw) != len(sent):
        raise InvalidArgument(f"expected {len(sent)} entries in raw_input_contents, one for each input, got {len(raw)}")
    inputs = map(_raw_input, sent, raw) if raw else map(_typed_input, sent)
    outputs = tuple([RequestedOutput(one.name) for one in wanted])
    return InferRequest(tuple(inputs), outputs, message.id, _parameters(message.parameters))


def _check_parameters(what: str, tensors: Iterable[_Input | _Request.InferRequestedOutputTensor]) -> None:
    for one in tensors:
        if one.parameters:
            check_tensor_parameters(f"{what} '{one.name}'", patiently(list(one.parameters)))


def _raw_input(one: _Input, raw: Memory) -> InputTensor:
    if one.HasField("contents") and one.contents.ListFields():
        raise InvalidArgument(f"input '{one.name}' has contents, and raw_input_contents are given too")
    return InputTensor(one.name, raw_array(one.name, one.shape[:], numpy_of(one.datatype, one.name), raw))


def _typed_input(one: _Input) -> InputTensor:
    dtype = numpy_of(one.datatype, one.name)
    return InputTensor(one.name, typed_array(one.name, one.shape[:], one.datatype.upper(), dtype, one.contents))


def _parameters(sent: _Parameters) -> Mapping[str, Parameter]:
    return {name: _value(one) for name, one in sent.items()} if sent else NO_PARAMETERS


def _value(parameter: oip_pb2.InferParameter) -> Parameter:
    choice = parameter.WhichOneof("parameter_choice")
    value: Parameter = "" if choice is None else getattr(parameter, choice)
    return value


def _text_parameter(parameters: _Parameters, name: str) -> str | None:
    """Return a parameter that must be a text; None if it is not given."""
    if name not in parameters:
        return None
    value = _value(parameters[name])
    if not isinstance(value, str):
        raise InvalidArgument(f"parameter '{name}' must be a string")
    return value
