"""A cluster that is joined: what a killed launcher leaves there is taken over, what a living one runs is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clients import ClosedLoop, RestClient, free_port, wait_until
from tests.support.processes import hosted_pids
from tests.support.project import ROOT

SCRIPT = Path(sys.executable).with_name("ray_model_server")
CLUSTER = """
import sys
from deployments.launch.ray_start import start_ray
from tests.support.started_ray import RayInit
import ray
start_ray(RayInit(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1],
                  object_store_memory=256 * 1024 * 1024), lambda _: None)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def cluster() -> Iterator[str]:
    """A Ray that is not the server's; gives its address."""
    with tempfile.TemporaryDirectory(prefix="rms-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", CLUSTER, folder]
        with subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as ray:
            assert ray.stdout is not None
            yield ray.stdout.readline().strip()
            ray.communicate()


@contextmanager
def launched(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A server on that cluster, and the file with its output."""
    output = folder / f"{len(list(folder.iterdir()))}.log"
    with output.open("w") as file:
        process = subprocess.Popen([SCRIPT, *flags], env=ENVIRONMENT, stdout=file, stderr=file)
    try:
        yield process, output
    finally:
        process.kill()
        process.wait(60)


def is_ready(output: Path) -> bool:
    return "] ready" in output.read_text()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_hosted", [False, True], ids=["own", "hosted"])
def test_what_a_killed_launcher_left_is_taken_over(saved_models: Path, tmp_path: Path, *, is_hosted: bool) -> None:
    """It says what it found; requests are answered all the time; at the end the cluster has nothing of ours."""
    rest = free_port()
    with cluster() as address:
        flags = (
            f"--ray_address={address}", f"--rest_api_port={rest}", f"--port={free_port()}", "--host=127.0.0.1",
            "--model_name=m", f"--model_base_path={saved_models / 'half_plus_two'}",
            f"--host_light_versions={str(is_hosted).lower()}",
        )  # fmt: skip
        with launched(tmp_path, *flags) as (first, output):
            wait_until(lambda: is_ready(output), "the first server is ready", 180)
            with launched(tmp_path, *flags) as (second, refusal):
                assert second.wait(60) == 255
            left = hosted_pids("m", 1)
            assert len(left) == is_hosted
            assert f"already runs on this cluster (process {first.pid} on " in refusal.read_text()
        with launched(tmp_path, *flags) as (heir, output):
            with ClosedLoop(rest, "/v1/models/m:predict", {"instances": [2.0]}, clients=2) as load:
                wait_until(lambda: is_ready(output), "the second server is ready", 180)
            assert load.failures == []
            assert hosted_pids("m", 1) == left
            heir.send_signal(signal.SIGTERM)
            assert heir.wait(60) == 0
        assert f"taking over the server that process {first.pid} on " in output.read_text()
        assert "m:1 stay" in output.read_text()
        assert hosted_pids("m", 1) == []
        with pytest.raises(OSError, match="refused"):
            RestClient(rest).get("/healthz")
