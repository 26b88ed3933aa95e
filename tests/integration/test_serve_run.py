"""`make serve`, a config of Ray Serve, with Serve's default settings and with its HAProxy mode."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from core.protos import serving_pb2
from ray_model_client import Client
from tests.conftest import default_cache
from tests.support.client_environments import compared
from tests.support.clients import ClosedLoop, RestClient, free_port, wait_until
from tests.support.infer_bodies import grpc_arrays, named, raw_grpc_infer
from tests.support.project import ROOT

STOCK_MODELS = {"tf1_half_plus_two": "123", "text_upper": "1", "several": "1"}
STOCK_METHODS = {
    "Predict",
    "Classify",
    "Regress",
    "MultiInference",
    "GetModelMetadata",
    "GetModelStatus",
    "HandleReloadConfigRequest",
    "SessionRun",
}
OUR_LINE = re.compile(r"\[ *\d+\.\d s\] |Everyone who reaches ports ")
"""Each line has the time since the start, but for what is open to whom; what Ray and TensorFlow write goes to files."""

HA_PROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}


@contextmanager
def serve_run(
    folder: Path, base_paths: Mapping[str, Path], env_vars: Mapping[str, str]
) -> Iterator[tuple[int, int, int, int]]:
    """The command on a changed copy of configs/app.yaml; gives REST, gRPC and Serve's own HTTP and gRPC port."""
    app: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "app.yaml").read_text())
    rest, rpc, proxy, proxy_rpc = (free_port() for _ in range(4))
    app["http_options"] = {"host": "0.0.0.0", "port": proxy}
    app["grpc_options"]["port"] = proxy_rpc
    app["controller_options"] = {"runtime_env": {"env_vars": dict(env_vars)}}
    app["applications"][0]["args"] |= {
        "port": rpc, "rest_api_port": rest, "model_config_file": str(folder / "models.config"),
        "host": "127.0.0.1", "drain_timeout_s": 5,
        "model_settings_file": str(folder / "settings.yaml"), "model_config_file_poll_wait_seconds": 1,
    }  # fmt: skip
    (folder / "settings.yaml").write_text("models: {}")
    (folder / "app.yaml").write_text(yaml.safe_dump(app))
    entries = (f'config {{ name: "{n}" base_path: "{p}" model_platform: "tensorflow" }}' for n, p in base_paths.items())
    (folder / "models.config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    environment = os.environ | {"RAY_ADDRESS": "local", **env_vars}
    with (folder / "log").open("w") as output:
        process = subprocess.Popen(
            command(folder), cwd=ROOT, env=environment, stdout=output, stderr=output, process_group=0
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(folder), "the server is ready", 240)
        assert process.poll() is None, (folder / "log").read_text(errors="replace")[-5000:]
        yield rest, rpc, proxy, proxy_rpc
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=120) == 0
        lines = (folder / "log").read_text().splitlines()
        assert lines[-1].endswith("stopped")
        assert [line for line in lines if not OUR_LINE.match(line)] == []
    finally:
        process.kill()


def is_ready(folder: Path) -> bool:
    return "] ready: " in (folder / "log").read_text()


def command(folder: Path) -> list[str]:
    """Return the command of `make serve`."""
    return [sys.executable, "-m", "deployments.launch.serve_run", str(folder / "app.yaml")]


def assert_a_second_one_is_refused(folder: Path, port: int) -> None:
    """It ends with one line, which names the port and its holder, before anything of Ray starts."""
    environment = os.environ | {"RAY_ADDRESS": "local"}
    second = subprocess.run(command(folder), cwd=ROOT, env=environment, capture_output=True, timeout=200, check=False)
    text = (
        rf"Failed to start server\. Error: FAILED_PRECONDITION: Port {port} \(gRPC\) is taken by .* \(process \d+\).*\n"
    )
    assert second.returncode == 255
    assert re.fullmatch(text, second.stdout.decode())


def answers(port: int) -> bool:
    try:
        return RestClient(port).get("/healthz").status == 200
    except OSError:
        return False


