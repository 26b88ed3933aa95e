"""Versions that are Python code, in a running server: their answers, their packages, and code that hangs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.protos import serving_pb2
from tests.integration.conftest import LiveServer
from tests.integration.test_broken_versions import final_error
from tests.integration.test_grpc import PREDICTION, call, predict_request
from tests.support.clients import RestClient, wait_until
from tests.support.processes import version_pids
from tests.support.python_models import ECHO, with_predict, write_model
from tests.support.wheels import write_wheel

MISBEHAVING = with_predict(
    "import sys, time",
    'code = inputs["x"][0, 0]',
    "if code == 1: raise ValueError('no ones')",
    "if code == 2: sys.exit(2)",
    "if code == 3: return {'y': [[1, 2], [3]]}",
    "while code == 9: time.sleep(0.1)",
    'return {"y": inputs["x"] * 2}',
)
AVAILABLE_S = 120


def configure(server: LiveServer, name: str, base_path: Path) -> None:
    """Add a model of this platform."""
    server.entries[name] = f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "python" }}'
    server.apply_config()


def available(client: RestClient, name: str) -> None:
    """Wait until version 1 answers."""
    wait_until(lambda: client.available(name) == {1}, f"{name} is available", AVAILABLE_S)


def test_a_version_answers_with_its_packages_over_both_protocols(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """A wheel beside no registry is installed before the code is imported; metadata shows the declaration."""
    wheel = write_wheel(base_path.parent / "wheels", "rms_tripling", "1.0", "FACTOR = 3")
    text = f"from rms_tripling import FACTOR\n{with_predict('return {chr(121): inputs[chr(120)] * FACTOR}')}"
    version = write_model(base_path / "1.new", text + "    batch = {'max_batch_size': 4}\n")
    (version / "requirements.txt").write_text(f"rms-tripling @ {wheel.as_uri()}\n")
    version.rename(base_path / "1")
    configure(server, "tripling", base_path)
    available(client, "tripling")

    assert client.predict("tripling", [[1.0, 2.0]]) == [[3.0, 6.0]]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = predict_request("tripling", x=np.ones((2, 2), np.float32))
        answer = call(channel, f"{PREDICTION}Predict", request, serving_pb2.PredictResponse)
    assert list(answer.outputs["y"].float_val) == [3.0] * 4
    metadata = client.get("/v1/models/tripling/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert metadata["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    too_many = client.post("/v1/models/tripling:predict", {"instances": [[0.0, 0.0]] * 5})
    assert "larger than maximum input batch size 4" in too_many.error


@pytest.mark.parametrize(
    ("text", "requirements", "told"),
    [
        (
            ECHO,
            "rms-nothing @ file:///nowhere/rms_nothing-1.0-py3-none-any.whl",
            "requirements.txt cannot be installed: ",
        ),
        ("class Model:\n    def load(self", "", "model.py, line 2: SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_the_status(
    server: LiveServer, client: RestClient, base_path: Path, text: str, requirements: str, told: str
) -> None:
    """At once, because only another file can repair it."""
    version = write_model(base_path / "1.new", text)
    (version / "requirements.txt").write_text(requirements)
    version.rename(base_path / "1")
    name = f"untold{len(requirements)}"
    configure(server, name, base_path)

    status = final_error(client, name)

    assert status["error_code"] == "INVALID_ARGUMENT"
    assert told in status["error_message"]
    assert str(base_path / "1") in status["error_message"]


def test_code_that_hangs_keeps_nobody_else_waiting(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """Its callers hear at their deadline; when every thread hangs, another process takes over."""
    write_model(base_path / "1.new", MISBEHAVING).rename(base_path / "1")
    configure(server, "hanging", base_path)
    available(client, "hanging")
    path = "/v1/models/hanging:predict"
    assert client.post(path, {"instances": [[1, 0]]}).error == "no ones"
    assert "Model.predict of" in client.post(path, {"instances": [[2, 0]]}).error
    assert "its rows have different lengths" in client.post(path, {"instances": [[3, 0]]}).error
    for _ in range(20):  # from now on its calls are known as short
        assert client.predict("hanging", [[5, 0]]) == [[10, 0]]
    (process,) = version_pids("hanging", 1)

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:

        def hang() -> grpc.StatusCode:
            request = predict_request("hanging", x=np.array([[9, 0]], np.float32))
            with pytest.raises(grpc.RpcError) as failed:
                call(channel, f"{PREDICTION}Predict", request, serving_pb2.PredictResponse, timeout=1.0)
            code: grpc.StatusCode = failed.value.code()
            return code

        assert hang() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert client.predict("hanging", [[5, 0]]) == [[10, 0]]
        assert client.predict("half_plus_two", [2.0]) == [3.0]
        many = 8 * (os.cpu_count() or 1)
        with ThreadPoolExecutor(many) as callers:
            codes = list(callers.map(lambda _: hang(), range(many)))

    assert set(codes) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    wait_until(lambda: version_pids("hanging", 1) not in ([], [process]), "another process was started", AVAILABLE_S)
    wait_until(lambda: client.post(path, {"instances": [[5, 0]]}).status == 200, "it answers again", AVAILABLE_S)
