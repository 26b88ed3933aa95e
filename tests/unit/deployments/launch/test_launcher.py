"""One run of the console script, as far as it goes without Ray."""

from __future__ import annotations

import threading

from core.config.server_settings import ServerSettings
from deployments.launch.console import Console
from deployments.launch.launcher import Launcher
from deployments.launch.ray_cluster import RayCluster


def test_a_server_that_is_stopped_while_ray_starts_deploys_nothing(capsys) -> None:
    """SIGTERM may come at any moment."""
    stop = threading.Event()
    stop.set()

    Launcher(ServerSettings(), RayCluster(""), stop, Console()).run()

    assert capsys.readouterr().out == ""
