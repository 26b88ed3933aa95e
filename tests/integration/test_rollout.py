"""Versions come and go while clients are served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.serve.handle import DeploymentHandle

from core.servable import ServableId, app_name
from deployments.model_server import DEPLOYMENT
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until


@pytest.fixture
def versions(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[tuple[str, Path]]:
    """A model of which version n answers 0.5 x + n; version 1 is available."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("versions", base_path)
    wait_until(lambda: client.available("versions") == {1}, "version 1 is available")
    yield "versions", base_path
    server.remove("versions")
    wait_until(lambda: "AVAILABLE" not in client.states("versions").values(), "the model is unloaded")


def replica_pids(model: str, version: int) -> list[int]:
    """Give the processes of a version."""
    handle: DeploymentHandle = DeploymentHandle(DEPLOYMENT, app_name(ServableId(model, version)))
    return [report.pid for report in handle.broadcast("report").results(timeout_s=10)]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_new_version_takes_over_and_its_removal_rolls_back(
    server: LiveServer, client: RestClient, versions: tuple[str, Path]
) -> None:
    """Copying a directory in rolls a version out, removing it rolls it back, and the old process ends."""
    model, base = versions
    old_pids = replica_pids(model, 1)

    server.copy_version("half_plus_two_versions", 2, base)
    wait_until(lambda: client.available(model) == {2}, "version 2 has replaced version 1")
    assert client.predict(model, [2.0]) == [3.0]
    wait_until(lambda: not any(map(is_alive, old_pids)), "the processes of version 1 are gone")

    shutil.rmtree(base / "2")
    wait_until(lambda: client.available(model) == {1}, "version 1 is back")
    assert client.predict(model, [2.0]) == [2.0]


def test_no_request_fails_while_ten_versions_come_and_go(
    server: LiveServer, client: RestClient, versions: tuple[str, Path]
) -> None:
    """Four clients in a closed loop see only answers of available versions and not one failure."""
    model, base = versions
    pids = replica_pids(model, 1)

    with ClosedLoop(server.rest_port, f"/v1/models/{model}:predict", {"instances": [2.0]}) as load:
        for number in range(2, 12):
            source = 1 + number % 3
            server.copy_version("half_plus_two_versions", source, base, as_version=number)
            wait_until(lambda number=number: client.available(model) == {number}, f"version {number} took over")
            shutil.rmtree(base / str(number - 1))
            pids += replica_pids(model, number)

    assert load.failures == []
    assert load.count > 100
    assert {answer["predictions"][0] for answer in load.answers} <= {2.0, 3.0, 4.0}
    wait_until(lambda: sum(map(is_alive, pids)) == 1, "only the newest version's process is left")
    assert os.getpid() not in pids
