"""Tests of loading TensorFlow Lite models, and of serving them: protocols, batching, warm-up and request logs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from core.config.model_config import BatchingParameters, LoggingConfig, ModelConfig, ModelResources
from core.errors import Code, FailedPrecondition, NotFound, ServingError
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from core.recording.warmup_file import FILE
from core.routing.transport import Answer, Call, Method
from core.versions.load_report import LoadFailed
from core.versions.servable import ServableId
from deployments.container.cpus import usable_cpus
from deployments.inference.assembly import loaded_model, request_log_of
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.execution import Execution
from deployments.inference.warm_up import warm_up
from deployments.platforms.lite_model import LiteModel
from deployments.platforms.registry import platform_of
from deployments.platforms.tflite import PLATFORM, pool_size
from tests.support.answering import answering
from tests.support.clients import RestClient
from tests.support.doors.model_stack import ModelStack
from tests.support.lite_models import LITE_MODELS, lite_file, lite_model, lite_spec
from tests.support.prediction_logs import predict_log, predict_request, read_logs, serialized, write_warm_up
from tests.support.project import ROOT
from tests.unit.deployments.inference.test_batcher import directly

SERVED = ("half_plus_two", "half_plus_two_metadata", "named", "two_signatures", "words", "fixed_rows", "quantized_int8")
BATCHING = BatchingParameters(64, batch_timeout_micros=200_000, num_batch_threads=1)
PREDICT = "/tensorflow.serving.PredictionService/"


class Site:
    """Models served over REST and gRPC in this process."""

    def __init__(self, rest: RestClient, channel: grpc.Channel) -> None:
        self.rest = rest
        self._channel = channel

    def predict(self, request: serving_pb2.PredictRequest) -> serving_pb2.PredictResponse:
        """Predict over gRPC."""
        return serving_pb2.PredictResponse.FromString(self.ask("Predict", request))

    def ask(self, method: str, request: Any) -> bytes:
        """Call a gRPC method."""
        return self._channel.unary_unary(PREDICT + method)(request.SerializeToString(), timeout=60)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Serve some of the models."""
    with ExitStack() as stack:
        executions = {ServableId(name, 1): Execution(lite_model(name), 2) for name in SERVED}
        served = stack.enter_context(ModelStack(executions))
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}"))
        rest = RestClient(served.rest_port)
        yield Site(rest, channel)
        rest.close()


def upstream_request(name: str) -> serving_pb2.PredictRequest:
    """Ask as TensorFlow Serving's own test does: one number, of one dimension, though the model has two."""
    request = serving_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "serving_default"
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add(size=1)
    return request


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_metadata"])
def test_tensorflow_servings_own_tests_of_tensorflow_lite_pass(site: Site, name: str) -> None:
    """`testPredictOnTfLite` and `testPredictWithSignatureDefOnTfLite`."""
    response = site.predict(upstream_request(name))

    assert list(response.outputs) == ["y"]
    assert response.outputs["y"].dtype == 1
    assert list(response.outputs["y"].float_val) == [3.0]
    assert (response.model_spec.name, response.model_spec.version.value) == (name, 1)
    assert response.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_metadata"])
def test_rows_over_rest_are_answered(site: Site, name: str) -> None:
    """In both formats."""
    path = f"/v1/models/{name}:predict"

    assert site.rest.post(path, {"instances": [[2.0], [4.0]]}).json == {"predictions": [[3.0], [4.0]]}
    assert site.rest.post(path, {"inputs": {"x": [2.0]}}).json == {"outputs": [3.0]}


def test_both_names_of_todays_models_are_answered(site: Site) -> None:
    """Names of tensors as in TensorFlow Serving, and those of the conversion under a key of their own."""
    body = {"instances": [[1.0, 2.0], [3.0, 4.0]]}

    assert site.rest.post("/v1/models/named:predict", body).json == {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
    own = site.rest.post("/v1/models/named:predict", {"signature_name": "tflite_serving_default", **body})
    assert own.json["predictions"] == [{"sum": 3.0, "twice": [2.0, 4.0]}, {"sum": 7.0, "twice": [6.0, 8.0]}]


def test_strings_over_rest_are_texts_or_base64(site: Site) -> None:
    """As for any model."""
    inputs = {"words": ["plain", {"b64": "Z3LDvG4="}], "places": [1, 0]}
    body = {"signature_name": "tflite_serving_default", "inputs": inputs}

    assert site.rest.post("/v1/models/words:predict", body).json == {"outputs": ["grün", "plain"]}


def test_get_model_metadata_tells_the_signatures_that_can_be_called(site: Site) -> None:
    """Over gRPC and REST; names of tensors are those of the file."""
    request = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "two_signatures"
    response = serving_pb2.GetModelMetadataResponse.FromString(site.ask("GetModelMetadata", request))
    found = serving_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value)
    told = site.rest.get("/v1/models/two_signatures/metadata").json["metadata"]["signature_def"]["signature_def"]

    assert set(found.signature_def) == set(told) == {"serving_default", "double", "halve"}
    assert found.signature_def["halve"].inputs["x"].name == told["halve"]["inputs"]["x"]["name"] == "halve_x:0"
    assert told["serving_default"]["inputs"]["double_x"]["tensor_shape"]["dim"][1]["size"] == "2"


