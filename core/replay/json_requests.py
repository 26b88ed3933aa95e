"""Requests out of lines of JSON: those that a request log of that format holds, and bodies of REST predict.

A line has no types, so its numbers take those of the signature that it names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson

from core.errors import InvalidArgument, Unimplemented
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel
from core.inference.tensor_proto import bytes_array, to_proto
from core.protos import serving_pb2, tensor_pb2
from core.recording.rest_as_grpc import predict_messages
from core.routing.transport import Call, Method

_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
"""How a log writes floats that JSON does not have."""
_REST_MEMBERS: Final = frozenset({"instances", "inputs"})

Json = Any


def json_request(line: bytes, model: ServedModel) -> Call:
    """Return the call of a line; raises InvalidArgument and Unimplemented for one that cannot be sent again."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("it is not an object")
    if "method" not in document:
        if not _REST_MEMBERS & document.keys():
            raise InvalidArgument("it has neither a method, as lines of logs do, nor instances or inputs, as REST does")
        return Call(Method.PREDICT, predict_messages(model, line).request)
    read = _READERS.get(document["method"]) if isinstance(document["method"], str) else None
    if read is None:
        raise Unimplemented(f"requests of {document['method']!r} are not replayed")
    try:
        return read(model, document.get("signature", ""), document["request"])
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"it is not a line of a request log: {type(error).__name__} {error}") from None


def _predict(model: ServedModel, name: str, request: Json) -> Call:
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise InvalidArgument(
            f'there is no signature "{name or DEFAULT_SIGNATURE}", which says the types of its inputs'
        )
    message = serving_pb2.PredictRequest(output_filter=request["output_filter"])
    message.model_spec.signature_name = name
    for alias, values in request["inputs"].items():
        spec = signature.inputs.get(alias)
        if spec is None:
            raise InvalidArgument(f'its signature has no input "{alias}"')
        message.inputs[alias].CopyFrom(to_proto(_array(values, spec.dtype), spec.dtype, as_content=True))
    return Call(Method.PREDICT, message.SerializeToString())


def _array(values: Json, kind: DataType) -> np.ndarray:
    dtype = NUMPY_DTYPE.get(kind)
    if dtype is None:
        raise InvalidArgument(f"inputs of type {kind.label} cannot be sent")
    if dtype.hasobject:
        shape = np.shape(np.array(_flagged(values)))
        return bytes_array(list(_flat_bytes(values))).reshape(shape)
    if dtype.kind == "c":
        pairs = np.array(values, np.float64)
        return (pairs[..., 0] + 1j * pairs[..., 1]).astype(dtype)
    if dtype.kind in "iub" and (found := np.array(values)).size and found.dtype.kind not in "iub":
        raise InvalidArgument(f"a value is none of type {kind.label}")
    return np.array(values, np.float64).astype(dtype) if dtype.isbuiltin != 1 else np.array(values, dtype)


def _flagged(values: Json) -> Json:
    """Return a nested list with True for each text, which numpy can measure."""
    return [_flagged(one) for one in values] if isinstance(values, list) else True


def _flat_bytes(values: Json) -> list[bytes]:
    if isinstance(values, list):
        return [flat for one in values for flat in _flat_bytes(one)]
    return [_bytes(values)]


def _bytes(value: Json) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"a text is not base64: {error}") from None


def _classify(model: ServedModel, name: str, request: Json) -> Call:
    del model
    message = serving_pb2.ClassificationRequest(input=_input(request))
    message.model_spec.signature_name = name
    return Call(Method.CLASSIFY, message.SerializeToString())


def _regress(model: ServedModel, name: str, request: Json) -> Call:
    del model
    message = serving_pb2.RegressionRequest(input=_input(request))
    message.model_spec.signature_name = name
    return Call(Method.REGRESS, message.SerializeToString())


def _multi_inference(model: ServedModel, name: str, request: Json) -> Call:
    del name
    message = serving_pb2.MultiInferenceRequest(input=_input(request))
    for task in request["tasks"]:
        added = message.tasks.add(method_name=task["method"])
        added.model_spec.name = model.name
        added.model_spec.signature_name = task["signature"]
    return Call(Method.MULTI_INFERENCE, message.SerializeToString())


def _input(request: Json) -> serving_pb2.Input:
    examples = [_example(one) for one in request["examples"]]
    if "context" not in request:
        return serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=examples))
    return serving_pb2.Input(
        example_list_with_context=serving_pb2.ExampleListWithContext(
            examples=examples, context=_example(request["context"])
        )
    )


def _example(features: Mapping[str, Json]) -> tensor_pb2.Example:
    example = tensor_pb2.Example()
    for name, values in features.items():
        _fill(example.features.feature[name], values)
    return example


def _fill(feature: tensor_pb2.Feature, values: list[Json]) -> None:
    """Fill a feature: whole numbers, other numbers (among which some may be texts) and texts have each their list."""
    texts = [one for one in values if isinstance(one, (str, dict))]
    if len(texts) == len(values):
        feature.bytes_list.value.extend(map(_bytes, values))
    elif texts or any(isinstance(one, float) for one in values):
        if not _NOT_FINITE.issuperset(texts):
            raise InvalidArgument("a feature has both texts and numbers")
        feature.float_list.value.extend(map(float, values))
    else:
        feature.int64_list.value.extend(values)


_READERS: Final[Mapping[str, Callable[[ServedModel, str, Json], Call]]] = MappingProxyType(
    {"predict": _predict, "classify": _classify, "regress": _regress, "multi_inference": _multi_inference}
)
