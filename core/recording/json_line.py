"""Records of the request log as lines of JSON, for people and for tools without protobuf.

Numbers have the digits that read back the same value, NaN and infinities are texts, as in protobuf's JSON; bytes are
texts where they are UTF-8 and `{"b64": ...}` otherwise.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from core.errors import InvalidArgument
from core.inference.tensor_proto import to_array
from core.json.array_text import numbers_text
from core.protos import prediction_log_pb2, serving_pb2, tensor_pb2

_NOT_FINITE: Final = re.compile(rb"-?Infinity|NaN")

Json = Any


@dataclass(frozen=True, slots=True)
class ShownExchange:
    """A record as values that JSON can hold: what is known about it, its method, its request and its answer."""

    about: dict[str, Json]
    method: str
    request: Json
    response: Json


def json_line(record: bytes) -> bytes:
    """Return the line of a serialized PredictionLog; raises InvalidArgument for one that cannot be shown."""
    shown = shown_exchange(record)
    line = {**shown.about, "method": shown.method, "request": shown.request, "response": shown.response}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def shown_exchange(record: bytes) -> ShownExchange:
    """Return what a serialized PredictionLog shows; raises InvalidArgument for one that cannot be shown."""
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise InvalidArgument("The record is not a valid PredictionLog message.") from None
    kind = log.WhichOneof("log_type") or ""
    if kind not in _SHOWN:
        raise InvalidArgument(f"Records with {kind or 'nothing'} in them cannot be shown.")
    request, response = _SHOWN[kind](getattr(log, kind))
    return ShownExchange(_about(log.log_metadata), kind.removesuffix("_log"), request, response)


def _about(metadata: prediction_log_pb2.LogMetadata) -> dict[str, Json]:
    spec = metadata.model_spec
    return {
        "time": f"{np.datetime64(metadata.timestamp_secs, 's')}Z",
        "model": spec.name,
        "version": spec.version.value,
        "signature": spec.signature_name,
        "sampling_rate": metadata.sampling_config.sampling_rate,
        "dc": metadata.dc,
    }


def _predict(log: prediction_log_pb2.PredictLog) -> tuple[Json, Json]:
    request = {"inputs": _tensors(log.request.inputs), "output_filter": list(log.request.output_filter)}
    return request, {"outputs": _tensors(log.response.outputs)}


def _classify(log: prediction_log_pb2.ClassifyLog) -> tuple[Json, Json]:
    return _examples(log.request.input), {"results": _classifications(log.response.result)}


def _regress(log: prediction_log_pb2.RegressLog) -> tuple[Json, Json]:
    return _examples(log.request.input), {"results": _regressions(log.response.result)}


def _multi_inference(log: prediction_log_pb2.MultiInferenceLog) -> tuple[Json, Json]:
    tasks = [{"signature": task.model_spec.signature_name, "method": task.method_name} for task in log.request.tasks]
    results = [
        {
            "signature": result.model_spec.signature_name,
            "results": _regressions(result.regression_result)
            if result.HasField("regression_result")
            else _classifications(result.classification_result),
        }
        for result in log.response.results
    ]
    return {"tasks": tasks, **_examples(log.request.input)}, {"results": results}


def _session_run(log: prediction_log_pb2.SessionRunLog) -> tuple[Json, Json]:
    feeds = {feed.name: _value(feed.tensor) for feed in log.request.feed}
    tensors = {one.name: _value(one.tensor) for one in log.response.tensor}
    return {"feeds": feeds, "fetches": list(log.request.fetch)}, {"tensors": tensors}


_SHOWN: Final[Mapping[str, Callable[[Any], tuple[Json, Json]]]] = MappingProxyType(
    {
        "predict_log": _predict,
        "classify_log": _classify,
        "regress_log": _regress,
        "multi_inference_log": _multi_inference,
        "session_run_log": _session_run,
    }
)


def _tensors(named: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, Json]:
    return {name: _value(named[name]) for name in sorted(named)}


def _value(tensor: tensor_pb2.TensorProto) -> Json:
    array = to_array(tensor)
    if array.dtype.kind == "O":
        return _texts(array.tolist())
    return orjson.Fragment(_numbers(array))


def _numbers(array: np.ndarray) -> bytes:
    """Print an array: complex elements as pairs, float types that the printer does not know as float32."""
    if array.dtype.kind == "c":
        array = np.stack((array.real, array.imag), axis=-1)
    if array.dtype.isbuiltin != 1:
        array = array.astype(np.float32)
    return _NOT_FINITE.sub(rb'"\g<0>"', numbers_text(array))


def _texts(value: Json) -> Json:
    """Make texts of a nested list of bytes."""
    if isinstance(value, list):
        return [_texts(one) for one in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _examples(source: serving_pb2.Input) -> dict[str, Json]:
    if source.WhichOneof("kind") == "example_list_with_context":
        listed = source.example_list_with_context
        return {"context": _example(listed.context), "examples": [_example(one) for one in listed.examples]}
    return {"examples": [_example(one) for one in source.example_list.examples]}


def _example(example: tensor_pb2.Example) -> dict[str, Json]:
    features = example.features.feature
    return {name: _feature(features[name]) for name in sorted(features)}


def _feature(feature: tensor_pb2.Feature) -> Json:
    kind = feature.WhichOneof("kind")
    if kind == "float_list":
        return _floats(feature.float_list.value)
    if kind == "int64_list":
        return list(feature.int64_list.value)
    return _texts(list(feature.bytes_list.value))


def _floats(values: Iterable[float]) -> list[Json]:
    """Print floats of 32 bits, which protobuf gives with the digits of 64, with their own digits."""
    texts = _numbers(np.fromiter(values, np.float32))[1:-1]
    return [orjson.Fragment(text) for text in texts.split(b",")] if texts else []


def _classifications(result: serving_pb2.ClassificationResult) -> Json:
    return [
        [
            {"label": one.label, "score": score}
            for one, score in zip(row.classes, _floats(one.score for one in row.classes), strict=True)
        ]
        for row in result.classifications
    ]


def _regressions(result: serving_pb2.RegressionResult) -> Json:
    return _floats(one.value for one in result.regressions)
