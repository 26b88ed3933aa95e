"""The server as KServe starts it: the runtime's own arguments answer all four protocols, and what the guides show works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest

from core.protos import oip_pb2
from ray_model_client import Client
from tests.conftest import default_cache
from tests.integration.test_cli import running
from tests.support import kserve_runtime
from tests.support.client_environments import OIP_CLIENTS, SUPPORT, run_client
from tests.support.clients import RestClient, free_port, wait_until
from tests.support.project import ROOT

MODEL = "half_plus_two"
FLOATS = np.float32([1.0, 2.0, 5.0])
GUIDES = ("docs/open_inference_protocol.md", "README.md")
EXAMPLE = re.compile(r"^```sh\n([^`]*?/v2[^`]*?)^```\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pod:
    """The ports of the server in the pod."""

    rest_port: int
    grpc_port: int


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A server with the runtime's arguments, for a service with the name of the guides' model."""
    models = tmp_path_factory.mktemp("mnt") / "models"
    shutil.copytree(ROOT / "examples" / "models" / MODEL, models)
    ports = Pod(free_port(), free_port())
    changed = {"model_base_path": models, "port": ports.grpc_port, "rest_api_port": ports.rest_port}
    with running(*kserve_runtime.arguments(MODEL, changed), rest_port=ports.rest_port):
        # A model that was copied a moment ago waits until its files stop changing.
        wait_until(lambda: RestClient(ports.rest_port).get("/readyz").status == 200, "the model answers", 60)
        yield ports


def test_the_probes_of_the_runtime_succeed(pod: Pod) -> None:
    """KServe sends requests to a pod whose readiness probe does."""
    container = kserve_runtime.container()
    paths = {container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert {RestClient(pod.rest_port).get(path).status for path in paths} == {200}


def test_the_runtime_answers_v1(pod: Pod) -> None:
    """TensorFlow Serving's REST API, by the service's name."""
    reply = RestClient(pod.rest_port).post(f"/v1/models/{MODEL}:predict", json.dumps({"instances": [1.0, 2.0, 5.0]}))

    assert reply.json == {"predictions": [2.5, 3.0, 4.5]}


def test_the_runtime_answers_v2(pod: Pod) -> None:
    """The Open Inference Protocol over REST."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": FLOATS.tolist()}]}
    reply = RestClient(pod.rest_port).post(f"/v2/models/{MODEL}/infer", json.dumps(body))

    assert reply.json["outputs"][0]["data"] == [2.5, 3.0, 4.5]


def test_the_runtime_answers_grpc_v1(pod: Pod) -> None:
    """TensorFlow Serving's gRPC API."""
    with Client(f"127.0.0.1:{pod.grpc_port}") as client:
        assert client.predict(MODEL, {"x": FLOATS})["y"].tolist() == [2.5, 3.0, 4.5]


def test_the_runtime_answers_grpc_v2(pod: Pod) -> None:
    """The Open Inference Protocol over gRPC."""
    request = oip_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[FLOATS.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[3])
    with grpc.insecure_channel(f"127.0.0.1:{pod.grpc_port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            oip_pb2.ModelInferRequest.SerializeToString,
            oip_pb2.ModelInferResponse.FromString,
        )
        answer = infer(request, timeout=60)

    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.5, 3.0, 4.5]


@pytest.mark.oip_clients
def test_the_classes_of_kserves_sdk_read_the_runtime() -> None:
    """They and those of Kubernetes' client know every field, and lose none."""
    environment = next(one for one in OIP_CLIENTS if one.name == "kserve")
    interpreter = environment.made(default_cache().parent)
    program = SUPPORT / "oip_clients" / "kserve_runtime.py"

    assert run_client(interpreter, program, [kserve_runtime.RUNTIME]) == {"unknown": [], "changed": [], "read": 2}


def examples() -> list[Any]:
    """Return the commands of the guides that are followed by their answer."""
    found = [(name, *pair) for name in GUIDES for pair in EXAMPLE.findall((ROOT / name).read_text(encoding="utf-8"))]
    return [pytest.param(command, json.loads(answer), id=f"{name}: {command[:60]}") for name, command, answer in found]


@pytest.mark.parametrize(("command", "answer"), examples())
def test_the_commands_of_the_guides_give_the_answers_beside_them(pod: Pod, command: str, answer: object) -> None:
    """A reader who pastes them sees what the guide shows."""
    pasted = command.replace("127.0.0.1:8501", f"127.0.0.1:{pod.rest_port}")
    done = subprocess.run(
        ["bash", "-euc", pasted.replace("curl ", "curl --silent ")], capture_output=True, timeout=60, check=True
    )

    assert json.loads(done.stdout) == answer
