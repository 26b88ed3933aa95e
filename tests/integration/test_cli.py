"""The console script as a person or an init system runs it: own processes, own Ray, signals, exit statuses."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from ray_model_client import Client
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import RestClient, free_port, wait_until
from tests.support.doors.raw_http import RawConnection
from tests.support.lite_models import LITE_MODELS

SCRIPT = Path(sys.executable).with_name("ray_model_server")
SLOW_BODY = b'{"inputs": 400}'
SLOW_HEAD = (
    b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    % len(SLOW_BODY)
)


@contextmanager
def running(*flags: str, rest_port: int, tls: ssl.SSLContext | None = None) -> Iterator[subprocess.Popen[str]]:
    """A server in a process group of its own that answers; ended by its id if the test did not end it."""
    environment = os.environ | {"RAY_AUTH_MODE": "token"}
    process = subprocess.Popen(
        [SCRIPT, f"--rest_api_port={rest_port}", "--host=127.0.0.1", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, process_group=0,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or answers(rest_port, tls), "the server answers", 240)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=120)


def answers(port: int, tls: ssl.SSLContext | None = None) -> bool:
    try:
        return (RestClient(port).get("/healthz").status if tls is None else encrypted(port, tls, "/healthz")[0]) == 200
    except OSError:
        return False


def encrypted(port: int, tls: ssl.SSLContext, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Send a request over HTTPS; gives status and body."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=tls)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def finished(*flags: str) -> tuple[int, str]:
    """Run the script to its end; gives exit status and output."""
    done = subprocess.run([SCRIPT, *flags], capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def descendants(pid: int) -> list[int]:
    """Return all processes below a process."""
    children = [int(text) for path in Path(f"/proc/{pid}/task").glob("*/children") for text in path.read_text().split()]
    return [*children, *(pid for child in children for pid in descendants(child))]


def kill_router(server: int) -> None:
    """Kill the only router of a server."""
    [router] = [pid for pid in descendants(server) if b"ServeReplica:router:Router" in cmdline(pid)]
    os.kill(router, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{router}").exists(), "the router is gone")


def cmdline(pid: int) -> bytes:
    """Return the command line, or the title, of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.timeout(600)
def test_two_servers_run_side_by_side_and_stop_cleanly(saved_models: Path, tmp_path: Path) -> None:
    """Each has its own Ray; SIGTERM to all of one's processes lets a request in flight finish, and leaves nothing behind.

    That is how systemd stops a unit by default, and more than a group gets. The other one is encrypted on both ports,
    with certificates from one file.
    """
    first, second, second_grpc = free_port(), free_port(), free_port()
    authority, certificates = Authority(), tmp_path / "ssl"
    write_ssl_config(certificates, authority)
    tls = ssl.create_default_context(cadata=authority.certificate)
    with (
        running(
            f"--port={free_port()}", "--router_replicas=1",
            "--model_name=slow", f"--model_base_path={saved_models / 'slow'}", rest_port=first,
        ) as one,
        running(
            f"--port={second_grpc}", "--model_name=m", f"--model_base_path={saved_models / 'half_plus_two'}",
            f"--ssl_config_file={certificates}", f"--rest_api_ssl_config_file={certificates}",
            rest_port=second, tls=tls,
        ) as other,
    ):  # fmt: skip
        kill_router(one.pid)
        assert answers(first), "the connection waits for the next router, and is not refused"
        below = descendants(one.pid)
        with RawConnection(first, timeout_s=60) as connection:
            assert connection.ask(SLOW_HEAD).status == 100  # the server has the request, and waits for its body

            for pid in (one.pid, *below):
                os.kill(pid, signal.SIGTERM)

            wait_until(lambda: not answers(first), "the port is closed")
            assert connection.ask(SLOW_BODY).status == 200
        assert one.wait(timeout=120) == 0
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "no process is left")
        status, answer = encrypted(second, tls, "/v1/models/m:predict", '{"instances": [2.0]}')
        assert (status, json.loads(answer)) == (200, {"predictions": [3.0]})
        credentials = grpc.ssl_channel_credentials(authority.certificate.encode())
        with Client(f"localhost:{second_grpc}", credentials=credentials) as client:
            assert client.predict("m", {"x": 2.0})["y"] == 3.0
        assert not answers(second)
        os.killpg(other.pid, signal.SIGINT)
        assert other.wait(timeout=120) == 0
        assert other.stdout is not None
        assert other.stdout.read().endswith("s] stopped\n")


