"""Tests of Predict over gRPC."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code, FailedPrecondition, Internal, InvalidArgument, ServingError
from core.grpc import predict as grpc_predict
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature
from core.inference.tensor_proto import bytes_array, to_array, to_proto
from core.protos import serving_pb2
from tests.support.served_models import answer, half_plus_two, model_spec, spec, with_signature

X = np.array([[1.0], [2.0]], np.float32)
TWO_OUTPUTS = with_signature(Signature({"x": spec("x:0")}, {"y": spec("y:0"), "z": spec("z:0"), "same": spec("y:0")}))
SCALAR = np.array(2.0, np.float32)
WITH_DEFAULT = with_signature(
    Signature(
        {"x": spec("x:0"), "scale": spec("scale:0", shape=())},
        {"y": spec("y:0")},
        defaults=MappingProxyType({"scale": SCALAR}),
    )
)


def body(inputs=None, signature: str = "", outputs=()) -> bytes:
    request = serving_pb2.PredictRequest(model_spec=model_spec(signature_name=signature), output_filter=outputs)
    for name, array in (inputs or {}).items():
        request.inputs[name].CopyFrom(to_proto(array))
    return request.SerializeToString()


def response(raw: bytes) -> tuple[dict[str, np.ndarray], serving_pb2.ModelSpec]:
    parsed = serving_pb2.PredictResponse.FromString(raw)
    return {name: to_array(value) for name, value in parsed.outputs.items()}, parsed.model_spec


def exactly(text: str) -> str:
    return f"^{re.escape(text)}$"


def test_a_prediction_feeds_inputs_and_returns_outputs() -> None:
    """Aliases become tensors of the graph and back; the answer names the version and signature used."""
    plan = grpc_predict.plan_predict(half_plus_two(), body({"x": X}))

    outputs, used = response(answer(plan, {"y:0": X * 0.5 + 2}))

    assert plan.fetches == ("y:0",)
    np.testing.assert_array_equal(plan.feeds["x:0"], X)
    np.testing.assert_array_equal(outputs["y"], [[2.5], [3.0]])
    assert (used.name, used.version.value, used.signature_name) == ("h2", 123, "serving_default")
    assert used.WhichOneof("version_choice") == "version"


def test_a_request_without_model_spec_is_refused() -> None:
    """Nothing can be guessed."""
    with pytest.raises(InvalidArgument, match=exactly("Missing ModelSpec")):
        grpc_predict.plan_predict(half_plus_two(), b"")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        pytest.param(
            {},
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
            id="case_F3",
        ),
        pytest.param(
            {"unknown_key2": X, "unknown_key1": X},
            "input size does not match signature: 2!=1 len({unknown_key1,unknown_key2}) != len({x}). "
            "Sent extra: {unknown_key1,unknown_key2}. Missing but required: {x}.",
            id="case_F4",
        ),
        pytest.param(
            {"key": X},
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {key}, or default input alias set: ",
            id="case_F5",
        ),
    ],
)
def test_inputs_must_be_those_of_the_signature(inputs, text) -> None:
    """The text tells what was sent and what is missing."""
    with pytest.raises(InvalidArgument, match=exactly(text)):
        grpc_predict.plan_predict(half_plus_two(), body(inputs))


def test_case_F9_only_the_filtered_output_is_fetched() -> None:
    """An output filter saves the work for the rest."""
    plan = grpc_predict.plan_predict(TWO_OUTPUTS, body({"x": X}, outputs=["z"]))

    outputs, _ = response(answer(plan, {"z:0": X}))

    assert plan.fetches == ("z:0",)
    assert list(outputs) == ["z"]


def test_case_F10_an_output_is_filtered_once() -> None:
    """A repeated name is a mistake."""
    with pytest.raises(InvalidArgument, match=exactly("duplicate output tensor alias: y")):
        grpc_predict.plan_predict(half_plus_two(), body({"x": X}, outputs=["y", "y"]))


def test_an_unknown_output_is_refused() -> None:
    """The text lists what there is."""
    text = "output tensor alias not found in signature: w Outputs expected to be in the set {same,y,z}."

    with pytest.raises(InvalidArgument, match=exactly(text)):
        grpc_predict.plan_predict(TWO_OUTPUTS, body({"x": X}, outputs=["w"]))


def test_inputs_are_checked_before_the_output_filter() -> None:
    """The order of checks is TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match="input size does not match"):
        grpc_predict.plan_predict(half_plus_two(), body({}, outputs=["w"]))


