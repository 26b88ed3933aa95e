"""One run of the server, as far as it goes without Ray."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import pytest

from core.config.server_settings import ClusterSettings, ServerSettings
from deployments.launch.console import Console
from deployments.launch.server_run import _run
from deployments.system.supervisor import Supervised


class RayIsImported(Exception):
    """The moment from which on Ray's part of the environment is fixed."""


class ImportedRay:
    """Stands for the module that imports Ray."""

    @property
    def RayCluster(self) -> None:
        raise RayIsImported


@pytest.mark.parametrize(("address", "joins"), [("10.0.0.1:6379", True), ("", False)])
def test_the_environment_is_ready_before_ray_is_imported(
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    joins: bool,  # noqa: FBT001
) -> None:
    """Ray reads it once. Who joins a cluster outlives its head; a local Ray has a token of its own."""
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setitem(sys.modules, "deployments.launch.ray_cluster", ImportedRay())  # type: ignore[arg-type]

    with closing(Console()) as console, pytest.raises(RayIsImported):
        _run(ServerSettings(cluster=ClusterSettings(ray_address=address)), None, "", Supervised(-1), console)

    assert ("RAY_gcs_rpc_server_reconnect_timeout_s" in environment) is joins
    assert ("RAY_AUTH_TOKEN" in environment) is not joins
