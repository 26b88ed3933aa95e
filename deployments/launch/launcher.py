"""Runs the server on a Ray that is up: deploys, reports progress, drains, and removes what it deployed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray import serve
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from core.admin.serve_config import WITHOUT_PROXIES, ports_of_door, ports_to_hold
from core.admin.start_failures import failure_text, last_cause
from core.config.server_settings import ServerSettings
from core.errors import FailedPrecondition, Unavailable
from core.versions.hosted import host_app
from core.versions.world import AppObservation
from deployments.app import application
from deployments.config.startup_settings import monitoring
from deployments.hosting.hosted_versions import HostedVersions
from deployments.launch.console import Console
from deployments.launch.endings import ServerLost
from deployments.launch.first_loads import first_loads
from deployments.launch.launch_record import forget_launch, is_alive, record_launch, recorded_launch
from deployments.launch.ray_cluster import RayCluster
from deployments.launch.terminal import RolloutPrinter, announce, without_stderr
from deployments.system.clock import SystemClock
from deployments.system.held_ports import HeldPorts
from deployments.system.port_claim import require_free
from deployments.system.service_notice import READY, STATUS, STOPPING, notify_service
from deployments.telemetry.serve_failures import SERVE_FAILURES
from deployments.versions.placing_host import PlacingHost
from deployments.versions.serve_host import ROUTER_APP, RayServeHost, router_status, router_target, submit
from deployments.versions.version_hosts import ServeVersionHosts

POLL_S = 0.1
LIFE_CHECKED_EVERY_S = 1.0
ROLLOUT_STEPS_EVERY_S = 2.0
LONGEST_DELETE_S = 60.0
HOSTS_ANSWER_WITHIN_S = 10.0


class Launcher:
    """One run of the console script."""

    def __init__(
        self,
        settings: ServerSettings,
        cluster: RayCluster,
        stop: threading.Event,
        console: Console,
        serve_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._serve_config = serve_config
        self._stop = stop
        self._console = console
        self._printer = RolloutPrinter(console, lambda text: notify_service(os.environ, f"{STATUS}{text}"))
        self._host: RayServeHost | None = None
        self._hosts = ServeVersionHosts(settings.logs)
        self._held: HeldPorts | None = None

    def run(self) -> None:
        """Start, serve until a stop is requested, drain, end; raises ServerLost for what fails after the start."""
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        if self._stop.is_set():
            return
        self._start_application()
        if not self._stop.is_set():
            announce(self._console.say, self._settings.front_door, monitoring(self._settings), self._printer.table)
            notify_service(os.environ, READY)
            self._printer.say_state()
            threading.Thread(target=self._print_rollout_steps, name="rollout-steps", daemon=True).start()
        while not self._stop.wait(LIFE_CHECKED_EVERY_S):
            self._cluster.require_alive()
        self._drain()

    def _drain(self) -> None:
        self._console.step("stopping: finishing the requests in flight")
        notify_service(os.environ, STOPPING)
        try:
            with without_stderr():
                self._stop_application()
        except Exception as error:
            raise ServerLost(f"It could not be stopped in order: {failure_text(error)}") from error

    def _start_application(self) -> None:
        self._console.step("starting Ray Serve")
        if self._cluster.is_own:
            _start_serve(WITHOUT_PROXIES if self._serve_config is None else self._serve_config)
        else:
            self._take_over()
            if self._serve_config is not None:  # a Serve that runs already stays as it is
                _start_serve(self._serve_config)
        self._console.step("starting router and watcher")
        self._hold_ports()
        running = {*self._versions(), *map(host_app, self._hosts.conditions())}
        loads = [one for one in first_loads(self._settings) if one.name not in running]
        submit([router_target(application(self._settings)), *loads])
        record_launch()
        self._wait(self._is_running)
        self._host = host = RayServeHost()
        self._wait(lambda: self._is_open(host))

    def _take_over(self) -> None:
        """Find out what runs on a cluster that was joined: nothing, what a killed process left, or another server.

        Raises FailedPrecondition unless it is ours to replace. Routers prove to each other that they are of one server.
        """
        if router_status() is None:
            for use in ports_of_door(self._settings.front_door):
                require_free(use.host, use.port, use.what)
            return
        left_by = recorded_launch()
        if left_by is None:
            raise FailedPrecondition(
                "A Ray Model Server already runs on this cluster, and was not started by ray_model_server; stop it "
                "first: `serve shutdown`."
            )
        if is_alive(left_by):
            raise FailedPrecondition(f"A Ray Model Server already runs on this cluster ({left_by}); stop it first.")
        versions = ", ".join(sorted(self._versions())) or "no versions"
        self._console.say(
            f"taking over the server that {left_by} left behind: its routers are replaced, {versions} stay"
        )

    def _versions(self) -> Mapping[str, AppObservation]:
        """Return the versions that run on the cluster, hosted ones too."""
        hosted = HostedVersions(self._hosts, SystemClock(), lambda _: None, HOSTS_ANSWER_WITHIN_S)
        return PlacingHost(RayServeHost(), hosted).observe()

    def _hold_ports(self) -> None:
        """Hold the ports of a lone router; several share them by SO_REUSEPORT, and the others take over at once."""
        cluster = self._settings.cluster
        routers = cluster.routers(RayServeHost().cpus())
        door = self._settings.front_door
        if routers == 1 and self._cluster.folder:
            door = replace(door, held_ports=f"{self._cluster.folder}/ports")
            self._held = HeldPorts(door.held_ports, [(one.host, one.port) for one in ports_to_hold(door)])
        self._settings = replace(self._settings, front_door=door, cluster=replace(cluster, router_replicas=routers))

    def _wait(self, done: Callable[[], bool]) -> None:
        while not self._stop.is_set() and not done():
            self._stop.wait(POLL_S)

    def _is_running(self) -> bool:
        seen = router_status()
        if seen is None:
            return False
        if seen.status is ApplicationStatus.DEPLOY_FAILED:
            details = [one.message for one in seen.deployments.values() if one.message]
            raise Unavailable("\n".join(map(last_cause, details)) or seen.message)
        return seen.status is ApplicationStatus.RUNNING

    def _is_open(self, host: RayServeHost) -> bool:
        try:
            self._printer.show(host.tables())
            return host.are_doors_open()
        except Unavailable:
            return False

    def _print_rollout_steps(self) -> None:
        """Print rollout steps; in a thread of its own, because a failing cluster may not answer for long."""
        while self._host is not None and not self._stop.wait(ROLLOUT_STEPS_EVERY_S):
            with suppress(Unavailable, OSError, *SERVE_FAILURES):  # nobody answers just now, or the terminal is gone
                self._printer.show(self._host.tables())

    def _stop_application(self) -> None:
        """Stop routers first and models after them, so that requests in flight still find their version."""
        if self._held is not None:
            self._held.close()
        host = RayServeHost()
        host.delete(ROUTER_APP)
        self._wait_gone(lambda: router_status() is None)
        for app in host.observe():
            host.delete(app)
        for node in self._hosts.conditions():
            self._hosts.stop(node)
        self._wait_gone(lambda: not host.observe() and not self._hosts.conditions())
        forget_launch()

    def _wait_gone(self, gone: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + self._settings.front_door.drain_timeout_s + LONGEST_DELETE_S
        while not gone() and time.monotonic() < ends_at:
            time.sleep(POLL_S)


def _start_serve(config: Mapping[str, Any]) -> None:
    """Start Serve as `serve run` does with these sections of a config; raises what is wrong with them."""
    checked = ServeDeploySchema.model_validate({**config, "applications": []})
    serve.start(
        proxy_location=checked.proxy_location,
        http_options=checked.http_options.model_dump(),
        grpc_options=checked.grpc_options.model_dump(),
        logging_config=checked.logging_config,
        controller_options=checked.controller_options,
    )
