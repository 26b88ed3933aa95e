"""Tests of which requests become warm-up requests."""

from __future__ import annotations

import io

import pytest

from core.errors import InvalidArgument
from core.recording.tf_record import framed
from core.recording.warmup_file import replayed_calls
from core.recording.warmup_selection import WarmUpSelection
from core.routing.transport import Call, Method
from tests.support.prediction_logs import (
    PredictionLog,
    one_of_each,
    predict_log,
    predict_request,
    serialized,
    session_run_log,
)
from tests.support.served_models import half_plus_two

JSON = b'{"instances": [[2.0]]}'
PATH = "/requests/a"


def replayed(record: bytes | None) -> Call:
    """Read a record as the load of a version will."""
    assert record is not None
    (call,) = replayed_calls(io.BytesIO(framed(record)), PATH)
    assert call is not None
    return call


@pytest.mark.parametrize("record", serialized(one_of_each()), ids=["predict", "classify", "regress", "multi"])
def test_a_logged_request_is_taken_without_its_answer(record: bytes) -> None:
    """Metadata and response are not needed."""
    log = PredictionLog.FromString(record)
    log.log_metadata.dc = "aa"
    if log.HasField("predict_log"):
        log.predict_log.response.model_spec.name = "h2"

    taken = WarmUpSelection(half_plus_two()).logged(log.SerializeToString(), PATH)

    assert not PredictionLog.FromString(taken).HasField("log_metadata")
    assert replayed(taken) == replayed(record)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"malformed_record", f"Failed to parse warmup record: malformed_record from {PATH}"),
        (session_run_log().SerializeToString(), "Unsupported log_type for warmup: 5"),
        (predict_log(1.0, signature="gone").SerializeToString(), 'Serving signature key "gone" not found.'),
    ],
    ids=["malformed", "unsupported", "signature"],
)
def test_what_would_fail_the_load_is_left_out_of_a_log(record: bytes, reason: str) -> None:
    """One reason is kept for the operator."""
    selection = WarmUpSelection(half_plus_two())

    assert selection.logged(record, PATH) is None
    assert selection.logged(b"other", PATH) is None
    assert (selection.taken, selection.left_out.unfit, selection.left_out.example) == (0, 2, reason)


def test_a_record_without_a_request_is_passed_over() -> None:
    """It would do no harm, nor any good."""
    selection = WarmUpSelection()

    assert selection.logged(b"", PATH) is None
    assert (selection.taken, selection.left_out.unfit) == (0, 0)


def test_without_a_model_requests_are_taken_as_they_are() -> None:
    """Whether they fit is found out by the load."""
    assert WarmUpSelection().logged(predict_log(1.0, signature="gone").SerializeToString(), PATH) is not None


def test_it_is_full_at_the_limit() -> None:
    """Requests that were left out do not count."""
    selection = WarmUpSelection(limit=2)
    for record in (b"bad", *serialized([predict_log(1.0)] * 2)):
        assert not selection.is_full
        selection.logged(record, PATH)

    assert selection.is_full


def test_repetitions_are_taken_unless_they_are_not_wanted() -> None:
    """A request is the same when its method and its bytes are."""
    logs = serialized([predict_log(1.0), predict_log(1.0), predict_log(2.0)])
    every, once = WarmUpSelection(), WarmUpSelection(without_repetitions=True)
    for record in logs:
        every.logged(record, PATH)
        once.logged(record, PATH)

    assert (every.taken, every.left_out.repeated) == (3, 0)
    assert (once.taken, once.left_out.repeated) == (2, 1)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (Method.PREDICT, JSON),
        (Method.PREDICT, b' \t{"inputs": {"x": [[2.0]]}}'),
        (Method.CLASSIFY, b'{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}'),
        (Method.REGRESS, b'{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}'),
        (Method.PREDICT, predict_request(2.0).SerializeToString()),
        (Method.PREDICT, predict_request(2.0, name="h" * 121).SerializeToString()),
    ],
)
def test_a_given_request_is_json_or_a_message(method: Method, body: bytes) -> None:
    """Which one is seen by its first byte."""
    call = replayed(WarmUpSelection(half_plus_two()).given(method, body, PATH))

    assert call.method is method


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        (Method.PREDICT, b"", "The file is empty."),
        (Method.PREDICT, b"{", "JSON Parse error"),
        (Method.PREDICT, b"\xff", "The request is not a valid PredictRequest message."),
        (Method.PREDICT, b'{"signature_name": "gone", "instances": [1]}', 'Serving signature name: "gone" not found'),
        (Method.PREDICT, predict_request(1.0, signature="gone").SerializeToString(), 'key "gone" not found.'),
        (Method.MULTI_INFERENCE, b"{}", "This method has no JSON form."),
    ],
)
def test_a_given_request_that_does_not_fit_is_a_mistake(method: Method, body: bytes, text: str) -> None:
    """The file is named, and why it cannot be used."""
    with pytest.raises(InvalidArgument) as caught:
        WarmUpSelection(half_plus_two()).given(method, body, PATH)

    assert str(caught.value).startswith(f"{PATH}: ")
    assert text in str(caught.value)


def test_json_needs_the_model() -> None:
    """Only a signature tells what the numbers are."""
    with pytest.raises(InvalidArgument, match="JSON can only be read with the model's signature"):
        WarmUpSelection().given(Method.PREDICT, JSON, PATH)


def test_a_given_repetition_is_left_out_too() -> None:
    """JSON and message of the same request are equal when their messages are."""
    selection = WarmUpSelection(half_plus_two(), without_repetitions=True)

    assert selection.given(Method.PREDICT, JSON, PATH) is not None
    assert selection.given(Method.PREDICT, b'{"inputs": [[2.0]]}', PATH) is None
