"""Tests of requests out of lines of JSON: what a log of that format holds is sent again as it came."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from core.errors import InvalidArgument, ServingError
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.inference.tensor_proto import bytes_array, to_array, to_proto
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.json_line import json_line
from core.replay.json_requests import json_request
from core.routing.transport import Method
from tests.support.prediction_logs import classify_log, multi_inference_log, regress_log

VALUES = {
    "f": np.array([[1.5, float("nan"), float("inf"), -float("inf"), -0.0, 1e-30]], np.float32),
    "i": np.array([[-(2**63), 2**63 - 1, 0, 1, 2, 3]], np.int64),
    "u": np.array([2**64 - 1], np.uint64),
    "b": np.array([True, False]),
    "c": np.array([[1 + 2j], [0.5 - 1j]], np.complex64),
    "scalar": np.array(2.5, np.float64),
}


def model(inputs: dict[str, TensorSpec]) -> ServedModel:
    return ServedModel("m", 7, {"serving_default": Signature(inputs, {})})


def logged(arrays: dict[str, np.ndarray], kinds: dict[str, DataType] | None = None) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    log.log_metadata.model_spec.name = "m"
    log.log_metadata.model_spec.signature_name = "serving_default"
    log.predict_log.request.output_filter.append("y")
    for name, array in arrays.items():
        log.predict_log.request.inputs[name].CopyFrom(to_proto(array, (kinds or {}).get(name)))
    return log


def sent_again(log: prediction_log_pb2.PredictionLog, served: ServedModel) -> serving_pb2.PredictRequest:
    call = json_request(json_line(log.SerializeToString()), served)
    assert call.method is Method.PREDICT
    return serving_pb2.PredictRequest.FromString(bytes(call.body))


@pytest.mark.parametrize("kind", [one for one in NUMPY_DTYPE if one is not DataType.STRING])
def test_every_type_of_numbers_comes_back_from_a_line(kind: DataType) -> None:
    """A line has no types; the signature has. The bits are those that came, also of types that JSON does not know."""
    array = np.array([[0, 1, 2], [1, 0, 3]], np.float64).astype(NUMPY_DTYPE[kind])
    served = model({"x": TensorSpec("x:0", kind, (-1, 3))})

    found = sent_again(logged({"x": array}, {"x": kind}), served)

    assert found.inputs["x"].dtype == kind
    assert to_array(found.inputs["x"]).tobytes() == array.tobytes()
    assert list(found.output_filter) == ["y"]
    assert found.model_spec.signature_name == "serving_default"


def test_unusual_values_come_back_from_a_line() -> None:
    """NaN and infinities are texts there, complex numbers pairs."""
    kinds = {"f": DataType.FLOAT, "i": DataType.INT64, "u": DataType.UINT64, "b": DataType.BOOL}
    kinds |= {"c": DataType.COMPLEX64, "scalar": DataType.DOUBLE}
    served = model({name: TensorSpec("t:0", kind, None) for name, kind in kinds.items()})

    found = sent_again(logged(VALUES), served)

    for name, array in VALUES.items():
        np.testing.assert_array_equal(to_array(found.inputs[name]), array)
        assert to_array(found.inputs[name]).dtype == array.dtype


def test_texts_come_back_from_a_line() -> None:
    """Those that are not UTF-8 are base64 there."""
    texts = bytes_array([b"plain", "\u00e4".encode(), b"\xff\x00", b""]).reshape(2, 2)
    served = model({"x": TensorSpec("x:0", DataType.STRING, None)})

    assert to_array(sent_again(logged({"x": texts}), served).inputs["x"]).tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("log", "kind", "message"),
    [
        (classify_log(1.0, 2.5), "classify_log", serving_pb2.ClassificationRequest),
        (regress_log(3.0), "regress_log", serving_pb2.RegressionRequest),
        (multi_inference_log(4.0), "multi_inference_log", serving_pb2.MultiInferenceRequest),
    ],
)
def test_requests_with_examples_come_back_from_a_line(
    log: prediction_log_pb2.PredictionLog, kind: str, message: type
) -> None:
    """Features are whole numbers, others or texts, as they were."""
    request = getattr(log, kind).request
    examples = request.input.example_list.examples
    if kind != "multi_inference_log":
        log.log_metadata.model_spec.signature_name = request.model_spec.signature_name
    examples[0].features.feature["n"].int64_list.value.extend([1, -5])
    examples[0].features.feature["t"].bytes_list.value.extend([b"a", b"\xff"])
    examples[0].features.feature["nan"].float_list.value.extend([1.0, float("inf")])

    found = message.FromString(bytes(json_request(json_line(log.SerializeToString()), model({})).body))

    assert found.input == request.input
    if kind == "multi_inference_log":
        assert [(one.method_name, one.model_spec.signature_name) for one in found.tasks] == [
            (one.method_name, one.model_spec.signature_name) for one in request.tasks
        ]
    else:
        assert found.model_spec.signature_name == request.model_spec.signature_name


def test_the_context_of_examples_comes_back_from_a_line() -> None:
    """It belongs to each of them."""
    log = classify_log(1.0)
    given = log.classify_log.request.input
    example = given.example_list.examples[0]
    with_context = serving_pb2.Input()
    with_context.example_list_with_context.examples.append(example)
    with_context.example_list_with_context.context.features.feature["c"].int64_list.value.append(7)
    given.CopyFrom(with_context)

    found = serving_pb2.ClassificationRequest.FromString(
        bytes(json_request(json_line(log.SerializeToString()), model({})).body)
    )

    assert found.input == with_context


def test_a_body_of_rest_predict_is_a_request_too() -> None:
    """People have files of such lines, and a body has no method."""
    served = model({"x": TensorSpec("x:0", DataType.FLOAT, (-1, 2))})

    call = json_request(b'{"instances": [[1, 2], [3, 4]]}', served)

    found = serving_pb2.PredictRequest.FromString(bytes(call.body))
    assert to_array(found.inputs["x"]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def line(**members: object) -> bytes:
    return json.dumps(
        {"method": "predict", "signature": "", "request": {"inputs": {}, "output_filter": []}} | members
    ).encode()


def inputs(values: object) -> bytes:
    return line(request={"inputs": {"x": values}, "output_filter": []})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"[1]", "not an object"),
        (b'{"a": 1}', "neither a method"),
        (line(method="session_run"), "'session_run' are not replayed"),
        (line(method=7), "7 are not replayed"),
        (line(method=["predict"]), "not replayed"),
        (line(signature="gone"), 'no signature "gone"'),
        (line(request=None), "not a line of a request log"),
        (line(request={}), "not a line of a request log"),
        (line(method="classify"), "not a line of a request log"),
        (line(method="classify", request={"examples": [{"x": 1.0}]}), "not a line of a request log"),
        (line(method="classify", request={"examples": [{"x": [1.0, "no"]}]}), "both texts and numbers"),
        (line(request={"inputs": {"z": 1}, "output_filter": []}), 'no input "z"'),
        (inputs([[1.0], [1.0, 2.0]]), "not a line of a request log"),
        (inputs("NaN?"), "not a line of a request log"),
        (inputs({"b64": "!"}), "not a line of a request log"),
        (b'{"instances": [["a"]]}', "x"),
    ],
)
def test_a_line_that_is_no_request_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    """A file may hold anything; the reason is shown to people."""
    served = model({"x": TensorSpec("x:0", DataType.FLOAT, None)})

    with pytest.raises(ServingError, match=reason):
        json_request(text, served)


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        (DataType.INT32, [1.5], "none of type int32"),
        (DataType.BOOL, [0.5], "none of type bool"),
        (DataType.INT8, [1000], "not a line of a request log"),
        (DataType.STRING, [{"b64": "!!!"}], "not base64"),
        (DataType.STRING, [1], "not a line of a request log"),
        (DataType.STRING, [["a"], ["a", "b"]], "not a line of a request log"),
        (DataType.COMPLEX64, [1.0], "not a line of a request log"),
        (DataType.VARIANT, [1.0], "cannot be sent"),
    ],
)
def test_a_value_that_is_none_of_its_type_is_refused(kind: DataType, values: object, reason: str) -> None:
    """Cut to fit, it would be another request."""
    served = model({"x": TensorSpec("x:0", kind, None)})

    with pytest.raises(InvalidArgument, match=reason):
        json_request(inputs(values), served)


def _deep(levels: int) -> object:
    return [] if not levels else [_deep(levels - 1)]


@pytest.mark.parametrize("make", [lambda: inputs(_deep(500)), lambda: inputs(_deep(100))])
def test_a_deep_value_is_refused(make: Callable[[], bytes]) -> None:
    """It ends neither in numpy's error nor in Python's."""
    for kind in (DataType.FLOAT, DataType.STRING):
        with pytest.raises(InvalidArgument):
            json_request(make(), model({"x": TensorSpec("x:0", kind, None)}))
