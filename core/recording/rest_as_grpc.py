"""Translates REST requests and answers into the equivalent gRPC messages, for logs that hold only those.

An answer is read back by the reader of requests: rows and columns look the same in both directions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from core.errors import InvalidArgument
from core.grpc.examples_response import classification_result, examples_response, regression_result
from core.grpc.model_spec import answer_spec
from core.grpc.written_requests import Target, predict_request
from core.inference.classification import ScoredClass
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel
from core.inference.tensor_proto import to_proto
from core.json.document import read_predict_body
from core.protos import serving_pb2
from core.rest import examples as rest_examples


@dataclass(frozen=True, slots=True)
class LoggedMessages:
    """The gRPC message of a request, and the function for that of its answer, which raises ServingError."""

    request: bytes
    response: Callable[[bytes], bytes]


def predict_messages(model: ServedModel, body: bytes) -> LoggedMessages:
    """Return PredictRequest and PredictResponse; raises ServingError for a body that cannot be read."""
    request = read_predict_body(body, model.signatures.get)
    target = Target(model.name, signature=request.name)
    response = partial(_predict_response, model, request.name or DEFAULT_SIGNATURE)
    return LoggedMessages(predict_request(target, request.inputs), response)


def classify_messages(model: ServedModel, body: bytes) -> LoggedMessages:
    """Return ClassificationRequest and ClassificationResponse; raises ServingError for a body that cannot be read."""
    request = rest_examples.read_examples_body(body)

    def response(answer: bytes) -> bytes:
        rows = [[_scored(pair) for pair in _listed(row)] for row in _results(answer)]
        return _examples_response(model, request, classification_result(rows))

    return LoggedMessages(_examples_request(model, request), response)


def regress_messages(model: ServedModel, body: bytes) -> LoggedMessages:
    """Return RegressionRequest and RegressionResponse; raises ServingError for a body that cannot be read."""
    request = rest_examples.read_examples_body(body)

    def response(answer: bytes) -> bytes:
        values = [_number(value) for value in _results(answer)]
        return _examples_response(model, request, regression_result(values))

    return LoggedMessages(_examples_request(model, request), response)


def _predict_response(model: ServedModel, key: str, answer: bytes) -> bytes:
    response = serving_pb2.PredictResponse()
    response.model_spec.MergeFromString(answer_spec(model.name, model.version, key))
    for name, array in _outputs(model, key, answer).items():
        response.outputs[name].CopyFrom(to_proto(array, as_content=True))
    return response.SerializeToString()


def _outputs(model: ServedModel, key: str, answer: bytes) -> Mapping[str, np.ndarray]:
    """Read an answer as if it were the request of a signature whose inputs are the outputs."""
    signature = model.signatures[key]
    mirrored = replace(signature, inputs=signature.outputs)
    by_row = answer.lstrip(b"{ \n").startswith(b'"predictions"')
    member, as_request = (b'"predictions"', b'"instances"') if by_row else (b'"outputs"', b'"inputs"')
    return read_predict_body(answer.replace(member, as_request, 1), lambda _: mirrored).inputs


def _examples_request(model: ServedModel, request: rest_examples.RestExamples) -> bytes:
    message = serving_pb2.SerializedExamplesRequest()
    message.model_spec.name = model.name
    message.model_spec.signature_name = request.name
    message.input.example_list.examples.extend(request.examples)
    return message.SerializeToString()


def _examples_response(model: ServedModel, request: rest_examples.RestExamples, result: bytes) -> bytes:
    return examples_response(result, answer_spec(model.name, model.version, request.name or DEFAULT_SIGNATURE))


def _results(answer: bytes) -> list[Any]:
    """Read the results of classify and regress, labels of arbitrary bytes included; raises InvalidArgument."""
    try:
        document = json.loads(answer.decode("utf-8", "surrogateescape"))
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"An answer that is not JSON: {error}") from error
    return _listed(document.get("results") if isinstance(document, dict) else None)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidArgument("An answer without a list of results.")
    return value


def _scored(pair: Any) -> ScoredClass:
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise InvalidArgument("An answer with a result that is not a label and its score.")
    return ScoredClass(_bytes(pair[0]), _number(pair[1]))


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise InvalidArgument("An answer with a result that is not a number.")
    return float(value)


def _bytes(label: str) -> bytes:
    return label.encode("utf-8", "surrogateescape")
