"""Tests of Regress without a protocol."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.regression import plan_regression
from core.inference.signature import REGRESS_METHOD, ServedModel, Signature
from core.inference.tensor_proto import bytes_array
from tests.support.served_models import EXAMPLES, half_plus_two, spec, with_signature

OUTPUT = spec("y:0")


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_case_G18_one_value_answers_one_example(shape) -> None:
    """A column and a vector are the same answer."""
    plan = plan_regression(half_plus_two(), "regress_x_to_y", [b"1", b"2"])

    values = plan.decode([np.array([3, 4], np.float32).reshape(shape)])

    assert plan.feeds["tf_example:0"].tolist() == [b"1", b"2"]
    assert values == [3, 4]


@pytest.mark.parametrize(
    ("array", "count", "text"),
    [
        pytest.param(
            np.zeros(2, np.float32),
            1,
            "Input batch size did not match output batch size: 1 vs. 2",
            id="case_G20",
        ),
        pytest.param(bytes_array([b"x"]), 1, "Expected output Tensor of DT_FLOAT.  Got: DT_STRING", id="case_G21"),
        pytest.param(
            np.zeros((), np.float32),
            1,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
            id="scalar",
        ),
        pytest.param(
            np.zeros((1, 2), np.float32),
            1,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
            id="two columns",
        ),
        pytest.param(
            np.zeros((1, 1, 1), np.float32),
            1,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,1,1]",
            id="rank 3",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(array, count, text) -> None:
    """The model's mistakes are told, not hidden."""
    plan = plan_regression(half_plus_two(), "regress_x_to_y", [b""] * count)

    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}$"):
        plan.decode([array])


def test_missing_arrays_are_refused() -> None:
    """The runtime broke its promise."""
    with pytest.raises(InvalidArgument, match=re.escape("Expected 1 output tensor(s).  Got: 0")):
        plan_regression(half_plus_two(), "regress_x_to_y", [b"1"]).decode([])


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (Signature({}, {"outputs": OUTPUT}), "Expected one input Tensor."),
        (Signature({"inputs": EXAMPLES}, {}), "Expected one output Tensor."),
        (Signature({"inputs": EXAMPLES}, {"outputs": OUTPUT, "more": OUTPUT}), "Expected one output Tensor."),
        (Signature({"x": EXAMPLES}, {"outputs": OUTPUT}), "No regression inputs found in SignatureDef: inputs {"),
        (Signature({"inputs": EXAMPLES}, {"scores": OUTPUT}), "No regression outputs found in SignatureDef: inputs {"),
    ],
)
def test_a_signature_that_cannot_regress_is_refused(signature, text) -> None:
    """The checks and texts are TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}"):
        plan_regression(with_signature(signature), "", [b"1"])


def test_a_missing_signature_is_named() -> None:
    """An empty key means the default one."""
    with pytest.raises(InvalidArgument, match=r"^No signature was found with the name: serving_default$"):
        plan_regression(ServedModel("m", 1, {}), "", [b"1"])


def test_no_examples_are_refused() -> None:
    """There must be something to answer."""
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        plan_regression(half_plus_two(), "regress_x_to_y", [])


@pytest.mark.parametrize("method", ["", "unsupported"])
def test_case_G17_method_names_matter_only_when_checked(method) -> None:
    """Off by default, because Keras writes one method for everything."""
    model = with_signature(Signature({"inputs": EXAMPLES}, {"outputs": OUTPUT}, method))
    text = f"Expected regression signature method_name to be {REGRESS_METHOD}. Was: {method}"

    assert plan_regression(model, "", [b"1"]).fetches == ("y:0",)
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}$"):
        plan_regression(model, "", [b"1"], check_method=True)
