"""Tests of the records of the request log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example as fixed_example
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from core.config.model_config import LoggingConfig, TaskSampling
from core.config.server_settings import AnswerSettings
from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature
from core.inference.tensor_proto import bytes_array, to_array, to_proto
from core.methods import RESPONDERS, planners
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.prediction_log import LOGGED_METHODS, Exchange, LogOrigin, logged_spec, prediction_log
from core.recording.warmup_file import REPLAYED
from core.rest import predict as rest_predict
from core.routing.transport import Method
from core.versions.lifecycle import State, VersionStatus
from core.versions.status_message import status_response
from tests.support.infer_bodies import FORMS
from tests.support.prediction_logs import multi_inference_log, predict_request
from tests.support.served_models import answer, example, half_plus_two, spec, with_signature

CONFIG = LoggingConfig("", "/logs/h2", 0.5, 3, (TaskSampling("aa", 1, 0.25),))
ORIGIN = LogOrigin(CONFIG, frozenset({"serve", "gpu"}), "aa")
AT_S = 1234.9
Y = np.array([[3.0], [4.0]], np.float32)
NAMES = {"y:0": Y, "y2:0": Y + 1}

_INFER = {method: make({"x": np.array([[2.0]], np.float32)}) for method, make in FORMS.values()}


def logged(method: Method, body: bytes, answered: bytes, model: ServedModel | None = None):
    """Log an exchange and read the record."""
    record = prediction_log(model or half_plus_two(), Exchange(method, body, answered, AT_S), ORIGIN)
    return prediction_log_pb2.PredictionLog.FromString(record)


def rest(method: Method, body: bytes, model: ServedModel | None = None, tensors=NAMES):
    """Answer a REST body as the server does, and log it."""
    model = model or half_plus_two()
    plan = planners(AnswerSettings())[method](model, body)
    return logged(method, body, answer(plan, tensors), model)


def predict_response() -> bytes:
    """Answer a Predict."""
    response = serving_pb2.PredictResponse()
    response.outputs["y"].CopyFrom(to_proto(Y))
    return response.SerializeToString()


def test_what_came_over_grpc_is_copied() -> None:
    """Request and response are the client's own bytes."""
    request = predict_request(2.0, 4.0, name="h2").SerializeToString()

    log = logged(Method.PREDICT, bytearray(request), bytearray(predict_response()))

    assert log.WhichOneof("log_type") == "predict_log"
    assert log.predict_log.request.SerializeToString() == request
    assert log.predict_log.response.SerializeToString() == predict_response()


def test_the_metadata_tell_where_and_how_it_was_logged() -> None:
    """Version and signature are those that answered; the time is in whole seconds."""
    metadata = logged(Method.PREDICT, predict_request(2.0).SerializeToString(), predict_response()).log_metadata

    assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("h2", 123)
    assert metadata.model_spec.signature_name == "serving_default"
    assert metadata.sampling_config.sampling_rate == 0.5
    assert metadata.sampling_config.attributes == 3
    assert metadata.sampling_config.per_task_sampling_configs[0].task_index == 1
    assert list(metadata.saved_model_tags) == ["gpu", "serve"]
    assert (metadata.timestamp_secs, metadata.dc) == (1234, "aa")


@pytest.mark.parametrize(
    ("signature", "version", "expected"),
    [
        pytest.param("", 1, ("serving_default", 1), id="case_R11"),
        pytest.param("own", 1, ("own", 1), id="named"),
        pytest.param(None, 1, ("", 1), id="case_R12"),
        pytest.param(None, None, ("", None), id="nothing"),
    ],
)
def test_the_model_spec_of_a_record(signature: str | None, version: int | None, expected: tuple) -> None:
    """An empty signature is the default one; a method that knows none leaves it empty."""
    made = logged_spec("foo", signature, version)

    found = made.version.value if made.HasField("version") else None
    assert (made.name, made.signature_name, found) == ("foo", *expected)


def test_case_R14_a_fine_status_has_no_text() -> None:
    """Code OK, empty message, as GetModelStatus shows it."""
    raw = status_response([VersionStatus(1, State.AVAILABLE)])
    (seen,) = serving_pb2.GetModelStatusResponse.FromString(raw).model_version_status

    assert (serving_pb2.StatusProto.Code.Name(seen.status.error_code), seen.status.error_message) == ("OK", "")


