"""`ray_model_server` without a subcommand: runs the server with TensorFlow Serving's flags until it is stopped."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from core.config.arguments import ArgumentsOutcome
from core.config.server_settings import FrontDoorSettings, ServerSettings
from core.errors import ConfigError, ServingError
from deployments.commands.table import overview
from deployments.config.startup_settings import checked, parse_arguments
from deployments.launch import ray_environment
from deployments.launch.terminal import without_stderr
from deployments.system.port_claim import require_free

FAILED = 255
"""Exit status of a failed start (TensorFlow Serving, -1)."""


def main(arguments: Sequence[str]) -> int:
    """Run the server until SIGTERM or SIGINT; returns the exit status."""
    parsed = parse_arguments(arguments)
    if parsed.outcome is ArgumentsOutcome.VERSION:
        print(f"Ray Model Server: {version('ray-model-server')}\nTensorFlow Library: {version('tensorflow')}")
        return 0
    if parsed.outcome is ArgumentsOutcome.HELP:
        print(overview())
    if parsed.output:
        print(parsed.output, flush=True)
    _warn(parsed.warnings)
    if parsed.settings is None:
        return parsed.exit_code or FAILED if parsed.output else _refuse(ConfigError(parsed.problems))
    try:
        settings, warnings = checked(parsed.settings)
        _warn(warnings)
        _require_free_ports(settings.front_door)
        _serve(settings)
    except ServingError as error:
        return _refuse(error)
    return 0


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(warning, file=sys.stderr, flush=True)


def _refuse(error: ServingError) -> int:
    print(f"Failed to start server. Error: {error.code.name}: {error}", flush=True)
    return FAILED


def _require_free_ports(door: FrontDoorSettings) -> None:
    """Raise PortTaken before anything is started."""
    for port, what in ((door.grpc_port, "gRPC"), (door.rest_port, "REST")):
        if port:
            require_free(door.host, port, what)


def _serve(settings: ServerSettings) -> None:
    """Start Ray, import the rest meanwhile, and run until SIGTERM or SIGINT.

    Ray is imported late: it takes seconds, and a wrong flag should be reported at once.
    """
    began_s = time.monotonic()
    stop = threading.Event()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began_s:5.1f} s] {text}", flush=True)

    if not settings.cluster.ray_address:
        ray_environment.prepare(os.environ)
    say(f"joining Ray at {settings.cluster.ray_address}" if settings.cluster.ray_address else "starting Ray")
    from deployments.launch.ray_cluster import RayCluster  # noqa: PLC0415

    importing = threading.Thread(target=importlib.import_module, args=("deployments.launch.launcher",), daemon=True)
    importing.start()
    cluster = RayCluster(settings.cluster.ray_address)
    _stop_on_signals(stop)
    try:
        cluster.start(stop, say)
        _stop_on_signals(stop)
        importing.join()
        from deployments.launch.launcher import Launcher  # noqa: PLC0415

        Launcher(settings, cluster, stop, say).run()
    finally:
        with without_stderr():
            cluster.stop()
    say("stopped")


def _stop_on_signals(stop: threading.Event) -> None:
    """Replace Ray's handlers, which end the process at once, by one that lets it drain."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
