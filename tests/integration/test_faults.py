"""Processes of the server are killed or replaced under load; serving goes on."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from core.servable import ServableId, app_name
from core.server_settings import ServerSettings
from deployments.app import application
from deployments.model_server import DEPLOYMENT
from deployments.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until


def replica_pids(app: str, deployment: str) -> list[int]:
    """Give the processes of a deployment, as they name themselves."""
    title = f"ray::ServeReplica:{app}:{deployment}"
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _title(path) == title]


def _title(path: Path) -> str:
    try:
        return path.read_bytes().partition(b"\0")[0].decode(errors="replace").strip()
    except OSError:
        return ""


def kill(app: str, deployment: str) -> int:
    (pid,) = replica_pids(app, deployment)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_serving_goes_on_when_the_watcher_is_killed(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """No request fails, nothing that runs is restarted, and the new watcher goes on with new versions."""
    before = replica_pids(app_name(ServableId("half_plus_two", 1)), DEPLOYMENT)
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as load:
        old = kill(ROUTER_APP, "Watcher")
        wait_until(lambda: replica_pids(ROUTER_APP, "Watcher") not in ([], [old]), "a new watcher runs")
        server.copy_version("half_plus_three", 1, base_path)
        server.configure("after_watcher", base_path)
        wait_until(lambda: client.available("after_watcher") == {1}, "the new watcher loads")
    server.remove("after_watcher")

    assert load.failures == []
    assert replica_pids(app_name(ServableId("half_plus_two", 1)), DEPLOYMENT) == before


def test_a_killed_replica_is_replaced(server: LiveServer, client: RestClient) -> None:
    """Requests that were not on the killed replica succeed, and Serve brings the version back."""
    app = app_name(ServableId("half_plus_three", 1))
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as others:
        old = kill(app, DEPLOYMENT)
        wait_until(lambda: replica_pids(app, DEPLOYMENT) not in ([], [old]), "a new replica runs")
        wait_until(
            lambda: client.post("/v1/models/half_plus_three:predict", {"instances": [2.0]}).status == 200,
            "the version answers again",
        )

    assert others.failures == []


def test_a_router_redeployed_under_load_loses_no_request(server: LiveServer) -> None:
    """The new router opens the shared port before the old one closes it."""
    old = replica_pids(ROUTER_APP, "Router")
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as load:
        serve.run_many(
            [serve.RunTarget(target=application(server.settings), name=ROUTER_APP, route_prefix="/")],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        wait_until(lambda: not set(old) & set(replica_pids(ROUTER_APP, "Router")), "the old router is gone", 90)
        seen = load.count
        wait_until(lambda: load.count > seen + 100, "the new router answers")

    assert load.failures == []


def test_two_routers_of_a_node_share_the_port(server: LiveServer) -> None:
    """A second router opens the same port; when one is killed, the other goes on answering."""
    serve.run_many(
        [serve.RunTarget(target=application(with_two_routers(server)), name=ROUTER_APP, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )
    routers: DeploymentHandle = DeploymentHandle("Router", ROUTER_APP)
    wait_until(lambda: _open_doors(routers) == [True, True], "both doors are open", 90)

    wait_until(lambda: len(replica_pids(ROUTER_APP, "Router")) == 2, "the routers before them are gone")
    first, _ = replica_pids(ROUTER_APP, "Router")
    os.kill(first, signal.SIGKILL)
    client = RestClient(server.rest_port)
    wait_until(lambda: _answers(client), "the other router answers")
    wait_until(lambda: _open_doors(routers) == [True, True], "the killed router was replaced", 90)
    assert client.predict("half_plus_two", [2.0]) == [3.0]


def with_two_routers(server: LiveServer) -> ServerSettings:
    return replace(server.settings, cluster=replace(server.settings.cluster, router_replicas=2))


def _open_doors(routers: DeploymentHandle) -> list[bool]:
    try:
        return sorted(routers.broadcast("is_open").results(timeout_s=5))
    except (ray.exceptions.RayError, TimeoutError):
        return []


def _answers(client: RestClient) -> bool:
    try:
        return client.get("/healthz").status == 200
    except OSError:
        return False


def test_the_serve_controller_may_die(server: LiveServer) -> None:
    """Requests do not pass through Serve's controller; Ray brings it back."""
    controllers = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_ours(path)]
    assert controllers
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as load:
        for pid in controllers:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: load.count > 500, "requests go on")

    assert load.failures == []


def _is_ours(path: Path) -> bool:
    """Tell whether a process is the Serve controller of this session's Ray, and not of another server."""
    if not _title(path).startswith("ray::ServeController"):
        return False
    session = ray._private.worker._global_node.get_session_dir_path()
    try:
        return any(session in os.readlink(one) for one in path.parent.glob("fd/*"))
    except OSError:
        return False
