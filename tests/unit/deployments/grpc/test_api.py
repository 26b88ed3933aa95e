"""What a client sees of every method, over a real channel and with TensorFlow behind it; odd requests most of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from core.errors import Code, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.tensor_proto import LARGEST_REPETITION_BYTES, to_array, to_proto
from core.protos import serving_pb2, tensor_pb2
from tests.support.doors.grpc_stack import GrpcStack
from tests.support.served_models import example

PREDICTION = "/tensorflow.serving.PredictionService/"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
SESSION_RUN = "/tensorflow.serving.SessionService/SessionRun"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
TF1 = "tf1_half_plus_two"
MODELS = {
    "half_plus_two": 1,
    "half_plus_two_versions": (1, 2),
    "all_dtypes": 1,
    "several": 1,
    "two_variables": 1,
    "no_signatures": 1,
    "odd_outputs": 1,
    TF1: 123,
}
OK = (grpc.StatusCode.OK, "")
PARSING_ERROR = (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")


@pytest.fixture(scope="module")
def stack(saved_models: Path) -> Iterator[GrpcStack]:
    with GrpcStack(saved_models, MODELS) as running:
        yield running


class Asker:
    """A channel with the shortest ways to ask."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def raw(self, path: str, body: bytes) -> bytes:
        return self._channel.unary_unary(path)(body, timeout=60)

    def told(self, path: str, request: Any) -> tuple[grpc.StatusCode, str]:
        """Return code and text."""
        try:
            self.raw(path, request if isinstance(request, bytes) else request.SerializeToString())
        except grpc.RpcError as error:
            return error.code(), error.details()
        return OK

    def predict(self, request: serving_pb2.PredictRequest) -> serving_pb2.PredictResponse:
        return serving_pb2.PredictResponse.FromString(self.raw(f"{PREDICTION}Predict", request.SerializeToString()))

    def outputs(self, request: serving_pb2.PredictRequest) -> dict[str, Any]:
        return {name: to_array(one).tolist() for name, one in self.predict(request).outputs.items()}


@pytest.fixture
def ask(stack: GrpcStack) -> Iterator[Asker]:
    with grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
        yield Asker(channel)


def tensor(kind: int, dims: Iterable[int] | None = (), **fields: Any) -> tensor_pb2.TensorProto:
    made = tensor_pb2.TensorProto(dtype=kind, **fields)
    if dims is not None:
        made.tensor_shape.SetInParent()
        for size in dims:
            made.tensor_shape.dim.add(size=size)
    return made


def predict(
    inputs: dict[str, tensor_pb2.TensorProto], model: str = "half_plus_two", signature: str = "", **spec: Any
) -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.output_filter.extend(spec.get("outputs", ()))
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    return request


X = {"x": tensor(DataType.FLOAT, (), float_val=[2.0])}


