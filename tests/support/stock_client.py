"""The program that runs in the environment of TensorFlow Serving's own client.

`python stock_client.py GRPC_ADDRESS NAME=VERSION_DIRECTORY...` (with that environment) calls every method for every
signature of the named models through the stock stubs, compares with the model run in process, and prints a line of JSON.
"""

# ruff: noqa: PLC0415 - what is imported in functions exists in the stock client's environment only

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 60
INIT_OP = "__saved_model_init_op"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
XS = (0.25, -3.5, 80.0)


class InProcess:
    """A model as TensorFlow itself runs it."""

    def __init__(self, name: str, path: Path) -> None:
        import tensorflow as tf

        self.name, self.version = name, int(path.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        self.all_signatures = dict(loaded.signature_def)
        self.signatures = {key: one for key, one in self.all_signatures.items() if key != INIT_OP}

    def run(self, key: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        import numpy as np

        signature = self.signatures[key]
        fetches = {name: info.name for name, info in signature.outputs.items()}
        feeds = {signature.inputs[name].name: value for name, value in inputs.items()}
        return {name: np.asarray(value) for name, value in self._session.run(fetches, feeds).items()}

    def inputs(self, key: str) -> dict[str, Any]:
        if self.takes_examples(key):
            return {"inputs": _serialized_examples()}
        return {name: _value(info) for name, info in self.signatures[key].inputs.items()}

    def takes_examples(self, key: str) -> bool:
        from tensorflow import dtypes

        signature = self.signatures[key]
        is_for_examples = signature.method_name in {CLASSIFY, REGRESS}
        return is_for_examples and signature.inputs["inputs"].dtype == dtypes.string.as_datatype_enum


class Comparison:
    """Calls a server through the stock stubs, and remembers what was not as it should be."""

    def __init__(self, address: str) -> None:
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._session_run = channel.unary_unary(  # the stock client has messages for it, but no stub
            "/tensorflow.serving.SessionService/SessionRun", lambda message: message.SerializeToString()
        )
        self.counts: Counter[str] = Counter()
        self.different: list[str] = []

    def _expect(self, what: str, got: object, expected: object) -> None:
        self.counts[what.partition(" ")[0]] += 1
        if got != expected:
            self.different.append(f"{what}: {got!r} is not {expected!r}"[:500])

    def model(self, model: InProcess) -> None:
        for key in model.signatures:
            self._predict(model, key)
            self._examples(model, key)
        self._multi_inference(model)
        self._status(model)
        self._metadata(model)

    def _predict(self, model: InProcess, key: str) -> None:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.CopyFrom(_spec(model, key))
        inputs = model.inputs(key)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        expected = model.run(key, inputs)
        answer = self._prediction.Predict(request, timeout=TIMEOUT_S)
        got = {name: _plain(tf.make_ndarray(one)) for name, one in answer.outputs.items()}
        self._expect(f"Predict {model.name} {key}", got, {name: _plain(one) for name, one in expected.items()})
        self._expect(f"Predict {model.name} {key} spec", answer.model_spec, _spec(model, key, model.version))
        one = min(expected)
        request.output_filter.append(one)
        request.model_spec.version.value = model.version
        filtered = self._prediction.Predict(request, timeout=TIMEOUT_S)
        self._expect(f"Predict {model.name} {key} filtered", list(filtered.outputs), [one])

    def _examples(self, model: InProcess, key: str) -> None:
        from tensorflow_serving.apis import classification_pb2, regression_pb2

        if not model.takes_examples(key):
            return
        outputs = model.run(key, model.inputs(key))
        if model.signatures[key].method_name == REGRESS:
            request = regression_pb2.RegressionRequest(model_spec=_spec(model, key), input=_examples_input())
            answer = self._prediction.Regress(request, timeout=TIMEOUT_S)
            self._expect(f"Regress {model.name} {key}", _values(answer.result), _expected_values(outputs))
        else:
            request = classification_pb2.ClassificationRequest(model_spec=_spec(model, key), input=_examples_input())
            answer = self._prediction.Classify(request, timeout=TIMEOUT_S)
            self._expect(f"Classify {model.name} {key}", _classes(answer.result), _expected_classes(outputs))

    def _multi_inference(self, model: InProcess) -> None:
        from tensorflow_serving.apis import inference_pb2

        keys = [key for key in sorted(model.signatures) if model.takes_examples(key)]
        if not keys:
            return
        request = inference_pb2.MultiInferenceRequest(input=_examples_input())
        for key in keys:
            request.tasks.add(model_spec=_spec(model, key), method_name=model.signatures[key].method_name)
        answer = self._prediction.MultiInference(request, timeout=TIMEOUT_S)
        for key, result in zip(keys, answer.results, strict=True):
            outputs = model.run(key, model.inputs(key))
            is_regression = result.WhichOneof("result") == "regression_result"
            got = _values(result.regression_result) if is_regression else _classes(result.classification_result)
            expected = _expected_values(outputs) if is_regression else _expected_classes(outputs)
            self._expect(f"MultiInference {model.name} {key}", got, expected)

    def _status(self, model: InProcess) -> None:
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(model, ""))
        statuses = self._models.GetModelStatus(request, timeout=TIMEOUT_S).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        got = [(one.version, one.state) for one in statuses]
        self._expect(f"GetModelStatus {model.name}", got, [(model.version, available)])

    def _metadata(self, model: InProcess) -> None:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.CopyFrom(_spec(model, ""))
        answer = self._prediction.GetModelMetadata(request, timeout=TIMEOUT_S)
        told = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(told)
        self._expect(f"GetModelMetadata {model.name}", dict(told.signature_def), model.all_signatures)

    def mistakes(self) -> None:
        """See that errors have TensorFlow Serving's codes and texts."""
        from tensorflow_serving.apis import model_management_pb2, model_pb2, predict_pb2, session_service_pb2

        nobody = model_pb2.ModelSpec(name="nobody")
        reload = model_management_pb2.ReloadConfigRequest()
        for what, call, request, code, text in (
            ("Predict", self._prediction.Predict, predict_pb2.PredictRequest(model_spec=nobody), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
            ("Predict", self._prediction.Predict, predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
            ("HandleReloadConfigRequest", self._models.HandleReloadConfigRequest, reload, "INVALID_ARGUMENT", "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"),
            ("SessionRun", self._session_run, session_service_pb2.SessionRunRequest(model_spec=nobody), "UNIMPLEMENTED", "SessionRun is switched off"),
        ):  # fmt: skip
            got_code, got_text = _failure(call, request)
            self._expect(f"{what} mistake", (got_code, got_text[: len(text)]), (code, text))


def _failure(call: Any, request: Any) -> tuple[str, str]:
    import grpc

    try:
        call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def _spec(model: InProcess, key: str, version: int | None = None) -> Any:
    from tensorflow_serving.apis import model_pb2

    spec = model_pb2.ModelSpec(name=model.name, signature_name=key)
    if version is not None:
        spec.version.value = version
    return spec


def _examples_list() -> list[Any]:
    import tensorflow as tf

    def example(x: float) -> Any:
        feature = tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
        return tf.train.Example(features=tf.train.Features(feature={"x": feature}))

    return [example(x) for x in XS]


def _examples_input() -> Any:
    from tensorflow_serving.apis import input_pb2

    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=_examples_list()))


def _serialized_examples() -> Any:
    import numpy as np

    return np.array([one.SerializeToString() for one in _examples_list()], dtype=object)


def _values(result: Any) -> list[float]:
    return [one.value for one in result.regressions]


def _expected_values(outputs: Mapping[str, Any]) -> list[float]:
    return [float(value) for value in outputs["outputs"].ravel()]


def _classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.score) for one in row.classes] for row in result.classifications]


