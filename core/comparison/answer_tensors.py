"""Answers of every method as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from core.comparison.json_tensors import json_of, nested_array, predict_tensors, results_of
from core.errors import InvalidArgument
from core.inference.protobuf_wire import LENGTH_DELIMITED, parse_message, top_level_fields
from core.inference.tensor_proto import bytes_array, to_array
from core.oip.datatypes import numpy_of
from core.oip.raw_tensors import raw_array
from core.oip.rest_body import split_body
from core.oip.typed_contents import typed_array
from core.protos import oip_pb2, serving_pb2
from core.routing.transport import Method

Tensors: TypeAlias = Mapping[str, np.ndarray]

CLASSES: Final = "classes"
SCORES: Final = "scores"
TOP_CLASS: Final = "top_class"
"""Of classify: the label with the largest score of each example."""
REGRESSION: Final = "outputs"
_RESULT: Final = 1 << 3 | LENGTH_DELIMITED
"""The key of the result in a response."""


def answer_tensors(method: Method, body: bytes, only_output: str) -> Tensors:
    """Read an answer; raises InvalidArgument for one that is none of this method."""
    reader = _READERS.get(method)
    if reader is None:
        raise InvalidArgument(f"answers of {method.name} have no tensors")
    return reader(body, only_output)


def _predict(body: bytes, _: str) -> Tensors:
    response = parse_message(serving_pb2.PredictResponse, body)
    return {name: to_array(tensor) for name, tensor in response.outputs.items()}


def _session_run(body: bytes, _: str) -> Tensors:
    response = parse_message(serving_pb2.SessionRunResponse, body)
    return {one.name: to_array(one.tensor) for one in response.tensor}


class _Row(NamedTuple):
    """The classes of one example, with their scores."""

    labels: Sequence[str]
    scores: Sequence[float]


def _classes(rows: Sequence[_Row]) -> Tensors:
    """Return labels and scores as tensors; raises InvalidArgument where examples have different numbers of classes."""
    width = len(rows[0].labels) if rows else 0
    if any(len(row.labels) != width for row in rows):
        raise InvalidArgument("examples have different numbers of classes")
    labels = bytes_array([label.encode("utf-8", "surrogateescape") for row in rows for label in row.labels])
    scores = np.array([row.scores for row in rows], np.float32).reshape(len(rows), width)
    labels = labels.reshape(len(rows), width)
    if not labels.size:
        return {CLASSES: labels, SCORES: scores}
    ordered = np.where(np.isnan(scores), -np.inf, scores)
    return {CLASSES: labels, SCORES: scores, TOP_CLASS: labels[np.arange(len(rows)), ordered.argmax(axis=1)]}


def _rows_of(result: serving_pb2.ClassificationResult) -> list[_Row]:
    return [
        _Row([one.label for one in row.classes], [one.score for one in row.classes]) for row in result.classifications
    ]


def _values_of(result: serving_pb2.RegressionResult) -> Tensors:
    return {REGRESSION: np.array([one.value for one in result.regressions], np.float32)}


def _classify(body: bytes, _: str) -> Tensors:
    """Read labels and scores; labels that are not UTF-8 the protobuf runtime refuses, and then all is one text."""
    try:
        return _classes(_rows_of(parse_message(serving_pb2.ClassificationResponse, body).result))
    except InvalidArgument:
        fields = top_level_fields(body, 2)
        if not fields or fields[0][0] != _RESULT:
            raise
        start, end = fields[0][1:]
        return {CLASSES: bytes_array([bytes(body[start:end])])}


def _regress(body: bytes, _: str) -> Tensors:
    return _values_of(parse_message(serving_pb2.RegressionResponse, body).result)


def _multi_inference(body: bytes, _: str) -> Tensors:
    found: dict[str, np.ndarray] = {}
    for one in parse_message(serving_pb2.MultiInferenceResponse, body).results:
        is_classes = one.HasField("classification_result")
        tensors = _classes(_rows_of(one.classification_result)) if is_classes else _values_of(one.regression_result)
        found |= {f"{one.model_spec.signature_name}/{name}": array for name, array in tensors.items()}
    return found


def _rest_classify(body: bytes, _: str) -> Tensors:
    return _classes([_row(one) for one in results_of(body)])


def _row(pairs: Any) -> _Row:
    try:
        return _Row([str(label) for label, _ in pairs], [float(score) for _, score in pairs])
    except (TypeError, ValueError):
        raise InvalidArgument("a result is not a list of labels with scores") from None


def _rest_regress(body: bytes, _: str) -> Tensors:
    return {REGRESSION: nested_array(results_of(body))}


def _oip_grpc(body: bytes, _: str) -> Tensors:
    response = parse_message(oip_pb2.ModelInferResponse, body)
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise InvalidArgument(f"the answer has {len(response.outputs)} outputs, and the contents of {len(raw)}")
    if raw:
        return {
            one.name: raw_array(one.name, one.shape, numpy_of(one.datatype, one.name), content)
            for one, content in zip(response.outputs, raw, strict=True)
        }
    return {
        one.name: typed_array(one.name, one.shape, one.datatype, numpy_of(one.datatype, one.name), one.contents)
        for one in response.outputs
    }


def _oip_rest(body: bytes, _: str) -> Tensors:
    parts = split_body(body)
    outputs = json_of(bytes(parts.json)).get("outputs")
    try:
        return _described(outputs if isinstance(outputs, list) else (), parts.raw)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"an output is not described as one: {error}") from None


def _described(outputs: Iterable[Mapping[str, Any]], raw: memoryview) -> Tensors:
    found: dict[str, np.ndarray] = {}
    at = 0
    for one in outputs:
        name, shape, dtype = one["name"], one["shape"], numpy_of(one["datatype"], one["name"])
        if "data" in one:
            found[name] = _listed(one["data"], dtype).reshape(shape)
            continue
        end = at + one["parameters"]["binary_data_size"]
        found[name] = raw_array(name, shape, dtype, raw[at:end])
        at = end
    return found


def _listed(data: Sequence[Any], dtype: np.dtype) -> np.ndarray:
    if dtype.hasobject:
        return bytes_array([one.encode("utf-8", "surrogateescape") for one in data])
    return np.array(data, np.float64).astype(dtype) if dtype.kind in "fV" else np.array(data, dtype)


_READERS: Final[Mapping[Method, Callable[[bytes, str], Tensors]]] = MappingProxyType(
    {
        Method.REST_PREDICT: predict_tensors,
        Method.REST_CLASSIFY: _rest_classify,
        Method.REST_REGRESS: _rest_regress,
        Method.PREDICT: _predict,
        Method.CLASSIFY: _classify,
        Method.REGRESS: _regress,
        Method.MULTI_INFERENCE: _multi_inference,
        Method.SESSION_RUN: _session_run,
        Method.OIP_REST_INFER: _oip_rest,
        Method.OIP_INFER: _oip_grpc,
    }
)
