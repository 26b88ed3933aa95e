"""What gRPC clients of a running server see, on the router's own port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from core.errors import Code
from core.inference.dtypes import DataType
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2, tensor_pb2
from ray_model_client import AsyncClient, Client, ServerError
from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, wait_until
from tests.support.saved_models import expected_calls

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    """A plain channel, as any client opens it."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=LARGE) as opened:
        yield opened


def call(channel: grpc.Channel, method: str, request: object, answer: type, timeout: float = 30.0) -> object:
    return channel.unary_unary(
        method,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )(request, timeout=timeout)


def predict_request(model: str, signature: str = "", **inputs: np.ndarray) -> serving_pb2.PredictRequest:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_proto(array))
    return request


def predict(channel: grpc.Channel, request: serving_pb2.PredictRequest) -> serving_pb2.PredictResponse:
    return call(channel, f"{PREDICTION}Predict", request, serving_pb2.PredictResponse)


def refused(channel: grpc.Channel, method: str, request: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, serving_pb2.PredictResponse)
    return caught.value.code(), caught.value.details()


def test_every_recorded_call_answers_over_grpc_as_tensorflow_did(
    server: LiveServer, channel: grpc.Channel, saved_models: Path
) -> None:
    """Every dtype, strings, scalars, signatures without inputs: TensorFlow's own results, bit for bit."""
    compared = 0
    for one in expected_calls(saved_models):
        if one.model not in server.entries or one.model == "counter":
            continue
        response = predict(channel, predict_request(one.model, one.signature, **one.inputs))
        for name, wanted in one.outputs.items():
            got = to_array(response.outputs[name])
            assert got.tolist() == wanted.tolist() if wanted.dtype == object else got.tobytes() == wanted.tobytes()
        compared += 1
    assert compared > 25


def test_the_answer_names_the_version_that_answered(channel: grpc.Channel) -> None:
    """The model spec has the resolved version and signature, never a label."""
    response = predict(channel, predict_request("half_plus_two", x=np.array([2.0], np.float32)))

    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"


def test_a_signature_without_inputs_keeps_its_state(channel: grpc.Channel) -> None:
    """A counter counts: requests of one version share its variables."""
    predict(channel, predict_request("counter", "reset_counter"))
    predict(channel, predict_request("counter", "incr_counter"))
    response = predict(channel, predict_request("counter", "incr_counter_by", delta=np.array(2.5, np.float32)))

    assert to_array(response.outputs["output"]) == 3.5


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        pytest.param(serving_pb2.PredictRequest(), grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec", id="no spec"),
        pytest.param(predict_request("half_plus_two"), grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.", id="case_F3"),
        pytest.param(predict_request("no_signatures"), grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "serving_default" not found.', id="case_F11"),
        pytest.param(predict_request("foo"), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(foo)", id="unknown model"),
        pytest.param(serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="half_plus_two", version_label="x")), grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: x", id="label"),
        pytest.param(serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec()), grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.", id="no name"),
    ],
)  # fmt: skip
def test_mistakes_of_clients_are_named(
    channel: grpc.Channel, request_: serving_pb2.PredictRequest, code: grpc.StatusCode, text: str
) -> None:
    """Code and text are TensorFlow Serving's."""
    assert refused(channel, f"{PREDICTION}Predict", request_) == (code, text)


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    """Garbage gets INVALID_ARGUMENT and the server lives."""
    send = channel.unary_unary(f"{PREDICTION}Predict", request_serializer=None, response_deserializer=None)
    for garbage in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x05abc", bytes(range(256))):
        with pytest.raises(grpc.RpcError) as caught:
            send(garbage, timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert predict(channel, predict_request("half_plus_two", x=np.zeros(1, np.float32))).outputs


def test_classify_regress_and_both_at_once(channel: grpc.Channel) -> None:
    """Examples travel unparsed; MultiInference answers two tasks with one run (case I7)."""
    example = tensor_pb2.Example()
    example.features.feature["x"].float_list.value.append(2.0)
    examples = serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=[example]))
    spec = {
        name: serving_pb2.ModelSpec(name="tf1_half_plus_two", signature_name=name)
        for name in ("classify_x_to_y", "regress_x_to_y", "regress_x_to_y2")
    }

    classified = call(
        channel,
        f"{PREDICTION}Classify",
        serving_pb2.ClassificationRequest(model_spec=spec["classify_x_to_y"], input=examples),
        serving_pb2.ClassificationResponse,
    )
    regressed = call(
        channel,
        f"{PREDICTION}Regress",
        serving_pb2.RegressionRequest(model_spec=spec["regress_x_to_y"], input=examples),
        serving_pb2.RegressionResponse,
    )
    tasks = [
        serving_pb2.InferenceTask(model_spec=spec[name], method_name="tensorflow/serving/regress")
        for name in ("regress_x_to_y", "regress_x_to_y2")
    ]
    several = call(
        channel,
        f"{PREDICTION}MultiInference",
        serving_pb2.MultiInferenceRequest(tasks=tasks, input=examples),
        serving_pb2.MultiInferenceResponse,
    )

    assert classified.result.classifications[0].classes[0].score == 3.0
    assert regressed.result.regressions[0].value == 3.0
    assert [one.regression_result.regressions[0].value for one in several.results] == [3.0, 4.0]