def _expected_classes(outputs: Mapping[str, Any]) -> list[list[tuple[str, float]]]:
    scores = outputs["scores"].tolist()
    labels = outputs["classes"].tolist() if "classes" in outputs else [[b""] * len(row) for row in scores]
    pairs = zip(labels, scores, strict=True)
    return [[(label.decode(), score) for label, score in zip(*pair, strict=True)] for pair in pairs]


def _plain(array: Any) -> tuple[str, object]:
    """Return type and values; bytes of numbers, so that NaN equals itself."""
    return str(array.dtype), (array.shape, array.ravel().tolist() if array.dtype == object else array.tobytes())


def _value(info: Any) -> Any:
    """Make an input that fits: two of each unknown dimension."""
    import numpy as np
    import tensorflow as tf

    shape = (
        [2] if info.tensor_shape.unknown_rank else [2 if one.size < 0 else one.size for one in info.tensor_shape.dim]
    )
    dtype = tf.dtypes.as_dtype(info.dtype)
    if dtype == tf.string:
        return np.array([b"some", b"words"] if shape else b"word", dtype=object)
    return (np.random.default_rng(7).random(shape) * 10).astype(dtype.as_numpy_dtype)


def _models(arguments: Iterable[str]) -> Iterator[InProcess]:
    for argument in arguments:
        name, _, path = argument.partition("=")
        yield InProcess(name, Path(path))


def main() -> None:
    """Compare, and print what came of it."""
    comparison = Comparison(sys.argv[1])
    for model in _models(sys.argv[2:]):
        comparison.model(model)
    comparison.mistakes()
    print(json.dumps({"compared": comparison.counts, "different": comparison.different}))


if __name__ == "__main__":
    main()
