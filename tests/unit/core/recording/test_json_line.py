"""Tests of the lines of JSON that a request log may consist of."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model_config import LoggingConfig
from core.errors import InvalidArgument
from core.inference.tensor_proto import bytes_array, to_proto
from core.protos import prediction_log_pb2
from core.recording.json_line import json_line
from core.recording.prediction_log import Exchange, LogOrigin, prediction_log
from core.routing.transport import Method
from tests.support.prediction_logs import (
    PredictionLog,
    classify_log,
    multi_inference_log,
    one_of_each,
    predict_log,
    predict_request,
    regress_log,
    serialized,
)
from tests.support.served_models import example, half_plus_two


def shown(log: prediction_log_pb2.PredictionLog) -> dict:
    """Read the line of a log, as strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    line = json_line(log.SerializeToString())
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line, parse_constant=refuse)


def value(array: np.ndarray) -> object:
    """Show one input."""
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(to_proto(array))
    return shown(log)["request"]["inputs"]["x"]


def test_a_line_tells_what_was_asked_and_answered() -> None:
    """All of it is readable."""
    config = LoggingConfig("json_lines", "/logs/h2", 0.5)
    response = predict_log(1.0).predict_log.response
    response.outputs["y"].CopyFrom(to_proto(np.array([[0.1]], np.float32)))
    exchange = Exchange(
        Method.PREDICT, predict_request(2.0).SerializeToString(), response.SerializeToString(), 1_700_000_000.5
    )

    line = json.loads(json_line(prediction_log(half_plus_two(), exchange, LogOrigin(config, dc="aa"))))

    assert line == {
        "time": "2023-11-14T22:13:20Z",
        "model": "h2",
        "version": 123,
        "signature": "serving_default",
        "sampling_rate": 0.5,
        "dc": "aa",
        "method": "predict",
        "request": {"inputs": {"x": [[2.0]]}, "output_filter": []},
        "response": {"outputs": {"y": [[0.1]]}},
    }


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(1.5, np.float32), 1.5),
        (np.array([[1 / 3]], np.float32), [[0.33333334]]),
        (np.array([0.1], np.float64), [0.1]),
        (np.array([np.nan, np.inf, -np.inf, 0.1], np.float32), ["NaN", "Infinity", "-Infinity", 0.1]),
        (np.array(np.nan, np.float32), "NaN"),
        (np.array([2**64 - 1], np.uint64), [2**64 - 1]),
        (np.array([-(2**63)], np.int64), [-(2**63)]),
        (np.array([True, False]), [True, False]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([0.5, np.nan], ml_dtypes.bfloat16), [0.5, "NaN"]),
        (np.array([0.5], ml_dtypes.float8_e5m2), [0.5]),
        (np.array([1 + 2j], np.complex64), [[1.0, 2.0]]),
        (np.array(1 + 2j, np.complex128), [1.0, 2.0]),
        (np.zeros((0, 2), np.float32), []),
        (np.zeros((2, 0), np.float32), [[], []]),
        (bytes_array(["pä\n".encode(), b"\xff", b""]), ["pä\n", {"b64": "/w=="}, ""]),
        (np.array(b"NaN", object), "NaN"),
    ],
    ids=lambda one: str(one)[:20],
)
def test_values_are_readable(array: np.ndarray, expected: object) -> None:
    """Numbers keep their digits, bytes are texts where they can be, and every line is strict JSON."""
    assert value(array) == expected


def test_examples_are_readable() -> None:
    """Features of every kind, and the results."""
    log = classify_log(0.1)
    features = log.classify_log.request.input.example_list.examples[0].features.feature
    features["i"].int64_list.value.append(-3)
    features["b"].bytes_list.value.extend([b"text", b"\xff"])
    features["none"].SetInParent()
    features["empty"].float_list.SetInParent()
    row = log.classify_log.response.result.classifications.add()
    row.classes.add(label="low", score=0.1)

    line = shown(log)

    assert line["method"] == "classify"
    assert line["request"] == {
        "examples": [{"b": ["text", {"b64": "/w=="}], "empty": [], "i": [-3], "none": [], "x": [0.1]}]
    }
    assert line["response"] == {"results": [[{"label": "low", "score": 0.1}]]}


def test_a_context_is_shown() -> None:
    """It stands beside the examples."""
    log = regress_log(signature="own")
    listed = log.regress_log.request.input.example_list_with_context
    listed.context.CopyFrom(example(z=1.0))
    listed.examples.add().CopyFrom(example(x=2.0))
    log.regress_log.response.result.regressions.add(value=0.1)

    line = shown(log)

    assert line["request"] == {"context": {"z": [1.0]}, "examples": [{"x": [2.0]}]}
    assert line["response"] == {"results": [0.1]}


def test_several_inferences_are_shown() -> None:
    """Tasks and results stand in the same order."""
    log = multi_inference_log(2.0)
    results = log.multi_inference_log.response.results
    results.add(regression_result={"regressions": [{"value": 3.0}]}).model_spec.signature_name = "r"
    results.add(classification_result={"classifications": [{"classes": [{"score": 1.0}]}]})

    line = shown(log)

    assert [task["signature"] for task in line["request"]["tasks"]] == ["regress_x_to_y", "classify_x_to_y"]
    assert line["response"]["results"] == [
        {"signature": "r", "results": [3.0]},
        {"signature": "", "results": [[{"label": "", "score": 1.0}]]},
    ]


def test_a_session_run_is_shown() -> None:
    """Tensors go by the names that were used."""
    log = PredictionLog()
    request = log.session_run_log.request
    request.feed.add(name="x:0").tensor.CopyFrom(to_proto(np.array([1.0], np.float32)))
    request.fetch.append("y:0")
    log.session_run_log.response.tensor.add(name="y:0").tensor.CopyFrom(to_proto(np.array([2.5], np.float32)))

    line = shown(log)

    assert line["request"] == {"feeds": {"x:0": [1.0]}, "fetches": ["y:0"]}
    assert line["response"] == {"tensors": {"y:0": [2.5]}}


@pytest.mark.parametrize("log", one_of_each(), ids=lambda log: log.WhichOneof("log_type"))
def test_every_kind_is_shown(log: prediction_log_pb2.PredictionLog) -> None:
    """An answer may be missing."""
    assert shown(log)["response"] is not None


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"\xff", "not a valid PredictionLog message"),
        (b"", "Records with nothing in them cannot be shown"),
        (PredictionLog(predict_streamed_log={}).SerializeToString(), "predict_streamed_log in them cannot be shown"),
        (PredictionLog(predict_log={"request": {"inputs": {"x": {}}}}).SerializeToString(), "no usable dtype"),
    ],
)
def test_what_cannot_be_shown_is_an_error(record: bytes, text: str) -> None:
    """A line is whole, or there is none."""
    with pytest.raises(InvalidArgument, match=text):
        json_line(record)


@given(st.binary(max_size=100))
def test_any_record_gives_a_line_or_an_error(record: bytes) -> None:
    """Nothing else can come of it."""
    try:
        json.loads(json_line(record))
    except InvalidArgument:
        return


@pytest.mark.parametrize("seconds", [-(2**63), -1, 2**63 - 1])
def test_no_time_is_too_far_away(seconds: int) -> None:
    """A damaged clock spoils no log."""
    log = predict_log(1.0)
    log.log_metadata.timestamp_secs = seconds

    assert shown(log)["time"].endswith("Z")


def test_every_record_is_one_line() -> None:
    """Line breaks of values are escaped."""
    lines = b"".join(json_line(record) for record in serialized(one_of_each()))

    assert len(lines.splitlines()) == 4