@pytest.mark.parametrize(
    ("model", "body", "status", "text"),
    [
        ("half_plus_two", {"inputs": {"z": [1.0]}}, 400, "x"),
        ("half_plus_two", {"instances": [["a"]]}, 400, "JSON Value"),
        ("half_plus_two", {"signature_name": "gone", "instances": [[1.0]]}, 400, "gone"),
        ("fixed_rows", {"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}, 400, "Failed to fit inputs"),
        ("quantized_int8", {"instances": [[[1, 2]]]}, 400, "Failed to fit inputs"),
        ("words", {"inputs": {"serving_default_words": ["a"], "serving_default_places": [9]}}, 500, "Failed to invoke"),
    ],
)
def test_requests_that_do_not_fit_are_refused_and_the_model_goes_on(site: Site, model, body, status, text) -> None:
    """With the cause."""
    reply = site.rest.post(f"/v1/models/{model}:predict", body)

    assert (reply.status, text in reply.json["error"]) == (status, True), reply.body
    assert site.rest.post("/v1/models/half_plus_two:predict", {"instances": [[2.0]]}).status == 200


def test_a_wrong_type_over_grpc_is_refused(site: Site) -> None:
    """TensorFlow Serving would take the bytes as they are."""
    request = predict_request(name="half_plus_two")
    request.inputs["x"].CopyFrom(to_proto(np.array([[2.0]])))

    with pytest.raises(grpc.RpcError) as refused:
        site.predict(request)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "x to be float but double is provided" in refused.value.details()


class Counting:
    """A loaded version that notes the rows of its runs."""

    def __init__(self, loaded: LiteModel) -> None:
        self._loaded, self.served, self.rows = loaded, loaded.served, []

    def run(self, feeds, fetches, **options):
        """Run."""
        self.rows.append(len(next(iter(feeds.values()))))
        return self._loaded.run(feeds, fetches, **options)

    def close(self) -> None:
        """Close nothing: others use the model, too."""


def batched(model: Counting, requests: list[serving_pb2.PredictRequest]) -> list[Answer]:
    """Answer requests that come together."""
    execution = BatchedExecution(model, BATCHING, through=directly)
    with answering(execution) as answer, ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(lambda one: answer(Call(Method.PREDICT, one.SerializeToString())), requests))


def test_requests_share_a_run_where_rows_can_be_free_although_the_file_says_one() -> None:
    """TensorFlow Serving batches such a model, too."""
    model = Counting(lite_model("half_plus_two"))

    answers = batched(model, [predict_request(float(value)) for value in range(8)])

    outputs = [serving_pb2.PredictResponse.FromString(one.body).outputs["y"] for one in answers]
    assert [to_array(one).tolist() for one in outputs] == [[[value * 0.5 + 2.0]] for value in range(8)]
    assert sum(model.rows) == 8 > len(model.rows)


def test_requests_run_alone_where_the_model_needs_its_number_of_rows() -> None:
    """A batch could not be run."""
    model = Counting(lite_model("fixed_rows"))
    request = serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="fixed_rows"))
    request.inputs["serving_default_x"].CopyFrom(to_proto(np.ones((1, 4), np.float32)))

    answers = batched(model, [request] * 4)

    assert [(one.code, one.body) for one in answers if one.code is not Code.OK] == []
    assert model.rows == [1] * 4


def test_warm_up_requests_are_replayed(tmp_path: Path) -> None:
    """One that fails fails the load."""
    model = Counting(lite_model("half_plus_two"))
    write_warm_up(tmp_path, serialized([predict_log(1.0), predict_log(2.0, 3.0)]))

    with answering(Execution(model, 1)) as answer:
        warm_up(ServableId("m", 1), str(tmp_path), answer, 2)

    assert sorted(model.rows) == [1, 1, 2, 2]
    write_warm_up(tmp_path, serialized([predict_log(1.0, signature="gone")]))
    with answering(Execution(model, 1)) as answer, pytest.raises(ServingError, match=f"gone.*{FILE}"):
        warm_up(ServableId("m", 1), str(tmp_path), answer, 1)


