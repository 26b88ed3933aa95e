"""Exchanges of the Open Inference Protocol as the Predict messages that say the same."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature
from core.inference.tensor_proto import to_array
from core.methods import planners
from core.oip.rest_body import footer
from core.protos import serving_pb2
from core.recording.oip_as_predict import grpc_infer_messages, rest_infer_messages
from core.routing.transport import Method
from tests.support.infer_bodies import FORMS
from tests.support.oip_bodies import forwarded
from tests.support.served_models import answer, half_plus_two, spec, with_signature

X = np.array([[2.0], [4.0]], np.float32)
Y = np.array([[3.0], [np.nan]], np.float32)
TRANSLATED = {Method.OIP_REST_INFER: rest_infer_messages, Method.OIP_INFER: grpc_infer_messages}

every_form = pytest.mark.parametrize("form", FORMS)


def logged(form: str, model: ServedModel, arrays, answered, **chosen):
    """Answer a request as the server does, and translate both."""
    method, make = FORMS[form]
    body = make(arrays, **chosen)
    messages = TRANSLATED[method](model, body)
    response = messages.response(answer(planners(AnswerSettings())[method](model, body), answered))
    return serving_pb2.PredictRequest.FromString(messages.request), serving_pb2.PredictResponse.FromString(response)


@every_form
def test_an_inference_has_the_tensors_of_request_and_answer(form: str) -> None:
    """In whatever form they travelled."""
    request, response = logged(form, half_plus_two(), {"x": X}, {"y:0": Y})

    np.testing.assert_array_equal(to_array(request.inputs["x"]), X)
    np.testing.assert_array_equal(to_array(response.outputs["y"]), Y)
    assert list(request.output_filter) == []


@every_form
def test_the_request_names_model_and_signature_and_the_answer_its_version(form: str) -> None:
    """Without a choice that is the default signature."""
    request, response = logged(form, half_plus_two(), {"x": X}, {"y:0": Y})

    assert (request.model_spec.name, request.model_spec.signature_name) == ("h2", "serving_default")
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (123, "serving_default")


@every_form
def test_requested_outputs_are_the_filter(form: str) -> None:
    """In the requested order."""
    model = with_signature(Signature({"x": spec("x:0")}, {name: spec(f"{name}:0") for name in "abc"}))

    request, response = logged(form, model, {"x": X}, {"c:0": X, "a:0": Y}, outputs=("c", "a"))

    assert list(request.output_filter) == ["c", "a"]
    assert sorted(response.outputs) == ["a", "c"]


@every_form
def test_the_signature_of_the_parameter_is_the_one_of_the_record(form: str) -> None:
    """As a client of Predict would name it."""
    key = "regress_x2_to_y3"

    request, response = logged(form, half_plus_two(), {"inputs": X}, {"y3:0": Y}, parameters={"signature_name": key})

    assert (request.model_spec.signature_name, response.model_spec.signature_name) == (key, key)


@every_form
@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        (DataType.STRING, np.array([b"a", b""], object)),
        (DataType.INT64, np.array([-(2**63), 2**53 + 1])),
        (DataType.BOOL, np.array([True, False])),
        (DataType.QUINT8, np.array([0, 255], np.uint8)),
    ],
    ids=lambda value: value.name if isinstance(value, DataType) else "",
)
def test_tensors_have_the_types_of_the_signature(form: str, dtype: DataType, array: np.ndarray) -> None:
    """A replayed request must be the one that was answered."""
    model = with_signature(Signature({"x": spec("x:0", dtype, (-1,))}, {"y": spec("y:0", dtype, (-1,))}))

    request, response = logged(form, model, {"x": array}, {"y:0": array})

    assert (request.inputs["x"].dtype, response.outputs["y"].dtype) == (dtype, dtype)
    np.testing.assert_array_equal(to_array(request.inputs["x"]), array)
    np.testing.assert_array_equal(to_array(response.outputs["y"]), array)


@pytest.mark.parametrize("form", ["rest binary", "grpc raw"])
def test_tensors_without_a_json_form_are_logged(form: str) -> None:
    """BF16 travels raw only."""
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    model = with_signature(
        Signature({"x": spec("x:0", DataType.BFLOAT16, (-1,))}, {"y": spec("y:0", DataType.BFLOAT16, (-1,))})
    )

    request, response = logged(form, model, {"x": array}, {"y:0": array})

    np.testing.assert_array_equal(to_array(request.inputs["x"]), array)
    np.testing.assert_array_equal(to_array(response.outputs["y"]), array)


@every_form
def test_an_empty_tensor_keeps_its_shape(form: str) -> None:
    """Nothing of it travels but the shape."""
    empty = np.empty((0, 1), np.float32)

    request, response = logged(form, half_plus_two(), {"x": empty}, {"y:0": empty})

    assert to_array(request.inputs["x"]).shape == (0, 1)
    assert to_array(response.outputs["y"]).shape == (0, 1)


def test_a_body_that_is_one_raw_tensor_is_logged() -> None:
    """Without any JSON: the header says that it has none."""
    body = X[:1].tobytes() + footer(0)
    plan = planners(AnswerSettings())[Method.OIP_REST_INFER](half_plus_two(), body)

    messages = rest_infer_messages(half_plus_two(), body)

    (fed,) = plan.feeds.values()
    logged_inputs = serving_pb2.PredictRequest.FromString(messages.request).inputs
    np.testing.assert_array_equal(to_array(logged_inputs["x"]), fed)
    response = messages.response(answer(plan, {"y:0": fed}))
    np.testing.assert_array_equal(to_array(serving_pb2.PredictResponse.FromString(response).outputs["y"]), fed)


def test_the_word_outputs_in_an_id_does_not_mislead() -> None:
    """Its quotes are escaped."""
    body = FORMS["rest json"][1]({"x": X}).replace(b"{", b'{"id": ",\\"outputs\\":[", ', 1)
    plan = planners(AnswerSettings())[Method.OIP_REST_INFER](half_plus_two(), body)

    response = rest_infer_messages(half_plus_two(), body).response(answer(plan, {"y:0": X}))

    np.testing.assert_array_equal(to_array(serving_pb2.PredictResponse.FromString(response).outputs["y"]), X)


@every_form
def test_a_request_that_cannot_be_read_raises_what_its_caller_got(form: str) -> None:
    """It was answered with the same error."""
    method, make = FORMS[form]

    with pytest.raises(InvalidArgument, match="no signature 'gone'"):
        TRANSLATED[method](half_plus_two(), make({"x": X}, parameters={"signature_name": "gone"}))


def test_a_request_without_json_is_logged_like_any_other() -> None:
    """Its input is the model's only one."""
    messages = rest_infer_messages(half_plus_two(), forwarded(b"", X[:1].tobytes()))

    request = serving_pb2.PredictRequest.FromString(messages.request)
    np.testing.assert_array_equal(to_array(request.inputs["x"]), X[:1])