def test_case_E14_metadata_holds_all_signatures(channel: grpc.Channel) -> None:
    """The packed message has TensorFlow Serving's type name."""
    request = serving_pb2.GetModelMetadataRequest(
        model_spec=serving_pb2.ModelSpec(name="half_plus_two"), metadata_field=["signature_def"]
    )
    response = call(channel, f"{PREDICTION}GetModelMetadata", request, serving_pb2.GetModelMetadataResponse)

    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = serving_pb2.SignatureDefMap.FromString(packed.value).signature_def
    assert signatures["serving_default"].inputs["x"].dtype == DataType.FLOAT


def test_status_over_grpc(channel: grpc.Channel) -> None:
    """GetModelStatus says what REST says."""
    request = serving_pb2.GetModelStatusRequest(model_spec=serving_pb2.ModelSpec(name="half_plus_two"))
    response = call(channel, f"{MODELS}GetModelStatus", request, serving_pb2.GetModelStatusResponse)

    (status,) = response.model_version_status
    assert (status.version, status.state) == (1, serving_pb2.ModelVersionStatus.AVAILABLE)


def test_sixty_four_mebibytes_go_both_ways(channel: grpc.Channel) -> None:
    """No limit of ours below 2 GiB; large tensors arrive whole."""
    big = np.arange(16 * 1024 * 1024, dtype=np.float32)
    request = predict_request("all_dtypes", "float64", x=big.astype(np.float64))

    response = predict(channel, request)

    assert to_array(response.outputs["y"]).tobytes() == big.astype(np.float64).tobytes()


def test_a_deadline_ends_the_run(channel: grpc.Channel) -> None:
    """The call's deadline reaches TensorFlow; the version answers others afterwards."""
    request = predict_request("slow", iterations=np.array(300_000, np.int32))
    send = channel.unary_unary(f"{PREDICTION}Predict", request_serializer=None, response_deserializer=None)

    with pytest.raises(grpc.RpcError) as caught:
        send(request.SerializeToString(), timeout=0.5)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert predict(channel, predict_request("slow", iterations=np.array(1, np.int32))).outputs


def test_health_of_server_and_models(channel: grpc.Channel) -> None:
    """The standard health service knows the server, TensorFlow Serving's names, and each model."""
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "ModelService", "PredictionService", "model/half_plus_two"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="model/foo"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watched = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()


