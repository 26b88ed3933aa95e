"""Classify and Regress over gRPC: from request bytes to a session run and back.

Examples stay serialized from the client to the model, which parses them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from core.errors import InvalidArgument
from core.grpc.examples_response import classification_result, examples_response, regression_result
from core.grpc.model_spec import answer_spec
from core.inference.classification import plan_classification
from core.inference.examples_plan import ExamplesPlan, with_context
from core.inference.protobuf_wire import parse_message
from core.inference.regression import plan_regression
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel
from core.protos import serving_pb2

T = TypeVar("T")


def plan_classify(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Plan a serialized ClassificationRequest."""
    key, examples = _read(body)
    planned = plan_classification(model, key, examples, check_method=check_method)
    return _run_plan(planned, classification_result, answer_spec(model.name, model.version, key), key)


def plan_regress(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Plan a serialized RegressionRequest."""
    key, examples = _read(body)
    planned = plan_regression(model, key, examples, check_method=check_method)
    return _run_plan(planned, regression_result, answer_spec(model.name, model.version, key), key)


def serialized_examples(source: serving_pb2.SerializedInput) -> list[bytes]:
    """List the examples of a request, each with its context."""
    if source.WhichOneof("kind") == "example_list_with_context":
        return with_context(source.example_list_with_context.context, source.example_list_with_context.examples)
    return list(source.example_list.examples)


def _read(body: bytes) -> tuple[str, list[bytes]]:
    request = parse_message(serving_pb2.SerializedExamplesRequest, body)
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    return request.model_spec.signature_name or DEFAULT_SIGNATURE, serialized_examples(request.input)


def _run_plan(planned: ExamplesPlan[T], write: Callable[[T], bytes], model_spec: bytes, key: str) -> RunPlan:
    def encode(arrays: Sequence[np.ndarray]) -> bytes:
        return examples_response(write(planned.decode(arrays)), model_spec)

    return RunPlan(planned.feeds, planned.fetches, encode, key)
