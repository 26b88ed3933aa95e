"""Predict over gRPC: from request bytes to a session run and back (TensorFlow Serving, Predict)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import FailedPrecondition, InvalidArgument
from core.grpc.model_spec import answer_spec
from core.grpc.predict_response import ResponseWriter
from core.inference.error_texts import braced, listed
from core.inference.protobuf_wire import parse_message
from core.inference.run_plan import RunPlan
from core.inference.signature import (
    DEFAULT_SIGNATURE,
    ServedModel,
    Signature,
    TensorSpec,
    check_carried,
    check_predictable,
)
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2, tensor_pb2

Inputs = Mapping[str, tensor_pb2.TensorProto]


def plan_predict(model: ServedModel, body: bytes, *, as_content: bool = False, check_method: bool = False) -> RunPlan:
    """Plan a serialized PredictRequest; `as_content` writes outputs as `tensor_content`.

    Shapes and types are left to the runtime, which reports mismatches in its own words.
    """
    request = parse_message(serving_pb2.PredictRequest, body)
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = _signature(model, key, check_method=check_method)
    feeds = _feeds(signature, request.inputs)
    outputs = _outputs(signature.outputs, request.output_filter)
    if not signature.is_carried:
        check_carried(key, signature, [alias for alias, _ in outputs])
    fetches = tuple(dict.fromkeys([spec.tensor for _, spec in outputs]))
    writer = ResponseWriter(outputs, fetches, answer_spec(model.name, model.version, key), as_content)
    return RunPlan(feeds, fetches, writer.encode, key)


def _signature(model: ServedModel, key: str, *, check_method: bool) -> Signature:
    signature = model.signatures.get(key)
    if signature is None:
        raise FailedPrecondition(f'Serving signature key "{key}" not found.')
    if check_method:
        check_predictable(signature)
    return signature


def _feeds(signature: Signature, inputs: Inputs) -> dict[str, np.ndarray]:
    _check_input_count(signature, inputs)
    feeds = {spec.tensor: _input(signature, alias, inputs) for alias, spec in signature.inputs.items()}
    used = [alias for alias in signature.inputs if alias in inputs]
    if len(used) != len(inputs):
        raise InvalidArgument(
            f"Inputs contains invalid name. Used request inputs: {listed(used)}, request input: {listed(inputs)}"
        )
    return feeds


def _check_input_count(signature: Signature, inputs: Inputs) -> None:
    declared = signature.inputs
    if len(inputs) == len(declared) or (len(inputs) < len(declared) and signature.defaults):
        return
    raise InvalidArgument(
        f"input size does not match signature: {len(inputs)}!={len(declared)} "
        f"len({braced(inputs)}) != len({braced(declared)}). "
        f"Sent extra: {braced(set(inputs) - set(declared))}. "
        f"Missing but required: {braced(set(declared) - set(inputs))}."
    )


def _input(signature: Signature, alias: str, inputs: Inputs) -> np.ndarray:
    if alias in inputs:
        return _decoded(alias, inputs[alias])
    if alias in signature.defaults:
        return signature.defaults[alias]
    raise InvalidArgument(
        f"Signature input alias: {alias}(feed name: {signature.inputs[alias].tensor}) not found in request and no "
        f"default value provided. Inputs expected to be in the request {braced(inputs)}, "
        f"or default input alias set: {listed(signature.defaults)}"
    )


def _decoded(alias: str, value: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return to_array(value)
    except InvalidArgument:
        raise InvalidArgument(f"tensor parsing error: {alias}") from None


def _outputs(declared: Mapping[str, TensorSpec], wanted: Sequence[str]) -> tuple[tuple[str, TensorSpec], ...]:
    if not wanted:
        return tuple(declared.items())
    chosen: dict[str, TensorSpec] = {}
    for alias in wanted:
        if alias not in declared:
            raise InvalidArgument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {braced(declared)}."
            )
        if alias in chosen:
            raise InvalidArgument(f"duplicate output tensor alias: {alias}")
        chosen[alias] = declared[alias]
    return tuple(chosen.items())
