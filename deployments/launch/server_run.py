"""One run of the server, from checked settings to its last line: a process of its own, a Ray that it starts or joins.

Ray is imported late: it takes seconds, and a wrong flag or a taken port should be reported at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from core.access.exposure import exposure
from core.admin.serve_config import WITHOUT_PROXIES, ports_of_door, ports_of_proxies
from core.config.server_settings import ServerSettings
from deployments.container.folders import place_of_objects, provide_temporary_folder
from deployments.launch import ray_environment
from deployments.launch.console import Console
from deployments.launch.endings import explained, status_of_start
from deployments.launch.run_folder import RunFolder
from deployments.launch.terminal import without_stderr
from deployments.system.port_claim import require_free
from deployments.system.supervisor import Supervised, supervise


def run_server(settings: ServerSettings, warnings: Iterable[str], serve_config: Mapping[str, Any] | None = None) -> int:
    """Run the server until it has drained; returns the exit status.

    Serve is started as these sections of a config say, without a config without its proxies. Raises PortTaken, and
    OSError where no temporary folder can be made.
    """
    console = Console()
    address = settings.cluster.ray_address
    proxies = tuple(ports_of_proxies(WITHOUT_PROXIES if serve_config is None else serve_config))
    if not address:  # on a cluster, they may be held by routers of ours
        for use in (*ports_of_door(settings.front_door), *proxies):
            require_free(use.host, use.port, use.what)
    warn((*warnings, *exposure(settings.front_door, ((use.host, use.port) for use in proxies))))
    folder = None if address else _folder()
    path = folder.path if folder is not None else ""
    ending = supervise(
        lambda supervised: status_of_start(lambda: _run(settings, serve_config, path, supervised, console)),
        lambda: folder.remove() if folder is not None else None,
    )
    return explained(ending, console.say)


def _folder() -> RunFolder:
    """Make a folder for the files of a local Ray, and say what is unusual about the places that there are."""
    unusual = provide_temporary_folder(os.environ)
    folder = RunFolder()
    warn(filter(None, (unusual, place_of_objects(folder.path).warning)))
    return folder


def warn(warnings: Iterable[str]) -> None:
    """Write warnings to standard error; nobody may read it any more."""
    for warning in warnings:
        with suppress(OSError):
            sys.stderr.write(f"{warning}\n")
            sys.stderr.flush()


def _run(
    settings: ServerSettings,
    serve_config: Mapping[str, Any] | None,
    folder: str,
    supervised: Supervised,
    console: Console,
) -> int:
    """Start Ray, import the rest meanwhile, and run until a stop is requested."""
    # What this process has to tell goes through the console; without a handler Python would print log lines as well.
    logging.getLogger("deployments").addHandler(logging.NullHandler())
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

        Launcher(settings, cluster, supervised.stop, console, serve_config).run()
    finally:
        console.close()
        with without_stderr():
            cluster.stop()
    return 0