def test_reflection_names_services_and_describes_messages(channel: grpc.Channel) -> None:
    """A client without our protos finds TensorFlow Serving's services and message types."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest
    listed, described = stub.ServerReflectionInfo(
        iter([ask(list_services=""), ask(file_containing_symbol="tensorflow.serving.PredictRequest")])
    )

    names = {one.name for one in listed.list_services_response.service}
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


def test_session_run_is_off_by_default(channel: grpc.Channel) -> None:
    """The text names the flag that switches it on."""
    code, text = refused(
        channel,
        "/tensorflow.serving.SessionService/SessionRun",
        serving_pb2.SessionRunRequest(model_spec=serving_pb2.ModelSpec(name="half_plus_two")),
    )
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "--enable_session_run" in text


def reload_request(server: LiveServer, **more: str) -> serving_pb2.ReloadConfigRequest:
    """List all models of the file, and more."""
    request = serving_pb2.ReloadConfigRequest(metric_names=["/tensorflow/serving/request_count"])
    known = {name: str(server.saved_models / name) for name in server.entries}
    for name, base_path in (known | more).items():
        request.config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return request


def test_a_reload_answers_when_the_added_model_does(
    server: LiveServer, channel: grpc.Channel, client: RestClient
) -> None:
    """After OK the new model answers at once, also when the unchanged file is read again; the next reload removes it."""
    request = reload_request(server, added=str(server.saved_models / "half_plus_three"))
    response = call(
        channel, f"{MODELS}HandleReloadConfigRequest", request, serving_pb2.ReloadConfigResponse, timeout=90
    )

    assert response.status.error_code == 0
    assert [metric.name for metric in response.metric] == ["/tensorflow/serving/request_count"]
    wait_until(lambda: client.available("added") == {1}, "the router has the table")
    assert client.predict("added", [2.0]) == [4.0]
    call(channel, f"{MODELS}HandleReloadConfigRequest", reload_request(server), serving_pb2.ReloadConfigResponse)
    wait_until(lambda: client.states("added") == {1: "END"}, "the model is unloaded")


def test_a_reload_with_mistakes_changes_nothing(server: LiveServer, channel: grpc.Channel, client: RestClient) -> None:
    """All mistakes are told at once (case J6 among them)."""
    request = reload_request(server, relative="models/a", other="b")
    code, text = refused(channel, f"{MODELS}HandleReloadConfigRequest", request)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "Expected model relative to have an absolute path or URI; got base_path()=models/a" in text
    assert "Expected model other to have an absolute path or URI; got base_path()=b" in text
    assert client.predict("half_plus_two", [2.0]) == [3.0]


def test_a_reload_of_a_missing_model_names_the_reason(server: LiveServer, channel: grpc.Channel) -> None:
    """The call does not wait for ever for a directory that is not there; who stays in the list is not waited for."""
    missing = reload_request(server, absent="/nonexistent/model")
    code, text = refused(channel, f"{MODELS}HandleReloadConfigRequest", missing)
    again = call(channel, f"{MODELS}HandleReloadConfigRequest", missing, serving_pb2.ReloadConfigResponse)
    call(channel, f"{MODELS}HandleReloadConfigRequest", reload_request(server), serving_pb2.ReloadConfigResponse)

    assert code is grpc.StatusCode.UNKNOWN
    assert text.startswith("1 model(s) did not become available: {{absent due to error: NOT_FOUND:")
    assert again.status.error_code == 0


def test_the_light_client_speaks_all_methods(server: LiveServer) -> None:
    """Predict, classify, regress, status and metadata, by version and by default; errors keep code and text."""
    with Client(f"127.0.0.1:{server.grpc_port}") as light:
        assert light.predict("half_plus_two", {"x": [1.0, 2.0, 5.0]})["y"].tolist() == [2.5, 3.0, 4.5]
        assert light.predict("half_plus_two", {"x": 2.0}, version=1)["y"] == 3.0
        assert light.regress("tf1_half_plus_two", [{"x": 2.0}], signature="regress_x_to_y2") == [4.0]
        assert light.classify("tf1_half_plus_two", [{"x": 2.0}], signature="classify_x_to_y") == [[("", 3.0)]]
        assert [(one.version, one.state.name) for one in light.status("half_plus_two")] == [(1, "AVAILABLE")]
        assert list(light.metadata("half_plus_two")["serving_default"].inputs) == ["x"]
        with pytest.raises(ServerError, match=r"Latest\(foo\)") as caught:
            light.predict("foo", {"x": 1.0})
        assert caught.value.code == Code.NOT_FOUND


async def test_the_light_client_speaks_asyncio(server: LiveServer) -> None:
    """Calls of one client run at the same time."""
    async with AsyncClient(f"127.0.0.1:{server.grpc_port}") as light:
        answers = await asyncio.gather(*(light.predict("half_plus_two", {"x": float(n)}) for n in range(20)))

        assert [float(answer["y"]) for answer in answers] == [0.5 * n + 2 for n in range(20)]
        assert (await light.status("half_plus_two"))[0].version == 1
        assert await light.regress("tf1_half_plus_two", [{"x": 2.0}], signature="regress_x_to_y") == [3.0]
