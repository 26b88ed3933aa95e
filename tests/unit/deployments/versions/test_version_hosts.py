"""Tests of what is said to Serve about version hosts; tests/integration has the hosts themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.serve.schema import ApplicationStatus

from core.config.server_settings import LogSettings
from core.versions.world import Condition
from deployments.versions import version_hosts
from deployments.versions.version_hosts import ServeVersionHosts, alive_nodes, host_target


def test_a_host_reserves_nothing_and_is_bound_to_its_node() -> None:
    """By a label that every node has, and not by resources that another model could take."""
    target = host_target("n1", LogSettings(level="debug"))

    assert (target.name, target.route_prefix) == ("host@n1", None)
    options = target.target._bound_deployment.ray_actor_options  # type: ignore[attr-defined]
    assert (options["num_cpus"], options["label_selector"]) == (0, {"ray.io/node-id": "n1"})


def test_hosts_are_told_from_other_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names; Serve's words about a failure come along."""
    failed = SimpleNamespace(
        status=ApplicationStatus.DEPLOY_FAILED,
        message="it failed",
        deployments={"VersionHost": SimpleNamespace(message="no library")},
    )
    running = SimpleNamespace(status=ApplicationStatus.RUNNING, message="", deployments={})
    applications = {"host@n1": failed, "host@n2": running, "m:1": running, "router": running}
    monkeypatch.setattr(version_hosts, "ServeStatus", lambda: SimpleNamespace(of_all=lambda: applications))

    assert ServeVersionHosts(LogSettings()).conditions() == {
        "n1": (Condition.FAILED, "it failed\nno library"),
        "n2": (Condition.RUNNING, ""),
    }


def test_nodes_are_known_with_their_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray names no CPUs of a node that has none; one that is lost is still listed for a while."""
    nodes = [
        {"NodeID": "head", "Alive": True, "Resources": {"memory": 1.0}},
        {"NodeID": "n1", "Alive": True, "Resources": {"CPU": 4.0}},
        {"NodeID": "n2", "Alive": False, "Resources": {}},
    ]
    monkeypatch.setattr(version_hosts.ray, "nodes", lambda: nodes)

    assert alive_nodes() == {"head": 0.0, "n1": 4.0}
