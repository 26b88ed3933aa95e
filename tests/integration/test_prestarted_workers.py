"""Versions start in workers that were waiting for them, with a real Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, wait_until
from tests.support.processes import processes_titled, version_pids
from tests.support.project import ROOT

IDLE = "ray::IDLE"

A_RAY_OF_ITS_OWN = """
import os, sys
from deployments.launch.ray_environment import prepare
prepare(os.environ)

import psutil, ray
from deployments.workers.spare_workers import RayRaylets
from tests.support.clients import wait_until
from tests.support.processes import processes_titled

ray.init(address="local", include_dashboard=False, num_cpus=1, log_to_driver=False, _temp_dir=sys.argv[1])
raylets = RayRaylets(ray.get_runtime_context().get_runtime_env_string())
(address,) = raylets.nodes().values()
wait_until(lambda: raylets.idle_workers(address) > 0, "the worker that Ray starts by itself waits", 60.0)
raylets.prestart(address, 2)
wait_until(lambda: raylets.idle_workers(address) > 1, "another one waits", 60.0)
waiting = processes_titled("ray::IDLE")
maps = lambda pid: " ".join(one.path for one in psutil.Process(pid).memory_maps())
wait_until(lambda: all("libtensorflow_cc" in maps(pid) for pid in waiting), "they opened TensorFlow's library", 60.0)


@ray.remote(num_cpus=0)
class Taker:
    def facts(self):
        return os.getpid(), "deployments.model_server" in sys.modules, "libtensorflow_cc" in maps(os.getpid())


takers = [Taker.remote() for _ in waiting]
taken = ray.get([one.facts.remote() for one in takers])
assert sorted(taken) == [(pid, True, True) for pid in sorted(waiting)], (taken, waiting)
late = Taker.remote()
assert ray.get(late.facts.remote())[1:] == (False, False), "a worker that never waited carries nothing"
"""


@pytest.fixture
def base(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[Path]:
    """The base path of a model that is removed again."""
    yield base_path
    server.remove("spare")
    wait_until(lambda: "AVAILABLE" not in client.states("spare").values(), "the model is unloaded")


def test_a_version_takes_a_worker_that_waited(server: LiveServer, client: RestClient, base: Path) -> None:
    """And another one waits some time later, for the next version; a model that is scaled up may take one before."""
    server.copy_version("half_plus_two", 1, base)
    server.configure("spare", base)
    wait_until(lambda: client.available("spare") == {1}, "version 1 is available")

    assert any(took_a_waiting_worker(server, client, base, version) for version in (2, 3, 4))


def took_a_waiting_worker(server: LiveServer, client: RestClient, base: Path, version: int) -> bool:
    """Bring a version when a worker waits."""
    wait_until(lambda: bool(processes_titled(IDLE)), "a worker waits")
    waiting = processes_titled(IDLE)
    server.copy_version("half_plus_two", 1, base, as_version=version)
    wait_until(lambda: client.available("spare") == {version}, f"version {version} is available")
    return set(version_pids("spare", version)) <= set(waiting)


@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_workers_that_wait_are_warm_with_and_without_a_token(mode: str) -> None:
    """The calls bear the token that Ray's own programs bear, and workers that never waited carry nothing."""
    with tempfile.TemporaryDirectory(prefix="rms-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", A_RAY_OF_ITS_OWN, folder]
        environment = {**os.environ, "RAY_AUTH_MODE": mode, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