def test_two_names_of_one_tensor_are_fetched_once() -> None:
    """Fetches have no repetition, the answer has both names."""
    plan = grpc_predict.plan_predict(TWO_OUTPUTS, body({"x": X}))

    outputs, _ = response(answer(plan, {"y:0": X, "z:0": X + 1}))

    assert plan.fetches == ("y:0", "z:0")
    np.testing.assert_array_equal(outputs["same"], outputs["y"])


def test_case_F11_a_model_without_the_signature_is_not_callable() -> None:
    """The default signature may be missing too."""
    with pytest.raises(FailedPrecondition, match=exactly('Serving signature key "serving_default" not found.')):
        grpc_predict.plan_predict(ServedModel("m", 1, {}), body({"x": X}))


@pytest.mark.parametrize(
    ("signature", "output"),
    [
        pytest.param("regress_x2_to_y3", "outputs", id="case_F13"),
        pytest.param("classify_x2_to_y3", "scores", id="case_F14"),
    ],
)
def test_any_signature_can_be_predicted(signature, output) -> None:
    """Signatures for Classify and Regress take the raw tensor."""
    plan = grpc_predict.plan_predict(half_plus_two(), body({"inputs": np.array([[2.0]], np.float32)}, signature))

    outputs, used = response(answer(plan, {"y3:0": plan.feeds["x2:0"] * 0.5 + 3}))

    assert outputs[output] == 4.0
    assert used.signature_name == signature


def test_case_F18_scalars_are_fed_and_returned() -> None:
    """A function of a scalar needs no shape."""
    model = with_signature(Signature({"x": spec("x:0", shape=())}, {"y": spec("y:0", shape=())}))
    plan = grpc_predict.plan_predict(model, body({"x": SCALAR}))

    outputs, _ = response(answer(plan, {"y:0": plan.feeds["x:0"] * 6}))

    assert outputs["y"].shape == ()
    assert outputs["y"] == 12.0


def test_a_default_stands_in_for_a_missing_input() -> None:
    """Inputs with a default may be left out."""
    plan = grpc_predict.plan_predict(WITH_DEFAULT, body({"x": X}))

    assert plan.feeds["scale:0"] is SCALAR


def test_a_sent_input_beats_its_default() -> None:
    """The default is only a default."""
    plan = grpc_predict.plan_predict(WITH_DEFAULT, body({"x": X, "scale": SCALAR + 1}))

    assert plan.feeds["scale:0"] == 3.0


def test_an_input_without_default_is_required() -> None:
    """Other inputs' defaults do not help; the text lists them."""
    text = (
        "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {}, or default input alias set: scale"
    )

    with pytest.raises(InvalidArgument, match=exactly(text)):
        grpc_predict.plan_predict(WITH_DEFAULT, body({}))


def test_a_name_beside_a_default_is_not_ignored() -> None:
    """The right number of inputs does not hide a wrong name."""
    text = "Inputs contains invalid name. Used request inputs: x, request input: other,x"

    with pytest.raises(InvalidArgument, match=exactly(text)):
        grpc_predict.plan_predict(WITH_DEFAULT, body({"x": X, "other": X}))


def test_a_signature_without_inputs_is_called_with_none() -> None:
    """Counters and generators need nothing."""
    model = with_signature(Signature({}, {"output": spec("count:0", shape=())}))

    plan = grpc_predict.plan_predict(model, body({}))

    assert plan.feeds == {}


def test_a_broken_tensor_is_named() -> None:
    """The text tells which input could not be read."""
    request = serving_pb2.PredictRequest(model_spec=model_spec())
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_content = b"abc"

    with pytest.raises(InvalidArgument, match=exactly("tensor parsing error: x")):
        grpc_predict.plan_predict(half_plus_two(), request.SerializeToString())


def test_an_unchecked_method_name_may_be_anything() -> None:
    """Servers check method names on demand only."""
    model = with_signature(Signature({}, {"y": spec("y:0")}, method="odd"))

    assert grpc_predict.plan_predict(model, body({})).fetches == ("y:0",)


