"""The import target of a Serve config: flags in, the application of routers and watcher out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.config.server_settings import ClusterSettings, FrontDoorSettings, ServerSettings
from core.errors import ConfigError, InvalidArgument
from deployments import app
from deployments.app import STOP_MARGIN_S, application, build
from deployments.hosting.host import VersionHost
from deployments.model_server import ModelServer
from deployments.router import Router
from deployments.watcher import Watcher


def test_what_people_write_into_their_configs_is_here() -> None:
    """These two paths stand in `configs/app.yaml` and in files of operators; they never move."""
    assert app.__all__ == ["add_services", "build"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"rest_port": 8501}, "unknown argument: rest_port"),
        ({"port": "x"}, "port"),
        ({"enable_batching": True, "rest_port": 1, "grpc_port": 2}, "(?s)rest_port.*grpc_port"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args: dict[str, object], message: str) -> None:
    """All of them at once, before anything is deployed."""
    with pytest.raises(InvalidArgument, match=message):
        build({"model_name": "m", "model_base_path": "/m"} | args)


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """The deployment fails at once and with its reasons, instead of serving nothing."""
    file = tmp_path / "models.config"
    file.write_text("model_config_list { config { name: 5 } }")

    with pytest.raises(ConfigError):
        build({"model_config_file": str(file)})


def test_a_replica_may_drain_before_serve_ends_it() -> None:
    """Requests in flight have the drain time, and what comes after it has a margin."""
    settings = ServerSettings(FrontDoorSettings(drain_timeout_s=7.0), cluster=ClusterSettings(router_replicas=3))

    router = application(settings)._bound_deployment

    assert (router.name, router.num_replicas) == ("Router", 3)
    assert router._deployment_config.graceful_shutdown_timeout_s == 7.0 + STOP_MARGIN_S


def test_routers_that_are_spread_over_nodes_are_replaced_in_place() -> None:
    """A successor beside its predecessor would be one too many for the node, and with no other node wait for ever."""
    spread = application(ServerSettings(cluster=ClusterSettings(router_replicas=2, max_routers_per_node=1)))
    free = application(ServerSettings(cluster=ClusterSettings(router_replicas=2)))

    limits = [
        (one._bound_deployment._replica_config.max_replicas_per_node, one._bound_deployment._deployment_config)
        for one in (spread, free)
    ]

    assert [(limit, config.max_surge_percent) for limit, config in limits] == [(1, 0), (None, 100)]


@pytest.mark.parametrize(
    ("wanted", "cpus", "routers"),
    [(0, 1, 1), (0, 2, 1), (0, 4, 2), (0, 16, 2), (0, 24, 3), (0, 64, 8), (0, 256, 8), (1, 64, 1), (3, 2, 3)],
)
def test_the_number_of_routers_follows_the_cpus_unless_it_is_given(wanted: int, cpus: int, routers: int) -> None:
    """Two survive the loss of one; on few CPUs the models need what a second one would take, and one core takes so much."""
    assert ClusterSettings(router_replicas=wanted).routers(cpus) == routers


@pytest.mark.parametrize("replica", [Router, Watcher, ModelServer, VersionHost])
def test_a_replica_whose_constructor_failed_ends_without_a_second_error(replica: type) -> None:
    """Serve calls `__del__` all the same, and the second traceback would hide the first one."""
    ended = replica.__del__(SimpleNamespace())  # type: ignore[attr-defined]  # without what the constructor makes

    if ended is not None:
        asyncio.run(ended)
