"""Tests of which requests of a warm-up file are replayed."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code, DataLoss, InvalidArgument, ServingError, Unimplemented
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.tf_record import framed
from core.recording.warmup_file import MOST_RECORDS, replayed_calls
from core.routing.transport import Call, Method
from tests.support.prediction_logs import (
    PredictionLog,
    multi_inference_log,
    one_of_each,
    predict_log,
    regress_log,
    serialized,
    session_run_log,
)

PATH = "/models/m/1/assets.extra/tf_serving_warmup_requests"


def calls(records: Sequence[bytes]) -> list[Call | None]:
    return read(b"".join(map(framed, records)))


def read(content: bytes) -> list[Call | None]:
    return list(replayed_calls(io.BytesIO(content), PATH))


def exactly(text: str) -> str:
    return f"^{re.escape(text)}$"


def test_every_kind_of_log_becomes_its_call() -> None:
    """The request of a log is replayed as it was sent."""
    found = calls(serialized(one_of_each()))

    assert [call.method for call in found] == [
        Method.PREDICT,
        Method.CLASSIFY,
        Method.REGRESS,
        Method.MULTI_INFERENCE,
    ]
    request = serving_pb2.PredictRequest.FromString(found[0].body)
    assert request.inputs["x"].float_val == [1.0]


def test_the_request_keeps_its_bytes() -> None:
    """Nothing is parsed and written anew on the way."""
    log = multi_inference_log(1.0, 2.0)

    (call,) = calls(serialized([log]))

    assert call == Call(Method.MULTI_INFERENCE, log.multi_inference_log.request.SerializeToString())


@pytest.mark.parametrize("log", [predict_log(1.0), regress_log(1.0)], ids=["predict", "regress"])
def test_a_request_need_not_name_a_model(log: prediction_log_pb2.PredictionLog) -> None:
    """It runs on the model that is being loaded, so that the model spec may be missing."""
    getattr(log, log.WhichOneof("log_type")).request.ClearField("model_spec")

    (call,) = calls(serialized([log]))

    assert serving_pb2.RequestEnvelope.FromString(call.body).HasField("model_spec")


def test_a_log_without_a_type_is_skipped() -> None:
    """Such records count, but there is nothing to replay."""
    assert calls([b"", PredictionLog(log_metadata={"dc": "aa"}).SerializeToString()]) == [None, None]


def test_an_empty_file_is_fine() -> None:
    """No records, no calls."""
    assert read(b"") == []


def test_case_O3_a_file_of_raw_messages_is_no_tfrecord() -> None:
    """The text says what to look at."""
    with pytest.raises(DataLoss, match=exactly(
        "corrupted record at 0. Please verify your warmup data is in TFRecord format."
    )) as caught:  # fmt: skip
        read(predict_log(1.0).SerializeToString())

    assert caught.value.code is Code.DATA_LOSS


def test_a_torn_file_is_data_loss() -> None:
    """A warm-up file is written whole, so that a torn one is a mistake."""
    with pytest.raises(DataLoss, match=exactly(
        "truncated record at 0. Please verify your warmup data is in TFRecord format."
    )):  # fmt: skip
        read(framed(predict_log(1.0).SerializeToString())[:-1])


@pytest.mark.parametrize("count", [MOST_RECORDS - 1, MOST_RECORDS])
def test_as_many_records_as_allowed_are_replayed(count: int) -> None:
    """The limit itself is fine."""
    assert len(calls([b""] * count)) == count


def test_case_O4_more_records_than_allowed() -> None:
    """The first one too many is still given, then the file is refused."""
    reader = replayed_calls(io.BytesIO(framed(b"") * (MOST_RECORDS + 2)), PATH)
    found = [next(reader) for _ in range(MOST_RECORDS + 1)]

    with pytest.raises(InvalidArgument, match=exactly(
        f"Number of warmup records exceeds the maximum (1000) at {PATH}"
    )):  # fmt: skip
        next(reader)

    assert len(found) == 1001


def test_case_O5_a_malformed_record() -> None:
    """The record and its file are named."""
    with pytest.raises(InvalidArgument, match=exactly(
        f"Failed to parse warmup record: malformed_record from {PATH}"
    )):  # fmt: skip
        calls([b"malformed_record"])


def test_a_request_that_is_no_message_is_a_malformed_record() -> None:
    """What is inside of the log is looked at too."""
    with pytest.raises(InvalidArgument, match="Failed to parse warmup record: "):
        calls([prediction_log_pb2.SerializedPredictionLog(predict_log={"request": b"\xff"}).SerializeToString()])


def test_a_long_malformed_record_is_cut_in_the_text() -> None:
    """The name of the file stays readable, whatever bytes the record holds."""
    with pytest.raises(InvalidArgument) as caught:
        calls([b"\xff" * 100_000])

    assert str(caught.value) == "Failed to parse warmup record: " + r"\xff" * 256 + f"... from {PATH}"


@pytest.mark.parametrize(
    ("log", "number"),
    [
        pytest.param(session_run_log(), 5, id="case_O9"),
        pytest.param(PredictionLog(predict_streamed_log={"request": [{}]}), 7, id="streamed"),
    ],
)
def test_other_logs_are_unsupported(log: prediction_log_pb2.PredictionLog, number: int) -> None:
    """The number of the field is named, as in TensorFlow Serving."""
    with pytest.raises(Unimplemented, match=exactly(f"Unsupported log_type for warmup: {number}")):
        calls(serialized([log]))


def test_a_damaged_response_does_not_matter() -> None:
    """Only requests are replayed."""
    log = prediction_log_pb2.SerializedPredictionLog()
    log.predict_log.request = predict_log(1.0).predict_log.request.SerializeToString()
    log.predict_log.response = b"\xff"

    assert [call.method for call in calls([log.SerializeToString()])] == [Method.PREDICT]


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_arbitrary_records_give_calls_or_an_error_of_the_tree(found: list[bytes]) -> None:
    """Nothing else can come of a warm-up file."""
    try:
        calls(found)
    except ServingError:
        return
