"""What the Python client can ask: the path and the message of each call."""

from __future__ import annotations

import numpy as np
import pytest

from core.grpc import client_calls
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2

PREDICTION = "/tensorflow.serving.PredictionService/"


def test_predict_sends_arrays_and_the_wanted_outputs() -> None:
    """Values become arrays of the types that numpy gives them."""
    call = client_calls.predict("m", {"x": np.array([1.5], np.float32)}, outputs=["y"], version=3, timeout_s=2.0)

    request = serving_pb2.PredictRequest.FromString(call.body)
    assert (call.path, call.timeout_s) == (f"{PREDICTION}Predict", 2.0)
    assert (request.model_spec.name, request.model_spec.version.value) == ("m", 3)
    assert to_array(request.inputs["x"]).tolist() == [1.5]
    assert list(request.output_filter) == ["y"]


@pytest.mark.parametrize("call", [client_calls.classify, client_calls.regress])
def test_examples_are_sent_with_label_and_signature(call) -> None:
    """Both methods send the same message."""
    made = call("m", [{"x": 1.5}, {"x": 2.5}], label="stable", signature="s")

    request = serving_pb2.SerializedExamplesRequest.FromString(made.body)
    assert made.path == f"{PREDICTION}{call.__name__.capitalize()}"
    assert (request.model_spec.version_label, request.model_spec.signature_name) == ("stable", "s")
    assert len(request.input.example_list.examples) == 2


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (client_calls.status, "/tensorflow.serving.ModelService/GetModelStatus"),
        (client_calls.metadata, f"{PREDICTION}GetModelMetadata"),
    ],
)
def test_a_question_names_the_model(call, path) -> None:
    """One version, or all of them."""
    made = call("m", version=3)

    request = serving_pb2.RequestEnvelope.FromString(made.body)
    assert made.path == path
    assert (request.model_spec.name, request.model_spec.version.value) == ("m", 3)


def test_the_answer_is_read_by_the_call_itself() -> None:
    """The blocking client and the one for asyncio do the same with it."""
    response = serving_pb2.PredictResponse()

    assert client_calls.predict("m", {}).read(response.SerializeToString()) == {}
