"""REST exchanges as the gRPC messages that say the same: what a log would hold had the call come over gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2
from core.recording.rest_as_grpc import classify_messages, predict_messages, regress_messages
from tests.support.served_models import example, half_plus_two, spec, with_signature

ROWS = b'{\n    "predictions": [[3.0], [4.0]\n    ]\n}'
COLUMNS = b'{\n    "outputs": [[3.0], [4.0]]\n}'


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"instances": [[2.0], [4.0]]}', ROWS),
        (b'{"instances": [{"x": [2.0]}, {"x": [4.0]}], "signature_name": ""}', ROWS),
        (b'{"inputs": [[2.0], [4.0]]}', COLUMNS),
        (b'{"inputs": {"x": [[2.0], [4.0]]}}', COLUMNS),
    ],
    ids=["rows", "named rows", "column", "named column"],
)
def test_a_prediction_has_the_tensors_of_body_and_answer(body, answer) -> None:
    """Whatever the form of the two."""
    messages = predict_messages(half_plus_two(), body)

    request = serving_pb2.PredictRequest.FromString(messages.request)
    response = serving_pb2.PredictResponse.FromString(messages.response(answer))
    assert to_array(request.inputs["x"]).tolist() == [[2.0], [4.0]]
    assert to_array(response.outputs["y"]).tolist() == [[3.0], [4.0]]
    assert (request.model_spec.signature_name, response.model_spec.signature_name) == ("", "serving_default")


def test_a_body_of_more_than_256_levels_becomes_neither_a_record_nor_a_warm_up_request() -> None:
    """The rule of the REST API holds where its bodies come from files and logs."""
    deep = b'{"inputs":1,"more":' + b"[" * 256 + b"]" * 256 + b"}"

    with pytest.raises(InvalidArgument, match="nested deeper than 256 levels"):
        predict_messages(half_plus_two(), deep)


def test_the_word_predictions_inside_of_an_answer_does_not_mislead() -> None:
    """Only the first member says which form an answer has."""
    model = with_signature(Signature({"x": spec("x:0")}, {"y": spec("y:0", DataType.STRING)}))

    response = predict_messages(model, b'{"inputs": 1}').response(b'{\n    "outputs": ["\\"predictions\\": 3"]\n}')

    tensor = serving_pb2.PredictResponse.FromString(response).outputs["y"]
    assert to_array(tensor).tolist() == [b'"predictions": 3']


def test_special_floats_of_an_answer_are_read_back() -> None:
    """Their words are those that the server writes."""
    response = predict_messages(half_plus_two(), b'{"inputs": 1}').response(b'{"outputs": [NaN, -Infinity, -0.0]}')

    values = to_array(serving_pb2.PredictResponse.FromString(response).outputs["y"])
    assert np.isnan(values[0])
    assert (values[1], np.signbit(values[2])) == (-np.inf, True)


def test_a_regression_has_examples_and_values() -> None:
    """With the signature that was named."""
    messages = regress_messages(half_plus_two(), b'{"signature_name": "s", "examples": [{"x": 2.0}]}')

    request = serving_pb2.SerializedExamplesRequest.FromString(messages.request)
    response = serving_pb2.RegressionResponse.FromString(messages.response(b'{"results": [3.5]}'))
    assert list(request.input.example_list.examples) == [example(x=2.0).SerializeToString(deterministic=True)]
    assert [one.value for one in response.result.regressions] == [3.5]
    assert (request.model_spec.signature_name, response.model_spec.signature_name) == ("s", "s")


def test_a_classification_has_labels_and_scores() -> None:
    """Classes in the order of the answer."""
    messages = classify_messages(half_plus_two(), b'{"examples": [{"x": 2.0}]}')

    response = serving_pb2.ClassificationResponse.FromString(
        messages.response(b'{"results": [[["a", 0.25], ["", 1]]]}')
    )
    (row,) = response.result.classifications
    assert [(one.label, one.score) for one in row.classes] == [("a", 0.25), ("", 1.0)]


@pytest.mark.parametrize("messages", [predict_messages, classify_messages, regress_messages])
def test_a_body_that_cannot_be_read_raises_what_its_caller_got(messages) -> None:
    """It was answered with the same error."""
    with pytest.raises(InvalidArgument):
        messages(half_plus_two(), b"{}")
