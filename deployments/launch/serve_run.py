"""`python -m deployments.launch.serve_run configs/app.yaml`: a config of Ray Serve, run as `ray_model_server` is run.

Ray's own `serve run` shares the ports of its proxies with any other, prints what all processes log, hears SIGINT only,
and waits for ever when its application cannot be built.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.admin.serve_config import read_serve_config
from core.config.server_settings import ServerSettings
from deployments.config.files import read_text
from deployments.config.startup_settings import settings_of_config
from deployments.launch.endings import print_line, status_of_start
from deployments.launch.server_run import run_server

USAGE = "usage: python -m deployments.launch.serve_run CONFIG.yaml"
WRONG_ARGUMENTS = 2


def main(arguments: Sequence[str]) -> int:
    """Run our application in a config of Ray Serve until SIGTERM, SIGINT or SIGHUP; returns the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print_line(USAGE)
        return WRONG_ARGUMENTS
    return status_of_start(lambda: _run(arguments[0]))


def _run(file: str) -> int:
    config = read_serve_config(read_text(file), file)
    settings, warnings = settings_of_config(config.args)
    return run_server(on_cluster(settings, os.environ), warnings, config.serve)


def on_cluster(settings: ServerSettings, environment: Mapping[str, str]) -> ServerSettings:
    """Return the settings for the cluster that RAY_ADDRESS names, as Ray's own commands take it."""
    address = environment.get("RAY_ADDRESS", "")
    if settings.cluster.ray_address or address in {"", "local"}:
        return settings
    return replace(settings, cluster=replace(settings.cluster, ray_address=address))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
