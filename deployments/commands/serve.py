"""`ray_model_server` without a subcommand: runs the server with TensorFlow Serving's flags until it is stopped."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version

from core.access.exposure import exposure
from core.admin.serve_ports import ports_of_door
from core.config.arguments import ArgumentsOutcome
from core.config.server_settings import ServerSettings
from core.errors import ConfigError
from deployments.commands.table import overview
from deployments.config.startup_settings import checked, parse_arguments
from deployments.container.folders import place_of_objects, provide_temporary_folder
from deployments.launch import ray_environment
from deployments.launch.console import Console
from deployments.launch.endings import FAILED_START, explained, refused, status_of_start
from deployments.launch.terminal import without_stderr
from deployments.system.entry_points import registered_names
from deployments.system.port_claim import require_free
from deployments.system.supervisor import Supervised, supervise


def main(arguments: Sequence[str]) -> int:
    """Run the server until SIGTERM or SIGINT; returns the exit status."""
    parsed = parse_arguments(arguments)
    if parsed.outcome is ArgumentsOutcome.VERSION:
        print(f"Ray Model Server: {version('ray-model-server')}\nTensorFlow Library: {version('tensorflow')}")
        for extension in registered_names():
            print(f"Extension: {extension}")
        return 0
    if parsed.outcome is ArgumentsOutcome.HELP:
        print(overview())
    if parsed.output:
        print(parsed.output, flush=True)
    _warn(parsed.warnings)
    if parsed.settings is None:
        return parsed.exit_code or FAILED_START if parsed.output else refused(ConfigError(parsed.problems))
    flags = parsed.settings
    return status_of_start(lambda: _serve(*checked(flags)))


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        with suppress(OSError):
            print(warning, file=sys.stderr, flush=True)


def _serve(settings: ServerSettings, warnings: Iterable[str]) -> int:
    """Run the server in a process of its own until it has drained; returns the exit status."""
    console = Console()
    _warn((*warnings, *exposure(settings.front_door)))
    if not settings.cluster.ray_address:  # on a cluster, they may be held by routers of ours
        for use in ports_of_door(settings.front_door):
            require_free(use.host, use.port, use.what)

    folder = "" if settings.cluster.ray_address else _session_folder()
    ending = supervise(
        lambda supervised: status_of_start(lambda: _run(settings, folder, supervised, console)),
        lambda: shutil.rmtree(folder, ignore_errors=True) if folder else None,
    )
    return explained(ending, console.say)


def _session_folder() -> str:
    """Make a folder for the files of a local Ray, and say what is unusual about the places that there are."""
    unusual = provide_temporary_folder(os.environ)
    folder = tempfile.mkdtemp(prefix="rms-")
    _warn(filter(None, (unusual, place_of_objects(folder).warning)))
    return folder


def _run(settings: ServerSettings, folder: str, supervised: Supervised, console: Console) -> int:
    """Start Ray, import the rest meanwhile, and run until a stop is requested.

    Ray is imported late: it takes seconds, and a wrong flag should be reported at once.
    """
    address = settings.cluster.ray_address
    if address:
        ray_environment.prepare_to_join(os.environ)
    else:
        ray_environment.prepare(os.environ)
    console.step(f"joining Ray at {address}" if address else "starting Ray")
    from deployments.launch.ray_cluster import RayCluster  # noqa: PLC0415

    importing = threading.Thread(target=importlib.import_module, args=("deployments.launch.launcher",), daemon=True)
    importing.start()
    cluster = RayCluster(address, folder)
    try:
        cluster.start(supervised.stop, console.step)
        supervised.report_up()
        importing.join()
        from deployments.launch.launcher import Launcher  # noqa: PLC0415

        Launcher(settings, cluster, supervised.stop, console).run()
    finally:
        console.close()
        with without_stderr():
            cluster.stop()
    return 0