@pytest.mark.stock_client
@pytest.mark.timeout(600)
@pytest.mark.parametrize("env_vars", [pytest.param({}, id="default"), pytest.param(HA_PROXY, id="HAProxy")])
def test_serve_run_answers_on_all_doors(tmp_path: Path, saved_models: Path, env_vars: dict[str, str]) -> None:
    """The router's own ports and Serve's lead to the same code, for all methods and for 64 MiB; versions roll."""
    base = tmp_path / "base"
    copy_version(saved_models, base, 1)
    base_paths = {"m": base} | {name: saved_models / name for name in STOCK_MODELS if not env_vars}
    with serve_run(tmp_path, base_paths, env_vars) as (rest, rpc, proxy, proxy_rpc):
        own, serves = RestClient(rest), RestClient(proxy)
        wait_until(lambda: answers(proxy), "Serve's own door answers")
        assert own.predict("m", [2.0]) == [2.0]
        assert serves.predict("m", [2.0]) == [2.0]
        assert serves.post("/v1/models/x:predict", {"instances": [1]}).status == 404
        assert serves.get("/v1/models/m").json == own.get("/v1/models/m").json
        for one in (own, serves):
            assert (infer(one, [2.0]), one.get("/v2/models/m/ready").status) == ([2.0], 200)
            assert one.post("/v2/models/x/infer", {}).status == 404
        assert b':request_count{model_name="m",status="OK"} ' in serves.get("/monitoring/prometheus/metrics").body
        assert grpc_predict(rpc, "m", 2.0) == 2.0
        assert grpc_predict(proxy_rpc, "m", 2.0) == 2.0
        assert grpc_infer(proxy_rpc, "m", 2.0) == grpc_infer(rpc, "m", 2.0) == 2.0
        large = np.zeros(2**24, np.float32)
        with Client(f"127.0.0.1:{proxy_rpc}") as light:
            assert light.predict("m", {"x": large})["y"].tobytes() == np.full_like(large, 1.0).tobytes()
        if not env_vars:
            assert_a_second_one_is_refused(tmp_path, rpc)
            stock = {"m": base / "1"} | {name: saved_models / name / version for name, version in STOCK_MODELS.items()}
            told = compared(default_cache().parent, f"127.0.0.1:{proxy_rpc}", stock)
            assert (told["different"], set(told["compared"])) == ([], STOCK_METHODS)

        with ClosedLoop(rest, "/v1/models/m:predict", {"instances": [2.0]}, clients=2) as load:
            copy_version(saved_models, base, 2)
            wait_until(lambda: own.available("m") == {2}, "version 2 took over")
        assert load.failures == []
        assert serves.predict("m", [2.0]) == [3.0]
        assert_all_doors_keep_a_limit(tmp_path, (own, serves), (rpc, proxy_rpc))


def assert_all_doors_keep_a_limit(folder: Path, clients: Iterable[RestClient], ports: Iterable[int]) -> None:
    """It comes with a changed file, and each door says when to try again."""
    (folder / "settings.new").write_text("models: {m: {max_requests_per_second: 0.001}}")
    (folder / "settings.new").rename(folder / "settings.yaml")
    for client in clients:
        ask = partial(client.post, "/v1/models/m:predict", {"instances": [2.0]})
        wait_until(lambda ask=ask: ask().status == 429, "requests are refused")
        assert int(ask().headers["retry-after"]) > 100
    for port in ports:
        with pytest.raises(grpc.RpcError) as refused:
            grpc_predict(port, "m", 2.0)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 100_000


def infer(client: RestClient, values: list[float]) -> list[float]:
    """Ask by the Open Inference Protocol."""
    one = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}
    return client.post("/v2/models/m/infer", {"inputs": [one]}).json["outputs"][0]["data"]


def copy_version(saved_models: Path, base: Path, version: int) -> None:
    base.mkdir(exist_ok=True)
    aside = base / f"{version}.copying"
    subprocess.run(["cp", "-r", saved_models / "half_plus_two_versions" / str(version), aside], check=True)
    aside.rename(base / str(version))


def grpc_infer(port: int, model: str, value: float) -> float:
    body = named(raw_grpc_infer({"x": np.array(value, np.float32)}), model)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(body, timeout=60)
    return float(grpc_arrays(answer)["y"])


def grpc_predict(port: int, model: str, value: float) -> float:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(value)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=serving_pb2.PredictRequest.SerializeToString,
            response_deserializer=serving_pb2.PredictResponse.FromString,
        )
        answer = predict(request, timeout=60)
    return float(answer.outputs["y"].float_val[0])