# Which model.


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        pytest.param({}, 2, id="case_J17"),
        pytest.param({"version": 1}, 1, id="case_J18"),
        pytest.param({"label": "stable"}, 1, id="label"),
    ],
)
def test_a_request_says_which_version_answers(ask: Asker, spec, version) -> None:
    """By number, by label, or the largest; the answer tells which it was, and no label."""
    answer = ask.predict(predict(X, "half_plus_two_versions", **spec))

    assert to_array(answer.outputs["y"]) == 1.0 + version
    assert answer.model_spec.WhichOneof("version_choice") == "version"
    assert answer.model_spec.version.value == version


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        pytest.param({"label": "nonexistent label"}, "INVALID_ARGUMENT", "Unrecognized servable version label: nonexistent label", id="case_J20"),
        pytest.param({"label": ""}, "INVALID_ARGUMENT", "Unrecognized servable version label: ", id="empty label"),
        pytest.param({"label": "pending"}, "NOT_FOUND", "Servable not found for request: Specific(half_plus_two_versions, 3)", id="pending label"),
        pytest.param({"version": 0}, "NOT_FOUND", "Servable not found for request: Specific(half_plus_two_versions, 0)", id="version 0"),
        pytest.param({"version": -1}, "NOT_FOUND", "Servable not found for request: Specific(half_plus_two_versions, -1)", id="negative version"),
        pytest.param({"version": 2**63 - 1}, "NOT_FOUND", f"Servable not found for request: Specific(half_plus_two_versions, {2**63 - 1})", id="largest version"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress"])
def test_what_does_not_answer_is_told(ask: Asker, method, spec, code, text) -> None:
    """All methods look for a model alike, before anything else of the request is looked at."""
    request = predict({}, "half_plus_two_versions", **spec)

    assert ask.told(f"{PREDICTION}{method}", request) == (grpc.StatusCode[code], text)


@pytest.mark.parametrize(
    "name", [" ", "half_plus_two ", "HALF_PLUS_TWO", "half_plus_two:1", "a/b", "../x", "%41", "é😀", "a\nb", "{}"]
)
def test_names_are_taken_as_they_are(ask: Asker, name) -> None:
    """Nothing is trimmed, decoded or folded, and nothing of it becomes a path."""
    assert ask.told(f"{PREDICTION}Predict", predict(X, name)) == (
        grpc.StatusCode.NOT_FOUND,
        f"Servable not found for request: Latest({name})",
    )


def test_case_F22_a_long_text_is_cut(ask: Asker) -> None:
    """The first 1024 bytes and a mark arrive; headers take no more."""
    code, text = ask.told(f"{PREDICTION}Predict", predict(X, "x" * 3000))

    assert code is grpc.StatusCode.NOT_FOUND
    assert text == f"Servable not found for request: Latest({'x' * 3000})"[:1024] + "...TRUNCATED"


SPEC = b"\x0a\x16half_plus_two_versions"
VERSION_1, LABEL_STABLE, LABEL_NONE = b"\x12\x02\x08\x01", b"\x22\x06stable", b"\x22\x01?"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(SPEC + LABEL_NONE + VERSION_1, OK, id="label, then version"),
        pytest.param(SPEC + VERSION_1 + LABEL_STABLE, OK, id="version, then label"),
        pytest.param(SPEC + VERSION_1 + LABEL_NONE, (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: ?"), id="version, then unknown label"),
        pytest.param(SPEC + b"\x7a\x01z", OK, id="unknown field"),
        pytest.param(b"\x0a\x03foo" + SPEC, OK, id="name twice"),
        pytest.param(b"", (grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified."), id="empty spec"),
        pytest.param(b"\x0a\x02\xff\xfe", (grpc.StatusCode.INVALID_ARGUMENT, "The request is not a valid protobuf message."), id="name that is no text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("padding", [0, 5000], ids=["small", "large"])
def test_a_model_spec_is_read_as_protobuf_reads_it(ask: Asker, spec, expected, padding) -> None:
    """Of version and label the last one counts; large requests, which are walked by hand, are read alike."""
    unknown = b"\x7a" + bytes([padding & 0x7F | 0x80, padding >> 7]) + bytes(padding) if padding else b""
    rest = predict(X).SerializeToString().partition(b"half_plus_two")[2]
    body = b"\x0a" + bytes([len(spec)]) + spec + unknown + rest[rest.index(b"\x12") :]

    assert ask.told(f"{PREDICTION}Predict", body) == expected


# Predict.


@pytest.mark.parametrize(
    ("model", "signature", "inputs", "outputs"),
    [
        pytest.param(TF1, "regress_x2_to_y3", {"inputs": tensor(1, (1, 1), float_val=[2.0])}, {"outputs": [[4.0]]}, id="case_F13"),
        pytest.param(TF1, "classify_x2_to_y3", {"inputs": tensor(1, (1, 1), float_val=[2.0])}, {"scores": [[4.0]]}, id="case_F14"),
        pytest.param("two_variables", "", {"x": tensor(1, (), float_val=[2.0])}, {"y": 12.0}, id="case_F18"),
    ],
)  # fmt: skip
def test_any_signature_can_be_predicted(ask: Asker, model, signature, inputs, outputs) -> None:
    """Those for other methods take the raw tensor; a function takes a scalar."""
    assert ask.outputs(predict(inputs, model, signature)) == outputs


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        pytest.param(predict({}), "INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.", id="case_F3"),
        pytest.param(predict({"unknown_key1": X["x"], "unknown_key2": X["x"]}), "INVALID_ARGUMENT", "input size does not match signature: 2!=1 len({unknown_key1,unknown_key2}) != len({x}). Sent extra: {unknown_key1,unknown_key2}. Missing but required: {x}.", id="case_F4"),
        pytest.param(predict({"key": X["x"]}), "INVALID_ARGUMENT", "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. Inputs expected to be in the request {key}, or default input alias set: ", id="case_F5"),
        pytest.param(predict(X, outputs=["y", "y"]), "INVALID_ARGUMENT", "duplicate output tensor alias: y", id="case_F10"),
        pytest.param(predict(X, outputs=["y", "Y"]), "INVALID_ARGUMENT", "output tensor alias not found in signature: Y Outputs expected to be in the set {y}.", id="unknown output"),
        pytest.param(predict(X, outputs=[""]), "INVALID_ARGUMENT", "output tensor alias not found in signature:  Outputs expected to be in the set {y}.", id="empty output"),
        pytest.param(predict(X, "no_signatures"), "FAILED_PRECONDITION", 'Serving signature key "serving_default" not found.', id="case_F11"),
        pytest.param(predict(X, signature="Serving_Default"), "FAILED_PRECONDITION", 'Serving signature key "Serving_Default" not found.', id="unknown signature"),
        pytest.param(predict({"x": tensor(DataType.STRING, (1,), string_val=[b"a"])}), "INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided", id="string for float"),
        pytest.param(predict({"x": tensor(DataType.DOUBLE, (1,), double_val=[1])}), "INVALID_ARGUMENT", "Expects arg[0] to be float but double is provided", id="double for float"),
        pytest.param(predict(X, "odd_outputs", "variant"), "UNIMPLEMENTED", 'Output "y" of signature "variant" has type variant, which requests and answers cannot carry; export a signature that casts it to another type.', id="variant"),
        pytest.param(predict({}, "", label="x"), "INVALID_ARGUMENT", "ModelSpec has no name specified.", id="no name"),
        pytest.param(b"", "INVALID_ARGUMENT", "Missing ModelSpec", id="nothing"),
    ],
)  # fmt: skip
def test_mistakes_of_predict_are_named(ask: Asker, request_, code, text) -> None:
    """Code and text are TensorFlow Serving's, or TensorFlow's own."""
    assert ask.told(f"{PREDICTION}Predict", request_) == (grpc.StatusCode[code], text)


def test_case_F9_only_the_filtered_outputs_are_sent(ask: Asker) -> None:
    """In any order."""
    three = {
        "a": tensor(DataType.FLOAT, (1,), float_val=[1]),
        "b": tensor(DataType.INT32, (1,), int_val=[2]),
        "s": tensor(DataType.STRING, (1,), string_val=[b"s"]),
    }
    everything = ask.outputs(predict(three, "several"))
    assert len(everything) == 3

    some = sorted(everything, reverse=True)[:2]

    assert ask.outputs(predict(three, "several", outputs=some)) == {name: everything[name] for name in some}


@pytest.mark.parametrize(
    ("signature", "sent", "got"),
    [
        ("float32", tensor(DataType.FLOAT, (2,), float_val=[1.5, -2.0]), [1.5, -2.0]),
        ("float32", tensor(DataType.FLOAT, (4,), float_val=[2, 4]), [2, 4, 4, 4]),
        ("float32", tensor(DataType.FLOAT, (1,), float_val=[2, 4]), [2]),
        ("float32", tensor(DataType.FLOAT, (2,)), [0, 0]),
        ("float32", tensor(DataType.FLOAT, (2,), int_val=[7]), [0, 0]),
        ("float32", tensor(DataType.FLOAT, (1,), float_val=[2], tensor_content=np.float32(6).tobytes()), [6]),
        ("float32", tensor(DataType.FLOAT, None, float_val=[2]), 2),
        ("float32", tensor(DataType.FLOAT, (0,), tensor_content=b"abc"), []),
        ("float32", tensor(DataType.FLOAT, (2, 0, 3)), [[], []]),
        ("float64", tensor(DataType.DOUBLE, (2,), double_val=[1e300]), [1e300, 1e300]),
        ("int8", tensor(DataType.INT8, (3,), int_val=[300, -1, 127]), [44, -1, 127]),
        ("uint8", tensor(DataType.UINT8, (3,), int_val=[300, -1, 127]), [44, 255, 127]),
        ("int16", tensor(DataType.INT16, (3,), int_val=[70000, -1, 127]), [4464, -1, 127]),
        ("uint16", tensor(DataType.UINT16, (3,), int_val=[70000, -1, 127]), [4464, 65535, 127]),
        ("int32", tensor(DataType.INT32, (3,), int_val=[70000, -1, -(2**31)]), [70000, -1, -(2**31)]),
        ("uint32", tensor(DataType.UINT32, (2,), uint32_val=[2**32 - 1]), [2**32 - 1] * 2),
        ("int64", tensor(DataType.INT64, (2,), int64_val=[-(2**63), 2**63 - 1]), [-(2**63), 2**63 - 1]),
        ("uint64", tensor(DataType.UINT64, (1,), uint64_val=[2**64 - 1]), [2**64 - 1]),
        ("bool", tensor(DataType.BOOL, (3,), bool_val=[True, False]), [True, False, False]),
        ("bool", tensor(DataType.BOOL, (3,), tensor_content=b"\0\1\2"), [False, True, True]),
        ("float16", tensor(DataType.HALF, (2,), half_val=[0x3C00, 0x13C00]), [1.0, 1.0]),
        ("float16", tensor(DataType.HALF, (1,), tensor_content=b"\x00\x3c"), [1.0]),
        ("bfloat16", tensor(DataType.BFLOAT16, (2,), half_val=[0x3F80]), [1.0, 1.0]),
        ("bfloat16", tensor(DataType.BFLOAT16, (1,), tensor_content=b"\x80\x3f"), [1.0]),
        ("complex64", tensor(DataType.COMPLEX64, (2,), scomplex_val=[1, 2, 3]), [1 + 2j, 1 + 2j]),
        ("complex64", tensor(DataType.COMPLEX64, (2,), scomplex_val=[1]), [0j, 0j]),
        ("complex128", tensor(DataType.COMPLEX128, (2,), dcomplex_val=[1, 2, 3, 4, 5, 6]), [1 + 2j, 3 + 4j]),
        ("string", tensor(DataType.STRING, (3,), string_val=[b"a", b"\xff\0"]), [b"a", b"\xff\0", b"\xff\0"]),
        ("string", tensor(DataType.STRING, (2,)), [b"", b""]),
        ("string", tensor(DataType.STRING, (2,), tensor_content=b"\x01\x02abb"), [b"a", b"bb"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_form_of_a_tensor_is_understood(ask: Asker, signature, sent, got) -> None:
    """Typed lists, short and long, and raw content, as TensorFlow decodes them."""
    assert ask.outputs(predict({"x": sent}, "all_dtypes", signature)) == {"y": got}


@pytest.mark.parametrize(
    ("signature", "sent"),
    [
        ("float32", tensor(0, (1,), float_val=[1])),
        ("float32", tensor(DataType.RESOURCE, (1,))),
        ("float32", tensor(DataType.VARIANT, (1,))),
        ("float32", tensor(29, (1,), int_val=[1])),
        ("float32", tensor(99, (1,), float_val=[1])),
        ("float32", tensor(101, (1,), float_val=[1])),
        ("float32", tensor(-1, (1,), float_val=[1])),
        ("float32", tensor(DataType.FLOAT, (2,), tensor_content=bytes(4))),
        ("float32", tensor(DataType.FLOAT, (1,), tensor_content=bytes(8))),
        ("float32", tensor(DataType.FLOAT, (1,), tensor_content=bytes(3))),
        ("float32", tensor(DataType.FLOAT, (-1,), float_val=[1])),
        ("float32", tensor(DataType.FLOAT, (2**62,), float_val=[1])),
        ("float32", tensor(DataType.FLOAT, (2**40, 2**40), float_val=[1])),
        ("float32", tensor(DataType.FLOAT, (0, 2**62))),
        ("float32", tensor(DataType.FLOAT, (1,) * 65, float_val=[1])),
        ("float32", tensor(DataType.FLOAT, (LARGEST_REPETITION_BYTES // 4 + 1,), float_val=[1])),
        (
            "float32",
            tensor_pb2.TensorProto(dtype=1, float_val=[1], tensor_shape=tensor_pb2.TensorShapeProto(unknown_rank=True)),
        ),
        ("string", tensor(DataType.STRING, (2**26,))),
        ("string", tensor(DataType.STRING, (2,), tensor_content=b"\x01\x03abb")),
        ("string", tensor(DataType.STRING, (2,), tensor_content=b"\x80" * 6)),
        ("string", tensor(DataType.STRING, (2,), tensor_content=b"\0")),
    ],
)
def test_what_is_no_tensor_is_refused(ask: Asker, signature, sent) -> None:
    """Wrong types, lengths and shapes have one text; huge claims cost nothing."""
    assert ask.told(f"{PREDICTION}Predict", predict({"x": sent}, "all_dtypes", signature)) == PARSING_ERROR


# Classify, Regress, MultiInference.


def examples_request(
    signature: str, *examples: bytes, context: bytes | None = None
) -> serving_pb2.SerializedExamplesRequest:
    request = serving_pb2.SerializedExamplesRequest()
    request.model_spec.name = TF1
    request.model_spec.signature_name = signature
    if context is None:
        request.input.example_list.SetInParent()
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.context = context
        request.input.example_list_with_context.examples.extend(examples)
    return request


def serialized(**features: float) -> bytes:
    return example(**features).SerializeToString()


def regressed(ask: Asker, request: serving_pb2.SerializedExamplesRequest) -> list[float]:
    raw = ask.raw(f"{PREDICTION}Regress", request.SerializeToString())
    return [one.value for one in serving_pb2.RegressionResponse.FromString(raw).result.regressions]


def test_case_G18_every_example_has_its_value(ask: Asker) -> None:
    """In the order of the request."""
    assert regressed(ask, examples_request("regress_x_to_y2", serialized(x=0), serialized(x=2))) == [3.0, 4.0]


def test_case_G19_a_context_stands_behind_every_example(ask: Asker) -> None:
    """Examples without the feature have the context's; an example's own feature wins."""
    context = serialized(x=2)

    assert regressed(ask, examples_request("regress_x_to_y", b"", b"", context=context)) == [3.0, 3.0]
    assert regressed(ask, examples_request("regress_x_to_y", serialized(x=0), b"", context=context)) == [2.0, 3.0]


def test_classes_have_labels_and_scores(ask: Asker) -> None:
    """One for each column, for each example; the answer names version and signature."""
    raw = ask.raw(
        f"{PREDICTION}Classify",
        examples_request("classify_with_labels", serialized(x=2), serialized(x=4)).SerializeToString(),
    )
    answer = serving_pb2.ClassificationResponse.FromString(raw)

    assert [[(one.label, one.score) for one in row.classes] for row in answer.result.classifications] == [
        [("low", -2.0), ("high", 3.0)],
        [("low", -3.0), ("high", 4.0)],
    ]
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (123, "classify_with_labels")


EMPTY = "Input is empty."
NO_INPUT = serving_pb2.SerializedExamplesRequest(
    model_spec=serving_pb2.ModelSpec(name=TF1, signature_name="regress_x_to_y")
)
UNSET_KIND = serving_pb2.SerializedExamplesRequest(model_spec=NO_INPUT.model_spec, input=serving_pb2.SerializedInput())


@pytest.mark.parametrize(
    ("method", "request_", "text"),
    [
        pytest.param("Regress", NO_INPUT, EMPTY, id="no input"),
        pytest.param("Regress", UNSET_KIND, EMPTY, id="no kind"),
        pytest.param("Regress", examples_request("regress_x_to_y"), EMPTY, id="no examples"),
        pytest.param("Regress", examples_request("regress_x_to_y", context=serialized(x=1)), EMPTY, id="context only"),
        pytest.param("Classify", examples_request("classify_x_to_y"), EMPTY, id="nothing to classify"),
        pytest.param("Regress", examples_request("nope", b""), "No signature was found with the name: nope", id="signature"),
        pytest.param("Regress", examples_request("", b""), 'No regression inputs found in SignatureDef: inputs {\n  key: "x"', id="default signature"),
        pytest.param("Classify", examples_request("", b""), 'No classification inputs found in SignatureDef: inputs {\n  key: "x"', id="default to classify"),
        pytest.param("Regress", examples_request("classify_x_to_y", b""), "No regression outputs found in SignatureDef: inputs {", id="classification"),
        pytest.param("Classify", examples_request("regress_x_to_y", b""), 'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: inputs {', id="case_G7"),
        pytest.param("Regress", examples_request("regress_x_to_y", b"\xff"), "Could not parse example input, value: '", id="no Example"),
        pytest.param("Regress", examples_request("regress_x_to_y", b""), "Name: <unknown>, Feature: x (data type: float) is required but could not be found.", id="no feature"),
        pytest.param("Regress", examples_request("regress_x2_to_y3", b""), "Expects arg[0] to be float but string is provided", id="not for Examples"),
        pytest.param("Regress", b"", "Missing ModelSpec", id="nothing"),
    ],
)  # fmt: skip
def test_mistakes_of_classify_and_regress_are_named(ask: Asker, method, request_, text) -> None:
    """The texts are TensorFlow Serving's, or those of the model's own parsing."""
    code, told = ask.told(f"{PREDICTION}{method}", request_)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told.startswith(text)


def test_case_G11_an_error_of_the_runtime_is_passed_on(stack: GrpcStack, ask: Asker, monkeypatch) -> None:
    """With its own code and text, and nothing around it."""

    def fail(*_: object, **__: object) -> list[np.ndarray]:
        raise RuntimeFailure(Code.DATA_LOSS, "Run totally failed")

    loaded = stack.executions[TF1]._loaded
    monkeypatch.setattr(type(loaded), "run", fail)

    for method, signature in (("Regress", "regress_x_to_y"), ("Classify", "classify_x_to_y")):
        assert ask.told(f"{PREDICTION}{method}", examples_request(signature, serialized(x=1))) == (
            grpc.StatusCode.DATA_LOSS,
            "Run totally failed",
        )


def multi_inference(*tasks: tuple[str, str, str]) -> serving_pb2.SerializedMultiInferenceRequest:
    request = serving_pb2.SerializedMultiInferenceRequest()
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    request.input.example_list.examples.append(serialized(x=2))
    return request


REGRESS = (TF1, "regress_x_to_y", REGRESS_METHOD)
REGRESS_2 = (TF1, "regress_x_to_y2", REGRESS_METHOD)


def test_case_I7_several_tasks_are_answered_in_their_order(ask: Asker) -> None:
    """Regressions and classifications of the same examples."""
    request = multi_inference(REGRESS_2, (TF1, "classify_x_to_y", CLASSIFY_METHOD), REGRESS)

    raw = ask.raw(f"{PREDICTION}MultiInference", request.SerializeToString())
    first, second, third = serving_pb2.MultiInferenceResponse.FromString(raw).results

    assert first.regression_result.regressions[0].value == 4.0
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    assert third.regression_result.regressions[0].value == 3.0
    assert [one.model_spec.version.value for one in (first, second, third)] == [123] * 3


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        pytest.param([], "INVALID_ARGUMENT", "ModelSpec has no name specified.", id="case_I9"),
        pytest.param([REGRESS, ("other", "x", REGRESS_METHOD)], "INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access the same model name.", id="case_I3"),
        pytest.param([REGRESS, ("", "x", REGRESS_METHOD)], "INVALID_ARGUMENT", "Found ModelSpec with an empty model name.", id="no name"),
        pytest.param([REGRESS, REGRESS], "INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y", id="case_I4"),
        pytest.param([(TF1, "serving_default", "tensorflow/serving/predict")], "UNIMPLEMENTED", "Unsupported signature method_name: tensorflow/serving/predict", id="case_I5"),
        pytest.param([(TF1, "regress_x_to_y", "")], "UNIMPLEMENTED", "Unsupported signature method_name: ", id="no method"),
        pytest.param([(TF1, "nope", REGRESS_METHOD)], "INVALID_ARGUMENT", "Requested signature not found in model graph: nope", id="signature"),
        pytest.param([("foo", "x", REGRESS_METHOD), REGRESS], "NOT_FOUND", "Servable not found for request: Latest(foo)", id="the first task decides"),
    ],
)  # fmt: skip
def test_mistakes_of_multi_inference_are_named(ask: Asker, tasks, code, text) -> None:
    """Code and text are TensorFlow Serving's."""
    assert ask.told(f"{PREDICTION}MultiInference", multi_inference(*tasks)) == (grpc.StatusCode[code], text)


# Metadata, status, session runs, and what is not there.


@pytest.mark.parametrize(
    ("name", "fields", "code", "text"),
    [
        ("half_plus_two", [], "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        ("half_plus_two", [""], "INVALID_ARGUMENT", "Metadata field  is not supported"),
        ("half_plus_two", ["signature_def", "foo"], "INVALID_ARGUMENT", "Metadata field foo is not supported"),
        ("", ["foo"], "INVALID_ARGUMENT", "Metadata field foo is not supported"),
        ("", ["signature_def"], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("foo", ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(foo)"),
        ("half_plus_two", ["signature_def", "signature_def"], "OK", ""),
    ],
)
def test_metadata_is_asked_for_by_the_name_of_a_field(ask: Asker, name, fields, code, text) -> None:
    """The fields are checked before the model is looked up."""
    request = serving_pb2.GetModelMetadataRequest(model_spec=serving_pb2.ModelSpec(name=name), metadata_field=fields)

    assert ask.told(f"{PREDICTION}GetModelMetadata", request) == (grpc.StatusCode[code], text)


def test_metadata_needs_a_model_spec(ask: Asker) -> None:
    """It comes first of all checks."""
    request = serving_pb2.GetModelMetadataRequest(metadata_field=["foo"])

    assert ask.told(f"{PREDICTION}GetModelMetadata", request)[1] == "Missing ModelSpec"


@pytest.mark.parametrize(
    ("spec", "versions"),
    [({}, [2, 1]), ({"version": {"value": 1}}, [1]), ({"version_label": "whatever"}, [2, 1])],
    ids=["all", "one", "a label is ignored"],
)
def test_status_lists_versions_newest_first(ask: Asker, spec, versions) -> None:
    """A label in the request does not count (TensorFlow Serving, GetModelStatus)."""
    request = serving_pb2.GetModelStatusRequest(model_spec=serving_pb2.ModelSpec(name="half_plus_two_versions", **spec))

    answer = serving_pb2.GetModelStatusResponse.FromString(ask.raw(STATUS, request.SerializeToString()))

    assert [one.version for one in answer.model_version_status] == versions
    assert {one.state for one in answer.model_version_status} == {serving_pb2.ModelVersionStatus.AVAILABLE}


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (b"", "INVALID_ARGUMENT", "Missing ModelSpec"),
        (b"\x0a\x00", "NOT_FOUND", "Could not find any versions of model "),
        (b"\x0a\x05\x0a\x03foo", "NOT_FOUND", "Could not find any versions of model foo"),
        (b"\x0a\x13\x0a\x0dhalf_plus_two\x12\x02\x08\x07", "NOT_FOUND", "Could not find version 7 of model half_plus_two"),
    ],
)  # fmt: skip
def test_a_status_of_nothing_is_not_found(ask: Asker, request_, code, text) -> None:
    """An empty name is a name that nobody has."""
    assert ask.told(STATUS, request_) == (grpc.StatusCode[code], text)


def session_run(fetch: list[str], **feeds: np.ndarray) -> serving_pb2.SessionRunRequest:
    request = serving_pb2.SessionRunRequest(model_spec=serving_pb2.ModelSpec(name=TF1), fetch=fetch)
    for name, array in feeds.items():
        request.feed.add(name=name, tensor=to_proto(array))
    return request


def test_a_session_run_fetches_any_tensor(ask: Asker) -> None:
    """By its name in the graph, in the order that was asked for, also twice."""
    request = session_run(["y2:0", "y", "y2:0"], x=np.array([[2.0]], np.float32))

    answer = serving_pb2.SessionRunResponse.FromString(ask.raw(SESSION_RUN, request.SerializeToString()))

    assert [(one.name, to_array(one.tensor).item()) for one in answer.tensor] == [("y2:0", 4), ("y", 3), ("y2:0", 4)]
    assert answer.model_spec.version.value == 123


@pytest.mark.parametrize("name", ["nope:0", "y:7", "y:0:0", ":", "y:99999999999999999999", "y:-1", "y\0", "a\0b", ""])
def test_a_session_run_cannot_fetch_what_is_not_there(ask: Asker, name) -> None:
    """Odd names are names that nobody has."""
    request = session_run([name], x=np.array([[2.0]], np.float32))

    assert ask.told(SESSION_RUN, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"Tensor {name} is not in the graph of the model",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.PredictionService/Foo",
        "/tensorflow.serving.PredictionService/predict",
        "/tensorflow.serving.predictionservice/Predict",
        "/tensorflow.ProfilerService/Monitor",
        "/foo.Bar/Baz",
        "/",
    ],
)
def test_what_is_not_offered_is_unimplemented(ask: Asker, path) -> None:
    """Names of services and methods are exact."""
    assert ask.told(path, b"")[0] is grpc.StatusCode.UNIMPLEMENTED
