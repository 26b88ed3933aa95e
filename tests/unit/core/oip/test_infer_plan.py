"""Tests of the plan of a request: what is checked against the signature, and what an answer is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.errors import InvalidArgument, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec
from core.oip.datatypes import datatype_of
from core.oip.infer_plan import InferAnswer, plan_infer
from core.oip.infer_request import InferRequest, InputTensor, RequestedOutput
from tests.support.oip_bodies import identity
from tests.support.served_models import spec, with_signature

FLOAT, INT32 = DataType.FLOAT, DataType.INT32
ONE = np.ones(1, np.float32)
X = (InputTensor("x", ONE),)
OUTPUTS = {"b": spec("one:0"), "a": spec("two:0"), "c": spec("one:0")}
THREE = with_signature(Signature({"x": spec("x:0", shape=(-1,))}, OUTPUTS))


def refusal(request: InferRequest, model=THREE) -> str:
    with pytest.raises(InvalidArgument) as caught:
        plan_infer(model, request, lambda _: b"")
    return str(caught.value)


def answer(request: InferRequest, model=THREE, **tensors: np.ndarray) -> InferAnswer:
    """Return what the writer of the answer gets."""
    written: list[InferAnswer] = []

    def write(given: InferAnswer) -> bytes:
        written.append(given)
        return b"body"

    plan = plan_infer(model, request, write)
    assert plan.answer([tensors[name.removesuffix(":0")] for name in plan.fetches]) == b"body"
    return written[0]


def test_inputs_go_to_the_tensors_of_the_graph() -> None:
    """By their names in the signature."""
    plan = plan_infer(THREE, InferRequest(X), lambda _: b"")

    assert plan.feeds == {"x:0": ONE}
    assert plan.signature == "serving_default"


def test_d_all_outputs_are_sorted_by_name() -> None:
    """Each tensor is fetched once, however many outputs it is."""
    plan = plan_infer(THREE, InferRequest(X), lambda _: b"")
    given = answer(InferRequest(X), one=ONE, two=2 * ONE)

    assert plan.fetches == ("two:0", "one:0")
    assert [(one.name, one.array.item()) for one in given.outputs] == [("a", 2), ("b", 1), ("c", 1)]
    assert (given.model_name, given.model_version, given.id) == ("m", "1", None)


def test_d_requested_outputs_keep_their_order_and_their_form() -> None:
    """The others are not fetched."""
    given = answer(InferRequest(X, (RequestedOutput("c", is_binary=True), RequestedOutput("b"))), one=ONE)

    assert [(one.name, one.is_binary) for one in given.outputs] == [("c", True), ("b", None)]


def test_e_the_id_is_carried_to_the_answer() -> None:
    """Also an empty one, which is not the same as none over REST."""
    assert answer(InferRequest(X, id=""), one=ONE, two=ONE).id == ""


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(
            InferRequest(X, (RequestedOutput("d"),)), "unexpected inference output 'd'; outputs: a, b, c", id="output"
        ),
        pytest.param(
            InferRequest(X, (RequestedOutput("a"), RequestedOutput("a"))),
            "output 'a' is requested more than once",
            id="twice",
        ),
        pytest.param(InferRequest((*X, *X)), "input 'x' is given more than once for model 'm'", id="input twice"),
        pytest.param(
            InferRequest((*X, InputTensor("z", ONE))),
            "unexpected inference input 'z' for model 'm'",
            id="unknown input",
        ),
        pytest.param(
            InferRequest(()), "expected 1 inputs but got 0 inputs for model 'm'; input 'x' is missing", id="no input"
        ),
        pytest.param(
            InferRequest((InputTensor("x", ONE.astype(np.float64)),)),
            "inference input 'x' data-type is FP64, but model 'm' expects FP32",
            id="datatype",
        ),
        pytest.param(
            InferRequest((InputTensor("x", np.ones((1, 1), np.float32)),)),
            "unexpected shape for input 'x' for model 'm'. Expected [-1], got [1,1]",
            id="rank",
        ),
    ],
)
def test_d_what_does_not_fit_the_signature_is_refused(request_: InferRequest, words: str) -> None:
    """In the words of Triton, with the names."""
    assert refusal(request_) == words


def test_a_static_batch_dimension_holds() -> None:
    """Some exporters fix it; the text shows what would have been right."""
    model = identity(FLOAT, (2, -1))
    plan_infer(model, InferRequest((InputTensor("x", np.ones((2, 7), np.float32)),)), lambda _: b"")

    words = refusal(InferRequest((InputTensor("x", np.ones((1, 7), np.float32)),)), model)
    assert words == "unexpected shape for input 'x' for model 'm'. Expected [2,-1], got [1,7]"


@pytest.mark.parametrize("shape", [(), (1,), (2, 0, 3)])
def test_an_unknown_rank_takes_every_shape(shape: tuple[int, ...]) -> None:
    """The protocol has no form for it, the model has."""
    array = np.ones(shape, np.float32)

    assert plan_infer(identity(), InferRequest((InputTensor("x", array),)), lambda _: b"").feeds["x:0"] is array


def test_m_inputs_with_defaults_may_be_left_out() -> None:
    """As over TensorFlow Serving's API; a given one is taken."""
    inputs = {"x": spec("x:0", shape=(-1,)), "k": spec("k:0", INT32, ())}
    default, given = np.array(5, np.int32), np.array(7, np.int32)
    model = with_signature(Signature(inputs, {"y": spec("y:0")}, defaults={"k": default}))

    assert plan_infer(model, InferRequest(X), lambda _: b"").feeds == {"x:0": ONE, "k:0": default}
    assert plan_infer(model, InferRequest((*X, InputTensor("k", given))), lambda _: b"").feeds["k:0"] is given
    assert "input 'x' is missing" in refusal(InferRequest((InputTensor("k", given),)), model)


