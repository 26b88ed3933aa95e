"""Hosted versions in a running server: the same answers, and the same behaviour when processes are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import ray
from ray import serve

from core.config.server_settings import LogSettings
from core.profiling.profile_request import ProfileRequest
from core.telemetry.metric_names import RUNTIME_LATENCY
from core.versions.hosted import host_app
from deployments.commands.admin_client import AdminClient
from deployments.versions.serve_host import submit
from deployments.versions.version_hosts import alive_nodes, host_target
from ray_model_client import Client
from tests.integration.conftest import LiveServer
from tests.integration.test_metrics import Difference
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.doors.infer_client import InferClient
from tests.support.infer_bodies import FORMS
from tests.support.processes import hosted_pids, replica_pids, version_pids
from tests.support.prometheus_page import scrape

URL = "/v1/models/hosted:predict"
BODY = {"instances": [2.0]}
CLIENTS = 4


def node() -> str:
    """Return the session's only node."""
    (only,) = alive_nodes()
    return only


def only(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the one output of a model."""
    (array,) = outputs.values()
    return array


def shown(client: RestClient, model: str) -> list[dict[str, object]]:
    """Return the versions of a model as the status page has them."""
    (found,) = (one for one in client.get("/status.json").json["models"] if one["name"] == model)
    return list(found["versions"])


def test_hosted_models_answer_in_every_protocol(server: LiveServer, client: RestClient) -> None:
    """REST, gRPC and version 2, with and without batching."""
    features = np.linspace(0, 1, 32, dtype=np.float32).reshape(1, 32)

    assert client.predict("hosted", [1.0, 2.0, 5.0]) == [2.5, 3.0, 4.5]
    with Client(f"127.0.0.1:{server.grpc_port}") as grpc:
        assert grpc.predict("hosted", {"x": [1.0, 2.0, 5.0]})["y"].tolist() == [2.5, 3.0, 4.5]
        own, hosted = (only(grpc.predict(name, {"features": features})) for name in ("mlp", "hosted_batched"))
    assert np.allclose(own, hosted, atol=1e-6)
    with InferClient(server.rest_port, server.grpc_port) as infer:
        for form in FORMS:
            assert np.allclose(only(infer.infer(form, "hosted_batched", {"features": features})), own, atol=1e-6)


def test_a_hosted_version_is_one_light_process_and_no_application(server: LiveServer, client: RestClient) -> None:
    """Serve knows the host alone; the status page says what is hosted."""
    assert len(hosted_pids("hosted", 1)) == 1
    assert version_pids("hosted", 1) == []
    assert "hosted:1" not in serve.status().applications
    assert host_app(node()) in serve.status().applications
    assert [(one["placement"], one["replicas"]) for one in shown(client, "hosted")] == [("hosted", 1)]
    assert [one["placement"] for one in shown(client, "half_plus_two")] == ["own"]


def test_answers_of_hosted_versions_are_counted(client: RestClient) -> None:
    """Each child's numbers reach the page as those of a replica do; requests of other tests are of another API."""
    before = scrape(client)

    for _ in range(5):
        inputs = [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2.0]}]
        assert client.post("/v2/models/hosted/infer", {"inputs": inputs}).status == 200

    assert Difference(before, client).comes_to(
        5, RUNTIME_LATENCY, "_count", model_name="hosted", API="ModelInfer", runtime="TF1"
    )


def test_a_hosted_version_can_be_recorded(server: LiveServer) -> None:
    """The host passes the request on to the child."""
    admin = AdminClient(f"127.0.0.1:{server.grpc_port}")
    try:
        with ClosedLoop(server.rest_port, URL, BODY):
            profile, version = admin.profile(ProfileRequest("hosted", 0.5))
    finally:
        admin.close()

    assert version == 1
    assert b"hosted" in profile