@pytest.mark.parametrize("method", [Method.MULTI_INFERENCE, Method.SESSION_RUN])
def test_methods_without_a_signature_log_none(method: Method) -> None:
    """Their requests name several, or none."""
    body = multi_inference_log(1.0).multi_inference_log.request.SerializeToString()

    log = logged(method, body if method is Method.MULTI_INFERENCE else b"", b"")

    assert log.log_metadata.model_spec.signature_name == ""
    assert log.WhichOneof("log_type") == f"{method.name.lower()}_log"


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[2.0], [4.0]]}',
        b'{"instances": [{"x": [2.0]}, {"x": [4.0]}]}',
        b'{"inputs": [[2.0], [4.0]]}',
        b'{"inputs": {"x": [[2.0], [4.0]]}, "signature_name": "serving_default"}',
    ],
)
def test_a_rest_prediction_is_logged_as_the_same_prediction_over_grpc(body: bytes) -> None:
    """Every form of the body gives the tensors that the model saw, and those that it answered."""
    log = rest(Method.REST_PREDICT, body).predict_log

    np.testing.assert_array_equal(to_array(log.request.inputs["x"]), np.array([[2.0], [4.0]], np.float32))
    np.testing.assert_array_equal(to_array(log.response.outputs["y"]), Y)
    assert log.request.model_spec.name == "h2"
    assert (log.response.model_spec.version.value, log.response.model_spec.signature_name) == (123, "serving_default")


def test_bytes_and_several_outputs_of_rest_are_read_back() -> None:
    """Texts, binary values and rows of several outputs."""
    model = with_signature(
        Signature(
            {"x": spec("x:0", DataType.STRING)},
            {"a": spec("a:0", DataType.STRING), "b_bytes": spec("b:0", DataType.STRING), "n": spec("n:0")},
        )
    )
    tensors = {
        "a:0": bytes_array(["pä".encode(), b'\n"']),
        "b:0": bytes_array([b"\xff\x00", b""]),
        "n:0": np.array([np.nan, -np.inf], np.float32),
    }

    log = rest(Method.REST_PREDICT, b'{"instances": ["s", {"b64": "/w=="}]}', model, tensors).predict_log

    assert to_array(log.request.inputs["x"]).tolist() == [b"s", b"\xff"]
    outputs = {name: to_array(value) for name, value in log.response.outputs.items()}
    assert outputs["a"].tolist() == tensors["a:0"].tolist()
    assert outputs["b_bytes"].tolist() == tensors["b:0"].tolist()
    np.testing.assert_array_equal(outputs["n"], tensors["n:0"])


def test_an_answer_that_cannot_be_read_back_is_left_out() -> None:
    """The request is what matters; a log must not be lost for its answer."""
    log = logged(Method.REST_PREDICT, b'{"instances": [[2.0]]}', b'{"predictions": [["no", "floats"]]}')

    assert to_array(log.predict_log.request.inputs["x"]).tolist() == [[2.0]]
    assert not log.predict_log.response.outputs


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b'{"results": 3}',
        b'{"other": 3}',
        b"\xff",
        b'{"results": [null]}',
        b'{"results": ["a"]}',
        b'{"results": [["a", 1]]}',
        b'{"results": [[["a"]]]}',
        b'{"results": [[["a", "b"]]]}',
        b'{"results": [[[1, 2]]]}',
    ],
)
@pytest.mark.parametrize("method", [Method.REST_CLASSIFY, Method.REST_REGRESS, Method.REST_PREDICT, *_INFER])
def test_no_answer_can_lose_a_request(method: Method, damaged: bytes) -> None:
    """Whatever an answer holds, the request is logged."""
    predicts = method is Method.REST_PREDICT
    body = b'{"instances": [[2.0]]}' if predicts else b'{"examples": [{"x": 2.0}]}'
    body = _INFER.get(method, body)

    log = logged(method, body, damaged)

    assert getattr(log, log.WhichOneof("log_type")).HasField("request")


def test_a_rest_regression_is_logged_as_the_same_over_grpc() -> None:
    """Examples and values."""
    body = b'{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": 4.0}]}'

    log = rest(Method.REST_REGRESS, body)

    assert list(log.regress_log.request.input.example_list.examples) == [example(x=2.0), example(x=4.0)]
    assert [one.value for one in log.regress_log.response.result.regressions] == [3.0, 4.0]
    assert log.log_metadata.model_spec.signature_name == "regress_x_to_y"


