"""Tests of Classify and Regress over gRPC."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument, ServingError
from core.grpc.examples import plan_classify, plan_regress
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.inference.tensor_proto import bytes_array
from core.protos import serving_pb2, tensor_pb2
from tests.support.served_models import EXAMPLES, answer, example, half_plus_two, model_spec, spec, with_signature

ONE = np.array([[12]], np.float32)


def body(*examples: tensor_pb2.Example, context: tensor_pb2.Example | None = None, signature: str = "") -> bytes:
    request = serving_pb2.ClassificationRequest(model_spec=model_spec(signature_name=signature))
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request.SerializeToString()


def test_scores_become_classes_without_labels() -> None:
    """The answer has one class per column and tells which signature made it."""
    plan = plan_classify(half_plus_two(), body(example(x=20), signature="classify_x_to_y"))

    parsed = serving_pb2.ClassificationResponse.FromString(answer(plan, {"y:0": ONE}))

    (classifications,) = parsed.result.classifications
    assert [(one.label, one.score) for one in classifications.classes] == [("", 12)]
    assert (parsed.model_spec.name, parsed.model_spec.version.value) == ("h2", 123)
    assert parsed.model_spec.signature_name == "classify_x_to_y"


def test_case_G1_labels_and_scores_are_written() -> None:
    """Zeros and empty labels are columns too."""
    outputs = {"classes": spec("c:0", DataType.STRING), "scores": spec("s:0")}
    plan = plan_classify(with_signature(Signature({"inputs": EXAMPLES}, outputs)), body(example(x=1), example(x=2)))
    tensors = {
        "c:0": bytes_array([b"dos", b"", b"cuatro", b"tres"]).reshape(2, 2),
        "s:0": np.array([[2, 0], [-0.0, np.inf]], np.float32),
    }

    parsed = serving_pb2.ClassificationResponse.FromString(answer(plan, tensors))

    written = [[(one.label, str(one.score)) for one in row.classes] for row in parsed.result.classifications]
    assert written == [[("dos", "2.0"), ("", "0.0")], [("cuatro", "-0.0"), ("tres", "inf")]]
    assert parsed.model_spec.signature_name == "serving_default"


def test_a_label_may_be_any_bytes() -> None:
    """What the model says is passed on, text or not."""
    outputs = {"classes": spec("c:0", DataType.STRING)}
    plan = plan_classify(with_signature(Signature({"inputs": EXAMPLES}, outputs)), body(example(x=1)))

    assert b"\x0a\x02\xff\xfe" in answer(plan, {"c:0": bytes_array([b"\xff\xfe"]).reshape(1, 1)})


@pytest.mark.parametrize("value", [3.5, 0.0, -0.0, np.inf])
def test_case_G18_regressions_are_written(value) -> None:
    """A zero is a result too."""
    plan = plan_regress(half_plus_two(), body(example(x=2), example(x=4), signature="regress_x_to_y"))

    parsed = serving_pb2.RegressionResponse.FromString(answer(plan, {"y:0": np.array([value, 4], np.float32)}))

    assert [str(one.value) for one in parsed.result.regressions] == [str(value), "4.0"]
    assert parsed.model_spec.signature_name == "regress_x_to_y"


def test_case_G19_a_context_stands_behind_every_example() -> None:
    """An example's own feature wins over the context's."""
    raw = body(example(x=1), example(output=7), context=example(output=3), signature="regress_x_to_y")

    merged = [
        tensor_pb2.Example.FromString(one) for one in plan_regress(half_plus_two(), raw).feeds["tf_example:0"].tolist()
    ]

    assert merged == [example(output=3, x=1), example(output=7)]


@pytest.mark.parametrize("plan", [plan_classify, plan_regress])
def test_a_request_without_model_spec_is_refused(plan) -> None:
    """Nothing can be guessed."""
    with pytest.raises(InvalidArgument, match=r"^Missing ModelSpec$"):
        plan(half_plus_two(), b"")


@pytest.mark.parametrize(
    "raw",
    [
        body(signature="regress_x_to_y"),
        body(context=example(x=1), signature="regress_x_to_y"),
        serving_pb2.RegressionRequest(model_spec=model_spec(signature_name="regress_x_to_y")).SerializeToString(),
    ],
    ids=["empty list", "context only", "no input"],
)
def test_no_examples_are_refused(raw) -> None:
    """A context alone is no example."""
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        plan_regress(half_plus_two(), raw)


def test_case_G7_a_regression_signature_cannot_classify() -> None:
    """Its outputs have other names."""
    with pytest.raises(InvalidArgument, match="Expected classification signature outputs"):
        plan_classify(half_plus_two(), body(example(x=1), signature="regress_x_to_y"))


@pytest.mark.parametrize("plan", [plan_classify, plan_regress])
def test_case_G17_method_names_are_checked_on_demand(plan) -> None:
    """The default signature here is for Predict."""
    model = with_signature(Signature({"inputs": EXAMPLES}, {"outputs": spec("y:0")}))

    with pytest.raises(InvalidArgument, match="signature method_name to be"):
        plan(model, body(example(x=1)), check_method=True)


VALID = body(example(x=1), context=example(y=2), signature="regress_x_to_y")


@given(st.one_of(st.binary(max_size=60), st.integers(0, len(VALID)).map(lambda cut: VALID[:cut])))
def test_any_bytes_are_planned_or_refused(raw) -> None:
    """Random and cut requests never escape as another exception."""
    for plan in (plan_classify, plan_regress):
        with contextlib.suppress(ServingError):
            assert plan(half_plus_two(), raw).fetches


def test_a_context_that_would_become_huge_is_refused() -> None:
    """A request of a megabyte must not take gigabytes."""
    request = serving_pb2.SerializedExamplesRequest(model_spec=model_spec(signature_name="regress_x_to_y"))
    request.input.example_list_with_context.context = bytes(2**20)
    request.input.example_list_with_context.examples.extend([b""] * 257)

    with pytest.raises(InvalidArgument, match="A context of 1048576 bytes is too large for 257 examples"):
        plan_regress(half_plus_two(), request.SerializeToString())