def test_a_hosted_version_is_replaced_by_its_successor_without_a_failed_request(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """And its process ends."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("hosted_changing", base_path)
    wait_until(lambda: client.available("hosted_changing") == {1}, "the first version answers")
    with ClosedLoop(server.rest_port, "/v1/models/hosted_changing:predict", BODY, CLIENTS) as load:
        wait_until(lambda: load.count > 100, "requests flow")
        server.copy_version("half_plus_two_versions", 1, base_path, as_version=2)
        wait_until(lambda: client.available("hosted_changing") == {2}, "the second version answers alone")
        seen = load.count
        wait_until(lambda: load.count > seen + 100, "requests flow afterwards")
    wait_until(lambda: not hosted_pids("hosted_changing", 1), "the first process is gone")
    server.remove("hosted_changing")
    wait_until(lambda: not hosted_pids("hosted_changing", 2), "the second one, too")

    assert load.failures == []


def test_a_broken_hosted_version_shows_its_error(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """Its process ends, and what is loaded is not disturbed."""
    (base_path / "1").mkdir()
    (base_path / "1" / "saved_model.pb").write_bytes(b"nothing of the kind")
    os.utime(base_path / "1" / "saved_model.pb", (0, 0))
    server.configure("hosted_broken", base_path)

    wait_until(lambda: client.states("hosted_broken") == {1: "END"}, "the version has failed")

    (version,) = shown(client, "hosted_broken")
    assert "saved_model.pb" in str(version["error"])
    wait_until(lambda: not hosted_pids("hosted_broken", 1), "no process is left")
    server.remove("hosted_broken")


def test_a_killed_child_is_forked_again(server: LiveServer) -> None:
    """Only what was in flight on it may fail."""
    (old,) = hosted_pids("hosted", 1)
    with ClosedLoop(server.rest_port, URL, BODY, CLIENTS) as load:
        wait_until(lambda: load.count > 100, "requests flow")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: hosted_pids("hosted", 1) not in ([], [old]), "another child runs")
        seen = load.count
        wait_until(lambda: load.count > seen + 100, "requests flow afterwards")

    assert len(load.failures) <= CLIENTS


def test_versions_outlive_the_process_that_forked_them(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """No request fails, and the next version is forked by its successor."""
    (zygote,) = (pid for pid in _forking())
    with ClosedLoop(server.rest_port, URL, BODY, CLIENTS) as load:
        os.kill(zygote, signal.SIGKILL)
        server.copy_version("half_plus_two_versions", 1, base_path)
        server.configure("hosted_changing", base_path)
        wait_until(lambda: client.available("hosted_changing") == {1}, "another version is loaded")
    server.remove("hosted_changing")

    assert load.failures == []


def test_versions_outlive_their_host(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """Serve replaces it, and it takes them over: none is loaded again, and no request fails."""
    before = hosted_pids("hosted", 1)
    (old,) = replica_pids(host_app(node()), "VersionHost")
    with ClosedLoop(server.rest_port, URL, BODY, CLIENTS) as load:
        wait_until(lambda: load.count > 100, "requests flow")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: replica_pids(host_app(node()), "VersionHost") not in ([], [old]), "another host runs")
        server.copy_version("half_plus_two_versions", 1, base_path)
        server.configure("hosted_changing", base_path)
        wait_until(lambda: client.available("hosted_changing") == {1}, "another version is loaded")
    server.remove("hosted_changing")

    assert load.failures == []
    assert hosted_pids("hosted", 1) == before


def test_a_host_runs_on_its_node(cluster: None) -> None:
    """Of two nodes, on the one that its application names; not wherever there is room."""
    with second_node() as (added, raylet):
        submit([host_target(added, LogSettings())])
        try:
            wait_until(lambda: bool(replica_pids_everywhere(added)), "the host of the second node runs")
            (replica,) = replica_pids_everywhere(added)
            assert raylet in {one.pid for one in psutil.Process(replica).parents()}
        finally:
            serve.delete(host_app(added))


def replica_pids_everywhere(node_id: str) -> list[int]:
    """Return the host processes of a node, also of one whose raylet has left the tests' family."""
    title = f"ray::ServeReplica:{host_app(node_id)}:VersionHost"
    found = (one.info for one in psutil.process_iter(["pid", "cmdline"]) if one.info["cmdline"])
    return [one["pid"] for one in found if one["cmdline"][0].startswith(title)]


@contextmanager
def second_node() -> Iterator[tuple[str, int]]:
    """Add a node to the session's Ray; gives its id and the process of its raylet."""
    before = alive_nodes()
    address = ray.get_runtime_context().gcs_address
    command = [str(Path(sys.executable).with_name("ray")), "start", f"--address={address}", "--num-cpus=0", "--block"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(alive_nodes()) > len(before), "the second node is there")
        (added,) = alive_nodes().keys() - before.keys()
        below = psutil.Process(started.pid).children(recursive=True)
        yield added, next(one.pid for one in below if one.name() == "raylet")
    finally:
        started.terminate()
        started.wait(60)
        wait_until(lambda: alive_nodes() == before, "the second node is gone")


def _forking() -> list[int]:
    """Return the process that forks hosted versions."""
    below = psutil.Process().children(recursive=True)
    return [one.pid for one in below if "deployments.hosting.zygote" in " ".join(one.cmdline())]