def test_a_rest_classification_is_logged_as_the_same_over_grpc() -> None:
    """Labels and scores; the context is inside of every example."""
    both = {"classes": spec("l:0", DataType.STRING), "scores": spec("y:0")}
    model = with_signature(Signature({"inputs": spec("e:0", DataType.STRING)}, both), "c")
    body = b'{"signature_name": "c", "context": {"z": 1.0}, "examples": [{"x": 2.0}]}'
    tensors = {"l:0": np.array([["lö".encode(), b""]], object), "y:0": np.array([[0.25, 0.5]], np.float32)}

    log = rest(Method.REST_CLASSIFY, body, model, tensors).classify_log

    assert list(log.request.input.example_list.examples) == [example(z=1.0, x=2.0)]
    (row,) = log.response.result.classifications
    assert [(one.label, one.score) for one in row.classes] == [("lö", 0.25), ("", 0.5)]


def test_labels_that_are_no_texts_leave_the_answer_out() -> None:
    """No reader of the log could parse them."""
    both = {"classes": spec("l:0", DataType.STRING), "scores": spec("y:0")}
    model = with_signature(Signature({"inputs": spec("e:0", DataType.STRING)}, both))
    tensors = {"l:0": np.array([[b"\xff"]], object), "y:0": np.array([[0.25]], np.float32)}

    log = rest(Method.REST_CLASSIFY, b'{"examples": [{"x": 2.0}]}', model, tensors).classify_log

    assert not log.response.result.classifications
    assert len(log.request.input.example_list.examples) == 1


def test_a_body_that_cannot_be_read_is_an_error() -> None:
    """It was not answered either."""
    with pytest.raises(InvalidArgument):
        logged(Method.REST_PREDICT, b"{", b"")


def test_every_method_that_runs_the_model_is_logged() -> None:
    """Those that only tell what the model is are not."""
    assert set(planners(AnswerSettings())) == LOGGED_METHODS
    assert not LOGGED_METHODS & set(RESPONDERS)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (Method.REST_PREDICT, b'{"instances": [[2.0]]}'),
        (Method.REST_CLASSIFY, b'{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}'),
        (Method.REST_REGRESS, b'{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}'),
    ],
)
def test_what_rest_logged_can_be_replayed(method: Method, body: bytes) -> None:
    """The logged request feeds the model what the body fed it."""
    model = half_plus_two()
    log = rest(method, body, tensors={"y:0": Y[:1]})
    kind = log.WhichOneof("log_type")

    replayed = planners(AnswerSettings())[REPLAYED[kind]](model, getattr(log, kind).request.SerializeToString())

    original = planners(AnswerSettings())[method](model, body)
    assert replayed.fetches == original.fetches
    for name, fed in original.feeds.items():
        np.testing.assert_array_equal(replayed.feeds[name], fed)


@pytest.mark.parametrize("form", FORMS)
def test_an_inference_of_the_open_inference_protocol_is_logged_as_a_prediction(form: str) -> None:
    """The record has the signature that answered, and can be replayed: it feeds the model the same."""
    model = half_plus_two()
    method, make = FORMS[form]
    body = make({"x": np.array([[2.0], [4.0]], np.float32)}, outputs=("y",))

    log = rest(method, body)

    assert log.log_metadata.model_spec.signature_name == "serving_default"
    np.testing.assert_array_equal(to_array(log.predict_log.response.outputs["y"]), Y)
    replayed = planners(AnswerSettings())[Method.PREDICT](model, log.predict_log.request.SerializeToString())
    np.testing.assert_array_equal(replayed.feeds["x:0"], np.array([[2.0], [4.0]], np.float32))
    assert list(log.predict_log.request.output_filter) == ["y"]


@given(st_numpy.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 3)), elements=st.floats(width=32)))
@fixed_example(np.array([[np.nan, np.inf, -np.inf], [-0.0, 2.0**-149, 3.4028235e38]], np.float32))
@fixed_example(np.array([[16777216.0, 0.1, 1e-45]], np.float32))
def test_any_floats_of_a_rest_answer_come_back(outputs: np.ndarray) -> None:
    """No digit is lost on the way through JSON."""
    plan = rest_predict.plan_predict(half_plus_two(), b'{"instances": [[2.0]]}')

    log = logged(Method.REST_PREDICT, b'{"instances": [[2.0]]}', plan.encode([outputs]))

    logged_outputs = to_array(log.predict_log.response.outputs["y"])
    np.testing.assert_array_equal(logged_outputs, outputs)
    numbers = ~np.isnan(outputs)
    assert np.array_equal(np.signbit(logged_outputs)[numbers], np.signbit(outputs)[numbers])
