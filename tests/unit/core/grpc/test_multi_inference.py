"""Tests of MultiInference."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument, ServingError, Unimplemented
from core.grpc import multi_inference as grpc_multi_inference
from core.inference.signature import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, ServedModel, Signature
from core.protos import serving_pb2
from tests.support.served_models import EXAMPLES, answer, example, half_plus_two, spec

REGRESS = ("h2", "regress_x_to_y", REGRESS_METHOD)
REGRESS_2 = ("h2", "regress_x_to_y2", REGRESS_METHOD)
CLASSIFY = ("h2", "classify_x_to_y", CLASSIFY_METHOD)


def body(*tasks: tuple[str, str, str], xs: tuple[float, ...] = (2.0,)) -> bytes:
    request = serving_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        added = request.tasks.add(method_name=method)
        added.model_spec.name = name
        added.model_spec.signature_name = signature
    request.input.example_list.examples.extend(example(x=x) for x in xs)
    return request.SerializeToString()


def results(raw: bytes) -> list[serving_pb2.InferenceResult]:
    return list(serving_pb2.MultiInferenceResponse.FromString(raw).results)


def test_case_I7_two_regressions_are_one_run() -> None:
    """The same examples are fed once; results come in the order of the tasks."""
    plan = grpc_multi_inference.plan_multi_inference(half_plus_two(), body(REGRESS, REGRESS_2))

    first, second = results(answer(plan, {"y:0": np.array([[3.0]], np.float32), "y2:0": np.array([[4.0]], np.float32)}))

    assert list(plan.feeds) == ["tf_example:0"]
    assert plan.fetches == ("y:0", "y2:0")
    assert first.regression_result.regressions[0].value == 3.0
    assert second.regression_result.regressions[0].value == 4.0
    assert (second.model_spec.name, second.model_spec.version.value) == ("h2", 123)
    assert second.model_spec.signature_name == "regress_x_to_y2"


def test_tasks_that_share_an_output_fetch_it_once() -> None:
    """A classification and a regression may read the same tensor."""
    plan = grpc_multi_inference.plan_multi_inference(half_plus_two(), body(CLASSIFY, REGRESS, xs=(1.0, 2.0)))

    first, second = results(answer(plan, {"y:0": np.array([[2.5], [3.0]], np.float32)}))

    assert plan.fetches == ("y:0",)
    assert [row.classes[0].score for row in first.classification_result.classifications] == [2.5, 3.0]
    assert [one.value for one in second.regression_result.regressions] == [2.5, 3.0]
    assert first.WhichOneof("result") == "classification_result"


def test_tasks_with_different_inputs_are_fed_alike() -> None:
    """Every distinct input tensor gets the same examples."""
    signatures = {key: Signature({"inputs": spec(key + ":0")}, {"outputs": spec("y:0")}) for key in ("a", "b")}
    plan = grpc_multi_inference.plan_multi_inference(
        ServedModel("m", 1, signatures), body(("m", "a", REGRESS_METHOD), ("m", "b", REGRESS_METHOD))
    )

    assert set(plan.feeds) == {"a:0", "b:0"}
    assert plan.feeds["a:0"] is plan.feeds["b:0"]


def test_the_tasks_method_decides_the_result_not_the_signatures() -> None:
    """A signature declared for Predict can be regressed."""
    model = ServedModel("m", 1, {"serving_default": Signature({"inputs": EXAMPLES}, {"outputs": spec("y:0")})})
    plan = grpc_multi_inference.plan_multi_inference(model, body(("m", "", REGRESS_METHOD)))

    (only,) = results(answer(plan, {"y:0": np.array([1], np.float32)}))

    assert only.WhichOneof("result") == "regression_result"
    assert only.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        pytest.param((), "ModelSpec has no name specified.", id="case_I9"),
        pytest.param((("", "", REGRESS_METHOD),), "ModelSpec has no name specified.", id="first without name"),
        pytest.param((REGRESS, ("", "", "")), "Found ModelSpec with an empty model name.", id="second without name"),
        pytest.param(
            (REGRESS, ("other", "regress_x_to_y2", REGRESS_METHOD)),
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            id="case_I3",
        ),
        pytest.param((REGRESS, REGRESS), "Duplicate evaluation of signature: regress_x_to_y", id="case_I4"),
        pytest.param(
            (("h2", "nope", REGRESS_METHOD),), "Requested signature not found in model graph: nope", id="missing"
        ),
        pytest.param((("h2", "serving_default", REGRESS_METHOD),), "No regression inputs found", id="unfit"),
        pytest.param((("h2", "serving_default", CLASSIFY_METHOD),), "No classification inputs found", id="unfit too"),
    ],
)
def test_tasks_are_checked_in_order(tasks, text) -> None:
    """The checks and texts are TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}"):
        grpc_multi_inference.plan_multi_inference(half_plus_two(), body(*tasks, xs=()))


def test_case_I5_only_two_methods_can_be_combined() -> None:
    """Predict is not among them."""
    with pytest.raises(Unimplemented, match=rf"^Unsupported signature method_name: {PREDICT_METHOD}$"):
        grpc_multi_inference.plan_multi_inference(half_plus_two(), body(("h2", "serving_default", PREDICT_METHOD)))


def test_no_examples_are_refused_after_the_tasks() -> None:
    """There must be something to answer."""
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        grpc_multi_inference.plan_multi_inference(half_plus_two(), body(REGRESS, xs=()))


@pytest.mark.parametrize("method", [CLASSIFY_METHOD, REGRESS_METHOD])
def test_method_names_of_signatures_are_checked_on_demand(method) -> None:
    """The server's switch reaches every task."""
    tasks = body(("h2", "serving_default", method))

    with pytest.raises(InvalidArgument, match="signature method_name to be"):
        grpc_multi_inference.plan_multi_inference(half_plus_two(), tasks, check_method=True)


def test_missing_arrays_are_refused() -> None:
    """The runtime broke its promise."""
    plan = grpc_multi_inference.plan_multi_inference(half_plus_two(), body(REGRESS))

    with pytest.raises(InvalidArgument, match=re.escape("Expected 1 output tensor(s).  Got: 0")):
        plan.encode([])


VALID = body(REGRESS, CLASSIFY)


@given(st.one_of(st.binary(max_size=60), st.integers(0, len(VALID)).map(lambda cut: VALID[:cut])))
def test_any_bytes_are_planned_or_refused(raw) -> None:
    """Random and cut requests never escape as another exception."""
    with contextlib.suppress(ServingError):
        assert grpc_multi_inference.plan_multi_inference(half_plus_two(), raw).fetches
