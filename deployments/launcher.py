"""Runs the server on a Ray that is up: deploys, says what happens meanwhile, drains, and leaves nothing behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ray import serve
from ray.serve.schema import ApplicationStatus

from core.errors import FailedPrecondition, Unavailable
from core.lifecycle import State
from core.routing import ModelRoutes, RoutingTable
from core.server_settings import ServerSettings
from deployments.app import application
from deployments.head_start import first_loads
from deployments.ray_cluster import RayCluster
from deployments.serve_host import ROUTER_APP, RayServeHost

POLL_S = 0.1
LONGEST_DELETE_S = 60.0

Say = Callable[[str], None]


class Launcher:
    """One run of the console script."""

    def __init__(self, settings: ServerSettings, cluster: RayCluster, stop: threading.Event, say: Say) -> None:
        self._settings = settings
        self._cluster = cluster
        self._stop = stop
        self._say = say

    def run(self) -> None:
        """Start, serve until told to stop, drain, end."""
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        self._start_application()
        if not self._stop.is_set():
            self._announce()
        while not self._stop.wait(1.0):
            pass
        self._say("stopping: finishing the requests in flight")
        self._stop_application()

    def _start_application(self) -> None:
        self._say("starting Ray Serve")
        if self._cluster.is_own:
            serve.start(proxy_location="Disabled")
        elif ROUTER_APP in serve.status().applications:
            raise FailedPrecondition("A Ray Model Server already runs on this cluster; stop it first.")
        self._say("starting router and watcher")
        serve.run_many(
            [
                serve.RunTarget(
                    target=application(self._settings),
                    name=ROUTER_APP,
                    route_prefix="/",
                    logging_config={"enable_access_log": False},
                ),
                *first_loads(self._settings),
            ],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        self._wait(self._is_running)
        host = RayServeHost()
        progress = _Progress(self._say)
        self._wait(lambda: self._is_open(host, progress))

    def _wait(self, done: Callable[[], bool]) -> None:
        while not self._stop.is_set() and not done():
            self._stop.wait(POLL_S)

    def _is_running(self) -> bool:
        seen = serve.status().applications.get(ROUTER_APP)
        if seen is None:
            return False
        if seen.status is ApplicationStatus.DEPLOY_FAILED:
            details = [one.message for one in seen.deployments.values() if one.message]
            raise Unavailable("\n".join(details) or seen.message)
        return seen.status is ApplicationStatus.RUNNING

    @staticmethod
    def _is_open(host: RayServeHost, progress: _Progress) -> bool:
        try:
            for table in host.tables():
                progress.show(table)
            return host.are_doors_open()
        except Unavailable:
            return False

    def _announce(self) -> None:
        door = self._settings.front_door
        host = door.host or "127.0.0.1"
        if door.rest_port:
            scheme = "https" if door.rest_ssl_config_file else "http"
            self._say(f"REST is open: {scheme}://{host}:{door.rest_port}/v1/models")
        self._say("ready")

    def _stop_application(self) -> None:
        """Close the door first and the models after it, so that requests in flight still find their version."""
        serve.delete(ROUTER_APP, _blocking=False)
        self._wait_gone(lambda: ROUTER_APP not in serve.status().applications)
        host = RayServeHost()
        for app in host.observe():
            host.delete(app)
        self._wait_gone(lambda: not host.observe())

    def _wait_gone(self, gone: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + self._settings.front_door.drain_timeout_s + LONGEST_DELETE_S
        while not gone() and time.monotonic() < ends_at:
            time.sleep(POLL_S)


class _Progress:
    """Tells what happens to the models while the server starts; each line once."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said: set[str] = set()

    def show(self, table: RoutingTable) -> None:
        """Print what is new in the table."""
        for name in sorted(table.models):
            for line in _lines(name, table.models[name]):
                if line not in self._said:
                    self._said.add(line)
                    self._say(line)


def _lines(name: str, model: ModelRoutes) -> list[str]:
    lines = []
    for one in model.statuses:
        if one.state is State.END and one.message:
            lines.append(f"{name} version {one.version} FAILED: {one.message}")
        else:
            lines.append(f"{name} version {one.version} {one.state.name.lower()}")
    lines += [f"{name} version {number} {why}" for number, why in model.waiting.items()]
    return [*lines, f"{name}: {model.problem}"] if model.problem else lines