@pytest.mark.timeout(240)
def test_a_tensorflow_lite_model_is_preferred_with_tensorflow_servings_flag(saved_models: Path, tmp_path: Path) -> None:
    """Beside a SavedModel that answers otherwise; over gRPC and REST, and with its own signature."""
    shutil.copytree(saved_models / "half_plus_three" / "1", tmp_path / "m" / "1")
    shutil.copytree(LITE_MODELS / "half_plus_two" / "1", tmp_path / "m" / "1", dirs_exist_ok=True)
    rest, rpc = free_port(), free_port()
    flags = ("--prefer_tflite_model=true", "--num_tflite_pools=2", "--num_tflite_interpreters_per_pool=2")

    with running(
        f"--port={rpc}", "--router_replicas=1", "--model_name=m", f"--model_base_path={tmp_path / 'm'}", *flags,
        rest_port=rest,
    ):  # fmt: skip
        client = RestClient(rest)
        wait_until(lambda: client.available("m") == {1}, "the version is available", 60)
        assert client.post("/v1/models/m:predict", {"instances": [[2.0]] * 300}).json == {"predictions": [[3.0]] * 300}
        with Client(f"127.0.0.1:{rpc}") as grpc_client:
            assert grpc_client.predict("m", {"x": np.array([2.0], np.float32)})["y"].tolist() == [3.0]
        client.close()


def test_a_taken_port_is_refused_at_once(saved_models: Path) -> None:
    """A second server on the same port would silently get half of the requests, so it does not start."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        status, output = finished(
            "--port=0", "--grpc_socket_path=/nonexistent/s", "--host=127.0.0.1", f"--rest_api_port={port}",
            f"--model_base_path={saved_models / 'half_plus_two'}",
        )  # fmt: skip

    assert status == 255
    assert f"Port {port} (REST) is taken" in output


def test_every_mistake_of_a_configuration_is_told_before_anything_starts(tmp_path: Path) -> None:
    """The exit status is TensorFlow Serving's, and each mistake has its file and line."""
    config = tmp_path / "models.config"
    config.write_text(
        'model_config_list {\n  config { name: "a" base_path: "/a" model_platform: "tensorflow" }\n'
        '  config { name: "a" base_path: "b" model_platform: "pytorch" }\n}\n'
    )

    status, output = finished(f"--model_config_file={config}")

    assert status == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT" in output
    assert "Illegal to list model a multiple times in config list" in output
    assert "Expected model a to have an absolute path or URI; got base_path()=b" in output
    assert "Model a requests unsupported platform pytorch" in output
    assert f"{config}:3" in output


def test_case_J27_a_file_that_cannot_be_parsed(tmp_path: Path) -> None:
    """The text names the message that was expected, on stderr, where scripts look for it."""
    config = tmp_path / "models.config"
    config.write_text("improperly formatted file")

    done = subprocess.run([SCRIPT, f"--model_config_file={config}"], capture_output=True, text=True, check=False)

    assert done.returncode == 255
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1: " in done.stderr


def test_case_J32_a_batching_file_without_batching() -> None:
    """Flags that contradict each other are refused with TensorFlow Serving's text."""
    status, output = finished("--batching_parameters_file=/x", "--model_base_path=/m")

    assert status == 255
    assert (
        "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        in output
    )


def test_no_model_source_is_an_error() -> None:
    """Without a base path and a file there is nothing to serve."""
    status, output = finished()

    assert status == 255
    assert "Both server_options.model_base_path and server_options.model_config_file are empty!" in output


def test_a_flag_with_a_space_is_not_understood() -> None:
    """`--port 8500` is two unknown arguments; usage is shown."""
    status, output = finished("--port", "8500")

    assert status == 255
    assert "unknown argument: --port" in output
    assert "usage: ray_model_server" in output


def test_version_names_server_and_library() -> None:
    """`--version` prints two lines and starts nothing."""
    status, output = finished("--version")

    assert status == 0
    assert [line.partition(":")[0] for line in output.splitlines()] == ["Ray Model Server", "TensorFlow Library"]