def test_a_checked_method_name_must_be_one_of_three() -> None:
    """The text lists them."""
    model = with_signature(Signature({}, {"y": spec("y:0")}, method="odd"))
    text = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: odd"
    )

    with pytest.raises(Internal, match=exactly(text)):
        grpc_predict.plan_predict(model, body({}), check_method=True)


@pytest.mark.parametrize("signature", ["serving_default", "regress_x2_to_y3", "classify_x2_to_y3"])
def test_all_three_methods_can_be_predicted_when_checked(signature) -> None:
    """Predict is a way to call any of them."""
    name = "x" if signature == "serving_default" else "inputs"

    assert grpc_predict.plan_predict(half_plus_two(), body({name: X}, signature), check_method=True).feeds


@pytest.mark.parametrize("as_content", [False, True])
def test_outputs_are_lists_or_content_as_the_operator_chose(as_content) -> None:
    """The two encodings differ on the wire only."""
    plan = grpc_predict.plan_predict(half_plus_two(), body({"x": X}), as_content=as_content)
    written = serving_pb2.PredictResponse.FromString(answer(plan, {"y:0": X})).outputs["y"]

    assert bool(written.tensor_content) is as_content
    assert bool(written.float_val) is not as_content
    np.testing.assert_array_equal(to_array(written), X)


def test_outputs_of_every_kind_share_a_response() -> None:
    """Large, small, textual and quantized outputs stand side by side."""
    outputs = {"a": spec("a:0"), "b": spec("b:0"), "s": spec("s:0", DataType.STRING), "q": spec("q:0", DataType.QINT8)}
    plan = grpc_predict.plan_predict(with_signature(Signature({}, outputs)), body({}))
    tensors = {
        "a:0": np.arange(1000, dtype=np.int64),
        "b:0": np.zeros((0, 3), np.float32),
        "s:0": bytes_array([b"\xff", b""]),
        "q:0": np.array([-1], np.int8),
    }

    parsed = serving_pb2.PredictResponse.FromString(answer(plan, tensors))

    assert parsed.outputs["q"].dtype == DataType.QINT8
    assert {name: to_array(parsed.outputs[name]).tolist() for name in outputs} == {
        name: tensors[f"{name}:0"].tolist() for name in outputs
    }


def test_an_output_that_contradicts_its_signature_is_sent_as_it_is() -> None:
    """The runtime knows better than the declaration."""
    plan = grpc_predict.plan_predict(half_plus_two(), body({"x": X}))

    outputs, _ = response(answer(plan, {"y:0": np.array([1], np.int64)}))

    assert outputs["y"].dtype == np.int64


def test_missing_arrays_are_an_internal_error() -> None:
    """The runtime broke its promise."""
    plan = grpc_predict.plan_predict(half_plus_two(), body({"x": X}))

    with pytest.raises(ServingError, match=exactly("Predict internal error")) as raised:
        plan.encode([])

    assert raised.value.code is Code.UNKNOWN


VALID = body({"x": X}, outputs=["y"])


@given(st.one_of(st.binary(max_size=60), st.integers(0, len(VALID)).map(lambda cut: VALID[:cut])))
def test_any_bytes_are_planned_or_refused(raw) -> None:
    """Random and cut requests never escape as another exception."""
    for model in (half_plus_two(), WITH_DEFAULT):
        try:
            plan = grpc_predict.plan_predict(model, raw)
        except ServingError:
            continue
        assert plan.fetches


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_planned_or_refused(position, value) -> None:
    """A damaged request never escapes as another exception."""
    raw = VALID[:position] + bytes([value]) + VALID[position + 1 :]
    with contextlib.suppress(ServingError):
        assert grpc_predict.plan_predict(half_plus_two(), raw).fetches


def test_only_the_outputs_that_are_asked_for_must_fit_into_an_answer() -> None:
    """A ragged one is refused by its name in the signature, as it has none in the graph."""
    outputs = {"y": spec("y:0"), "words": replace(spec(""), composite="ragged")}
    model = with_signature(Signature({"x": spec("x:0")}, outputs, is_carried=False))

    assert grpc_predict.plan_predict(model, body({"x": X}, outputs=["y"])).fetches == ("y:0",)
    with pytest.raises(ServingError, match=r'^Output "words" of signature "serving_default" is a ragged tensor'):
        grpc_predict.plan_predict(model, body({"x": X}))
