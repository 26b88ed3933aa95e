"""Processes of the server are killed or replaced under load; serving goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from core.versions.servable import DEPLOYMENT, ServableId, app_name
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer, deploy
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import kill, processes_titled, replica_pids


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
        deploy(server.settings)
        wait_until(lambda: not set(old) & set(replica_pids(ROUTER_APP, "Router")), "the old router is gone", 180)
        seen = load.count
        wait_until(lambda: load.count > seen + 100, "the new router answers")

    assert load.failures == []


def test_the_serve_controller_may_die(server: LiveServer) -> None:
    """Requests do not pass through Serve's controller; Ray brings it back."""
    controllers = processes_titled("ray::ServeController")
    assert controllers
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as load:
        for pid in controllers:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: load.count > 500, "requests go on")

    assert load.failures == []
