"""The plan of an inference request of the Open Inference Protocol: checked against the signature, ready to run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from core.errors import InvalidArgument
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, Signature, TensorSpec, check_carried
from core.oip.datatypes import DTYPE_OF, datatype_of, name_of
from core.oip.infer_request import (
    InferRequest,
    InputTensor,
    RequestedOutput,
    check_request_parameters,
    dimensions_text,
)

SIGNATURE_NAME: Final = "signature_name"
TIMEOUT: Final = "timeout"


class OutputTensor(NamedTuple):
    """One output of an answer; `is_binary` is None where the request does not say in which form it is sent."""

    name: str
    datatype: str
    array: np.ndarray
    is_binary: bool | None = None


class InferAnswer(NamedTuple):
    """An answer: the version that gave it, the id of its request, and the outputs in order."""

    model_name: str
    model_version: str
    id: str | None
    outputs: tuple[OutputTensor, ...]


AnswerWriter: TypeAlias = Callable[[InferAnswer], bytes]
"""Writes the body of an answer."""


def plan_infer(model: ServedModel, request: InferRequest, write: AnswerWriter) -> RunPlan:
    """Plan a request; raises InvalidArgument for whatever does not fit the signature."""
    check_request_parameters(request.parameters)
    key = asked_signature(request)
    signature = signature_called(model, key)
    outputs = _outputs(signature, request.outputs)
    if not signature.is_carried:
        check_carried(key, signature, [one.name for one, _ in outputs])
    feeds = _feeds(model, signature, request.inputs)
    for one, spec in outputs:
        if spec.dtype not in DTYPE_OF:
            raise _not_in_protocol(f"output '{one.name}'", spec)
    fetches = tuple(dict.fromkeys([spec.tensor for _, spec in outputs]))

    def encode(arrays: Sequence[np.ndarray]) -> bytes:
        fetched = dict(zip(fetches, arrays, strict=True))
        tensors = tuple([_output(one, spec, fetched[spec.tensor]) for one, spec in outputs])
        return write(InferAnswer(model.name, str(model.version), request.id, tensors))

    return RunPlan(feeds, fetches, encode, key, asked_timeout_s(request))


def asked_timeout_s(request: InferRequest) -> float | None:
    """Return the deadline that a request gives itself: `timeout`, in microseconds; None without one, also for 0.

    Raises InvalidArgument for what is not a number of microseconds.
    """
    timeout = request.parameters.get(TIMEOUT)
    if timeout is None:
        return None
    if isinstance(timeout, (bool, str)) or not 0 <= timeout < math.inf:
        raise InvalidArgument(f"parameter '{TIMEOUT}' must be a number of microseconds")
    return timeout / 1_000_000 if timeout else None


def asked_signature(request: InferRequest) -> str:
    """Return the signature that a request asks for; raises InvalidArgument for a name that is not a text."""
    name = request.parameters.get(SIGNATURE_NAME, DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise InvalidArgument(f"parameter '{SIGNATURE_NAME}' must be a string")
    return name or DEFAULT_SIGNATURE


def signature_called(model: ServedModel, key: str) -> Signature:
    """Return a signature of the model; raises InvalidArgument where it has none of that name."""
    signature = model.signatures.get(key)
    if signature is None:
        raise InvalidArgument(f"model '{model.name}' has no signature '{key}'")
    return signature


def input_dtype(model: ServedModel, name: str, spec: TensorSpec) -> np.dtype:
    """Return the dtype of a model's input; raises InvalidArgument for a type that the protocol does not have."""
    dtype = DTYPE_OF.get(spec.dtype)
    if dtype is None:
        raise _not_in_protocol(f"input '{name}' of model '{model.name}'", spec)
    return dtype


def _not_in_protocol(what: str, spec: TensorSpec) -> InvalidArgument:
    return InvalidArgument(
        f"{what} has type {datatype_of(spec.dtype)}, which this protocol does not have; TensorFlow Serving's API "
        "(/v1, PredictionService) serves it"
    )


def _feeds(model: ServedModel, signature: Signature, inputs: Sequence[InputTensor]) -> dict[str, np.ndarray]:
    sent: dict[str, np.ndarray] = {}
    for one in inputs:
        if one.name in sent:
            raise InvalidArgument(f"input '{one.name}' is given more than once for model '{model.name}'")
        spec = signature.inputs.get(one.name)
        if spec is None:
            raise InvalidArgument(f"unexpected inference input '{one.name}' for model '{model.name}'")
        _check(model, one, spec)
        sent[one.name] = one.array
    if len(sent) == len(signature.inputs):
        return {spec.tensor: sent[name] for name, spec in signature.inputs.items()}
    return {spec.tensor: _feed(model, signature, name, sent) for name, spec in signature.inputs.items()}


def _feed(model: ServedModel, signature: Signature, name: str, sent: Mapping[str, np.ndarray]) -> np.ndarray:
    array = sent.get(name)
    if array is None:
        array = signature.defaults.get(name)
    if array is None:
        raise InvalidArgument(
            f"expected {len(signature.inputs)} inputs but got {len(sent)} inputs for model '{model.name}'; "
            f"input '{name}' is missing"
        )
    return array


def _check(model: ServedModel, one: InputTensor, spec: TensorSpec) -> None:
    dtype = input_dtype(model, one.name, spec)
    if one.array.dtype != dtype:
        raise InvalidArgument(
            f"inference input '{one.name}' data-type is {name_of(one.array.dtype)}, but model '{model.name}' expects "
            f"{name_of(dtype)}"
        )
    if not spec.fits(one.array.shape):
        raise InvalidArgument(
            f"unexpected shape for input '{one.name}' for model '{model.name}'. Expected "
            f"{dimensions_text(spec.shape or ())}, got {dimensions_text(one.array.shape)}"
        )


def _outputs(signature: Signature, wanted: Sequence[RequestedOutput]) -> list[tuple[RequestedOutput, TensorSpec]]:
    """Return the outputs in the requested order; without a request all, sorted by name."""
    declared = signature.outputs
    if not wanted:
        return [(RequestedOutput(name), declared[name]) for name in sorted(declared)]
    chosen: dict[str, tuple[RequestedOutput, TensorSpec]] = {}
    for one in wanted:
        if one.name not in declared:
            raise InvalidArgument(f"unexpected inference output '{one.name}'; outputs: {', '.join(sorted(declared))}")
        if one.name in chosen:
            raise InvalidArgument(f"output '{one.name}' is requested more than once")
        chosen[one.name] = (one, declared[one.name])
    return list(chosen.values())


def _output(wanted: RequestedOutput, spec: TensorSpec, array: np.ndarray) -> OutputTensor:
    datatype = name_of(array.dtype)
    if not datatype:
        raise _not_in_protocol(f"output '{wanted.name}'", spec)
    return OutputTensor(wanted.name, datatype, array, wanted.is_binary)