def test_the_interpreter_is_chosen_by_flag_by_file_or_by_name(tmp_path: Path) -> None:
    """A SavedModel beside it is served unless the flag says otherwise."""
    version = tmp_path / "m" / "1"
    shutil.copytree(LITE_MODELS / "half_plus_two" / "1", version)

    assert platform_of(lite_spec(version)) is PLATFORM
    (version / "saved_model.pb").write_bytes(b"")
    assert platform_of(lite_spec(version)) is not PLATFORM
    assert platform_of(lite_spec(version, prefer_tflite=True)) is PLATFORM


@pytest.mark.parametrize(("pools", "cpus", "expected"), [(3, 8.0, 3), (0, 2.0, 2), (0, 0.4, None), (0, 0.0, None)])
def test_there_is_an_interpreter_for_each_cpu_unless_the_number_is_configured(pools, cpus, expected) -> None:
    """Those that the model has reserved, or all."""
    spec = lite_spec(Path("/m/1"), tflite_pools=pools)
    config = ModelConfig("m", "/m", resources=ModelResources(num_cpus=cpus))

    assert pool_size(replace(spec, config=config)) == (expected or usable_cpus())


def test_a_models_size_is_judged_by_its_file(tmp_path: Path) -> None:
    """And nothing is raised where there is none."""
    assert PLATFORM.estimate(str(LITE_MODELS / "named" / "1")).resident_bytes == 2 * len(lite_file("named"))
    assert PLATFORM.estimate(str(tmp_path)).resident_bytes == 0


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("unknown_tensor", Code.INTERNAL, "Unknown tensor 'z:0'.\n\tSignature input x references an unknown tensor"),
        ("broken_metadata", Code.INVALID_ARGUMENT, "Invalid SignatureDefs found in TfLite model: "),
        ("unknown_operation", Code.INTERNAL, "Cannot build Interpreter from buffer. "),
    ],
)
def test_models_that_cannot_be_served_are_failed_loads(name, code, text) -> None:
    """With TensorFlow Serving's code and text."""
    with pytest.raises(LoadFailed) as failed:
        loaded_model(lite_spec(LITE_MODELS / name / "1"))

    assert failed.value.code is code
    assert text in failed.value.args[1]


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, lite_file("named")[:700]], ids=["empty", "garbage", "cut"])
def test_files_that_are_not_models_are_failed_loads(tmp_path: Path, content: bytes) -> None:
    """The process goes on."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.tflite").write_bytes(content)

    with pytest.raises(LoadFailed, match=r"Cannot build FlatBufferModel from buffer\. ") as failed:
        loaded_model(lite_spec(tmp_path / "1"))

    assert failed.value.code is Code.INVALID_ARGUMENT
    assert f"({tmp_path}/1/model.tflite, {len(content)} bytes: a FlatBuffer" in failed.value.args[1]


def test_a_file_that_cannot_be_read_is_not_found(tmp_path: Path) -> None:
    """A folder of that name, for example."""
    (tmp_path / "1" / "model.tflite").mkdir(parents=True)

    with pytest.raises(NotFound, match=r"model\.tflite cannot be read"):
        PLATFORM.load(lite_spec(tmp_path / "1"))


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the server needs it."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.delitem(sys.modules, "deployments.platforms.tflite_runtime", raising=False)
    monkeypatch.delitem(sys.modules, "deployments.platforms.tflite_trial", raising=False)
    monkeypatch.delattr("deployments.platforms.tflite_runtime", raising=False)
    monkeypatch.delattr("deployments.platforms.tflite_trial", raising=False)

    with pytest.raises(FailedPrecondition, match=r"install ray-model-server\[lite\]"):
        PLATFORM.load(lite_spec(LITE_MODELS / "named" / "1"))


def test_answered_requests_are_logged(tmp_path: Path) -> None:
    """As warm-up reads them."""
    spec = lite_spec(LITE_MODELS / "half_plus_two" / "1")
    log = request_log_of(spec, lite_model("half_plus_two"), "replica")
    log.configure((LoggingConfig("", str(tmp_path / "log"), 1.0),))
    execution = Execution(lite_model("half_plus_two"), 1)
    execution.answering.on_answer = log.record

    with answering(execution) as answer:
        answer(Call(Method.PREDICT, predict_request(2.0, name="half_plus_two").SerializeToString()))
    assert log.close(30)

    (logged,) = read_logs(tmp_path)
    assert to_array(logged.predict_log.response.outputs["y"]).tolist() == [[3.0]]


def test_the_example_of_the_documentation_answers_as_it_says(site: Site) -> None:
    """Requests and answers as they are written there, to the model that is made there."""
    text = (ROOT / "docs" / "tensorflow_lite.md").read_text(encoding="utf-8")
    examples = re.findall(r"^curl localhost:8501(\S+) -d '(.*)'\n# (.*)$", text, re.MULTILINE)

    assert [site.rest.post(path, body.encode()).json for path, body, _ in examples] == [
        json.loads(answer) for _, _, answer in examples
    ]
    assert len(examples) == 2