def test_m_a_signature_is_asked_for_by_a_parameter() -> None:
    """An empty name is that of the default one."""
    model = with_signature(Signature({"x": spec("x:0", shape=(-1,))}, OUTPUTS), "other")

    assert (
        plan_infer(model, InferRequest(X, parameters={"signature_name": "other"}), lambda _: b"").signature == "other"
    )
    assert refusal(InferRequest(X), model) == "model 'm' has no signature 'serving_default'"
    assert refusal(InferRequest(X, parameters={"signature_name": "none"})) == "model 'm' has no signature 'none'"
    assert (
        plan_infer(THREE, InferRequest(X, parameters={"signature_name": ""}), lambda _: b"").signature
        == "serving_default"
    )
    assert (
        refusal(InferRequest(X, parameters={"signature_name": True})) == "parameter 'signature_name' must be a string"
    )


@pytest.mark.parametrize(
    ("sent", "timeout_s"), [(1_500_000, 1.5), (1.0, 1e-6), (0, None), (None, None), (2**63, 2**63 / 1e6)]
)
def test_a_request_gives_itself_microseconds(sent: object, timeout_s: float | None) -> None:
    """Zero is no deadline, as for Triton."""
    parameters = {} if sent is None else {"timeout": sent}

    assert plan_infer(THREE, InferRequest(X, parameters=parameters), lambda _: b"").timeout_s == timeout_s


@pytest.mark.parametrize("sent", ["1", True, -1, math.nan, math.inf])
def test_a_timeout_is_a_number(sent: object) -> None:
    """From zero."""
    assert (
        refusal(InferRequest(X, parameters={"timeout": sent})) == "parameter 'timeout' must be a number of microseconds"
    )


def test_sequences_are_refused_over_both_protocols() -> None:
    """The planner sees the parameters of both."""
    assert "sequences are not supported" in refusal(InferRequest(X, parameters={"sequence_id": 1}))


@pytest.mark.parametrize("kind", [DataType.COMPLEX64, DataType.FLOAT8_E5M2])
def test_types_that_the_protocol_does_not_have_are_refused(kind: DataType) -> None:
    """With the tensor, and what serves it; before the model is run, which may change its state."""
    words = (
        f"has type DT_{kind.name}, which this protocol does not have; TensorFlow Serving's API (/v1, PredictionService)"
    )

    assert f"input 'x' of model 'm' {words}" in refusal(InferRequest(X), identity(kind))
    model = with_signature(Signature({"x": spec("x:0", shape=(-1,))}, {"y": spec("y:0", kind)}))
    assert f"output 'y' {words}" in refusal(InferRequest(X), model)


def test_quantized_tensors_are_integers() -> None:
    """In both directions."""
    array = np.array([1], np.uint8)
    given = answer(InferRequest((InputTensor("x", array),)), identity(DataType.QUINT8), x=array)

    assert given.outputs[0].datatype == datatype_of(DataType.QUINT8) == "UINT8"


def test_a_signature_whose_tensors_cannot_be_sent_is_refused_as_elsewhere() -> None:
    """Sparse tensors are several."""
    inputs = {"x": TensorSpec("", FLOAT, None, "sparse")}
    model = with_signature(Signature(inputs, {"y": spec("y:0")}, is_carried=False))

    with pytest.raises(RuntimeFailure, match="is a sparse tensor"):
        plan_infer(model, InferRequest(X), lambda _: b"")
