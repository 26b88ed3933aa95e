"""REST classify and regress: JSON examples to tf.Examples, and results to the JSON answer (TensorFlow Serving).

The kind of a feature follows from the JSON alone: `20` is an integer, `20.0` a float, whatever the model expects. The
context is merged by putting its bytes in front of the bytes of each example, as protobuf merges concatenated messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from core.errors import InvalidArgument
from core.inference.classification import ScoredClass, plan_classification
from core.inference.examples_plan import ExamplesPlan, with_context
from core.inference.giving_up import patiently
from core.inference.regression import plan_regression
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel
from core.json.array_text import list_answer, numbers_text
from core.json.document import parse_object, signature_name
from core.json.picture import complaint
from core.json.strings import quote
from core.json.values import JsonObject, Value
from core.rest.example_features import example_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RestExamples:
    """A body of classify or regress: the name of the signature, and examples with the context in them."""

    name: str
    examples: list[bytes]


def plan_classify(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Plan `:classify`."""
    request = read_examples_body(body)
    plan = plan_classification(model, request.name, request.examples, check_method=check_method)
    return _run_plan(plan, write_classes, request.name)


def plan_regress(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Plan `:regress`."""
    request = read_examples_body(body)
    plan = plan_regression(model, request.name, request.examples, check_method=check_method)
    return _run_plan(plan, write_values, request.name)


def check_examples_body(body: bytes) -> None:
    """Make the checks of a body that come before its model is looked up: all of its JSON; raises ServingError."""
    read_examples_body(body)


def read_examples_body(body: bytes) -> RestExamples:
    """Read a body; raises ServingError."""
    document = parse_object(bytes(body))
    members = document.first_values()
    name = signature_name(members, document)
    context = example_bytes(members["context"]) if "context" in members else b""
    examples = [example_bytes(example) for example in patiently(_examples(document, members))]
    return RestExamples(name, with_context(context, examples))


def _examples(document: JsonObject, members: Mapping[str, Value]) -> list[Value]:
    if "examples" not in members:
        # TensorFlow Serving says "classify" whatever the method is.
        rule = "When method is classify, key 'examples' is expected and was not found"
        raise InvalidArgument(complaint(document, rule))
    examples = members["examples"]
    if not isinstance(examples, list):
        raise InvalidArgument(complaint(document, "Expecting 'examples' value to be an list/array"))
    if not examples:
        raise InvalidArgument(complaint(document, "'examples' value is an empty array"))
    return examples


def _run_plan(plan: ExamplesPlan[T], write: Callable[[T], bytes], name: str) -> RunPlan:
    return RunPlan(plan.feeds, plan.fetches, partial(_encode, plan, write), name or DEFAULT_SIGNATURE)


def _encode(plan: ExamplesPlan[T], write: Callable[[T], bytes], arrays: Sequence[np.ndarray]) -> bytes:
    return write(plan.decode(arrays))


def write_classes(results: list[list[ScoredClass]]) -> bytes:
    """Write the answer of `:classify`: pairs of label and score, even if the model returns only one of them."""
    if not results:
        raise InvalidArgument("Cannot convert empty ClassificationResults to JSON")
    rows = [b"[%b]" % b", ".join(_pairs(classes)) for classes in results]
    return list_answer("results", rows)


def _pairs(classes: list[ScoredClass]) -> list[bytes]:
    scores = _floats([found.score or 0.0 for found in classes])
    labels = [quote(found.label or b"") for found in classes]
    return [b"[%b, %b]" % pair for pair in zip(labels, scores, strict=True)]


def write_values(results: list[float]) -> bytes:
    """Write the answer of `:regress`."""
    if not results:
        raise InvalidArgument("Cannot convert empty RegressionResults to JSON")
    return list_answer("results", _floats(results))


def _floats(values: list[float]) -> list[bytes]:
    """Write results with the digits of a float32."""
    return numbers_text(np.array(values, dtype=np.float32))[1:-1].split(b",") if values else []
