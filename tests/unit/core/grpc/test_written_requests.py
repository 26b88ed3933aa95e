"""Rules of requests that are written for logs."""

from __future__ import annotations

import numpy as np
import pytest

from core.grpc.model_spec import peek
from core.grpc.written_requests import Target, predict_request
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2


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


def test_a_target_names_the_model_and_its_signature() -> None:
    """The router reads back what was meant."""
    asked = peek(predict_request(Target("m", "s"), {}))

    assert (asked.name, asked.version, asked.label, asked.signature) == ("m", None, None, "s")
