"""Rules of the Python client's messages."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import Code
from core.grpc.client_messages import (
    Target,
    classify_answer,
    examples_request,
    predict_answer,
    predict_request,
    regress_answer,
    status_answer,
)
from core.grpc.model_spec import peek
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from core.versions.lifecycle import State, VersionStatus
from core.versions.status_message import status_response


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        pytest.param([1.0, 2.5], np.float32, [1.0, 2.5], id="Python floats become float32"),
        pytest.param(np.array([1.0]), np.float64, [1.0], id="arrays keep their type"),
        pytest.param([1, 2], np.int64, [1, 2], id="integers"),
        pytest.param(["ä", "b"], object, ["ä".encode(), b"b"], id="texts become bytes"),
        pytest.param([b"x"], object, [b"x"], id="bytes"),
        pytest.param(2.0, np.float32, 2.0, id="scalar"),
    ],
)
def test_plain_values_become_tensors(value: object, dtype: type, expected: object) -> None:
    """What people write in Python arrives in the type that models take."""
    raw = predict_request(Target("m"), {"x": value})

    array = to_array(serving_pb2.PredictRequest.FromString(raw).inputs["x"])
    assert array.dtype == dtype
    assert array.tolist() == expected


def test_a_target_names_version_or_label() -> None:
    """The router reads back what was meant."""
    by_version = peek(predict_request(Target("m", version=3, signature="s"), {}))
    by_label = peek(predict_request(Target("m", label="stable"), {}))

    assert (by_version.version, by_version.label, by_version.signature) == (3, None, "s")
    assert (by_label.version, by_label.label) == (None, "stable")


def test_features_take_the_kind_of_their_values() -> None:
    """Texts, whole numbers and others each have their list."""
    raw = examples_request(Target("m"), [{"a": "t", "b": 3, "c": [1, 2.5], "d": [b"x", "y"]}])

    (example,) = serving_pb2.ClassificationRequest.FromString(raw).input.example_list.examples
    feature = example.features.feature
    assert feature["a"].bytes_list.value == [b"t"]
    assert feature["b"].int64_list.value == [3]
    assert feature["c"].float_list.value == [1.0, 2.5]
    assert feature["d"].bytes_list.value == [b"x", b"y"]


def test_answers_are_read() -> None:
    """Each answer becomes plain values."""
    predict = serving_pb2.PredictResponse()
    predict.outputs["y"].CopyFrom(to_proto(np.array([1.5], np.float32)))
    classify = serving_pb2.ClassificationResponse()
    classify.result.classifications.add().classes.add(label="l", score=0.5)
    regress = serving_pb2.RegressionResponse()
    regress.result.regressions.add(value=2.0)
    status = VersionStatus(3, State.END, Code.NOT_FOUND, "gone")

    assert predict_answer(predict.SerializeToString())["y"].tolist() == [1.5]
    assert classify_answer(classify.SerializeToString()) == [[("l", 0.5)]]
    assert regress_answer(regress.SerializeToString()) == [2.0]
    assert status_answer(status_response((status,))) == [status]
