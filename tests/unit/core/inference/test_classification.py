"""Tests of Classify without a protocol."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.classification import plan_classification
from core.inference.dtypes import DataType
from core.inference.signature import CLASSIFY_METHOD, REGRESS_METHOD, ServedModel, Signature
from core.inference.tensor_proto import bytes_array
from tests.support.served_models import EXAMPLES, half_plus_two, spec, with_signature

CLASSES = spec("classes:0", DataType.STRING)
SCORES = spec("scores:0")
BOTH = with_signature(Signature({"inputs": EXAMPLES}, {"classes": CLASSES, "scores": SCORES}, CLASSIFY_METHOD))
ONLY_CLASSES = with_signature(Signature({"inputs": EXAMPLES}, {"classes": CLASSES}, CLASSIFY_METHOD))
LABELS = bytes_array([b"dos", b"uno", b"cuatro", b"tres"]).reshape(2, 2)
NUMBERS = np.array([[2, 1], [4, 3]], np.float32)


def classify(model: ServedModel, *arrays: np.ndarray):
    return plan_classification(model, "", [b"1", b"2"]).decode(arrays)


def test_examples_are_fed_as_they_came() -> None:
    """The model parses them itself."""
    plan = plan_classification(half_plus_two(), "classify_x_to_y", [b"1", b"2"])

    assert plan.feeds["tf_example:0"].tolist() == [b"1", b"2"]
    assert plan.fetches == ("y:0",)


def test_case_G1_labels_and_scores_keep_their_order() -> None:
    """One class per column, one list per example."""
    assert classify(BOTH, LABELS, NUMBERS) == [[(b"dos", 2), (b"uno", 1)], [(b"cuatro", 4), (b"tres", 3)]]


def test_case_G3_classes_alone_have_no_scores() -> None:
    """What the signature does not have stays unset."""
    assert classify(ONLY_CLASSES, LABELS)[0] == [(b"dos", None), (b"uno", None)]


def test_scores_alone_have_no_labels() -> None:
    """The other half."""
    plan = plan_classification(half_plus_two(), "classify_x_to_y", [b"1"])

    assert plan.decode([np.array([[12]], np.float32)]) == [[(None, 12)]]


def test_a_foreign_second_output_is_not_fetched() -> None:
    """Only classes and scores are known."""
    outputs = {"scores": SCORES, "debug": spec("debug:0")}
    plan = plan_classification(with_signature(Signature({"inputs": EXAMPLES}, outputs)), "", [b"1"])

    assert plan.fetches == ("scores:0",)


def test_classes_and_scores_may_be_one_tensor() -> None:
    """An odd model is judged by what it answers."""
    outputs = {"classes": SCORES, "scores": SCORES}
    plan = plan_classification(with_signature(Signature({"inputs": EXAMPLES}, outputs)), "", [b"1", b"2"])

    assert plan.fetches == ("scores:0",)
    with pytest.raises(InvalidArgument, match="Expected classes Tensor of DT_STRING"):
        plan.decode([NUMBERS])


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        pytest.param(Signature({}, {"scores": SCORES}), "Expected one input Tensor.", id="no input"),
        pytest.param(
            Signature({"inputs": EXAMPLES, "more": EXAMPLES}, {"scores": SCORES}),
            "Expected one input Tensor.",
            id="two inputs",
        ),
        pytest.param(Signature({}, {}), "Expected one input Tensor.", id="case_G9"),
        pytest.param(Signature({"inputs": EXAMPLES}, {}), "Expected one or two output Tensors, found 0", id="none"),
        pytest.param(
            Signature({"inputs": EXAMPLES}, {"classes": CLASSES, "scores": SCORES, "more": SCORES}),
            "Expected one or two output Tensors, found 3",
            id="three outputs",
        ),
        pytest.param(
            Signature({"x": EXAMPLES}, {"scores": SCORES}),
            'No classification inputs found in SignatureDef: inputs {\n  key: "x"',
            id="other input",
        ),
        pytest.param(
            Signature({"inputs": EXAMPLES}, {"outputs": SCORES}),
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            'Signature was: inputs {\n  key: "inputs"',
            id="case_G7",
        ),
    ],
)
def test_a_signature_that_cannot_classify_is_refused(signature, text) -> None:
    """The checks and texts are TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}"):
        plan_classification(with_signature(signature), "", [b"1"])


def test_a_missing_signature_is_named() -> None:
    """An empty key means the default one."""
    with pytest.raises(InvalidArgument, match=r"^No signature was found with the name: serving_default$"):
        plan_classification(ServedModel("m", 1, {}), "", [b"1"])


def test_no_examples_are_refused_after_the_signature() -> None:
    """The signature's mistakes come first."""
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        plan_classification(BOTH, "", [])
    with pytest.raises(InvalidArgument, match="No signature was found"):
        plan_classification(BOTH, "other", [])


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        pytest.param(
            (LABELS, np.zeros((2, 2, 10), np.float32)),
            "Expected Tensor shape: [batch_size num_classes] but got [2,2,10]",
            id="case_G8",
        ),
        pytest.param(
            (LABELS[0], NUMBERS), "Expected Tensor shape: [batch_size num_classes] but got [2]", id="classes rank"
        ),
        pytest.param((LABELS[:1], NUMBERS), "Expected classes output batch size of 2. Got: 1", id="case_G12"),
        pytest.param((NUMBERS, NUMBERS), "Expected classes Tensor of DT_STRING. Got: DT_FLOAT", id="case_G13"),
        pytest.param((LABELS, NUMBERS[:1]), "Expected scores output batch size of 2. Got: 1", id="case_G14"),
        pytest.param((LABELS, LABELS), "Expected scores Tensor of DT_FLOAT. Got: DT_STRING", id="case_G15"),
        pytest.param(
            (LABELS, np.zeros((2, 3), np.float32)),
            "Tensors class and score should match in dim_size(1). Got 2 vs. 3",
            id="case_G16",
        ),
        pytest.param((LABELS,), "Expected 2 output tensor(s).  Got: 1", id="too few tensors"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(arrays, text) -> None:
    """The model's mistakes are told, not hidden."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}$"):
        classify(BOTH, *arrays)


@pytest.mark.parametrize("method", ["", "unsupported", REGRESS_METHOD])
def test_case_G17_method_names_matter_only_when_checked(method) -> None:
    """Off by default, because Keras writes one method for everything."""
    model = with_signature(Signature({"inputs": EXAMPLES}, {"scores": SCORES}, method))
    text = f"Expected classification signature method_name to be tensorflow/serving/classify. Was: {method}"

    assert plan_classification(model, "", [b"1"]).fetches
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}$"):
        plan_classification(model, "", [b"1"], check_method=True)


def test_the_right_method_passes_the_check() -> None:
    """The check refuses only what is wrong."""
    assert plan_classification(BOTH, "", [b"1"], check_method=True).fetches == ("classes:0", "scores:0")


def test_no_classes_are_an_answer() -> None:
    """Zero columns give an empty list for each example."""
    plan = plan_classification(half_plus_two(), "classify_x_to_y", [b"1", b"2"])

    assert plan.decode([np.zeros((2, 0), np.float32)]) == [[], []]
