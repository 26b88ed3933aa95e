"""Versions come and go while clients are served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import version_pids
from tests.support.soak import times

VERSIONS = times(3, 10)


@pytest.fixture
def versions(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[tuple[str, Path]]:
    """A model of which version n answers 0.5 x + n; version 1 is available."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("versions", base_path)
    wait_until(lambda: client.available("versions") == {1}, "version 1 is available")
    yield "versions", base_path
    server.remove("versions")
    wait_until(lambda: "AVAILABLE" not in client.states("versions").values(), "the model is unloaded")


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_new_version_takes_over_and_its_removal_rolls_back(
    server: LiveServer, client: RestClient, versions: tuple[str, Path]
) -> None:
    """Copying a directory in rolls a version out, removing it rolls it back, and the old process ends."""
    model, base = versions
    old_pids = version_pids(model, 1)

    server.copy_version("half_plus_two_versions", 2, base)
    wait_until(lambda: client.available(model) == {2}, "version 2 has replaced version 1")
    assert client.predict(model, [2.0]) == [3.0]
    wait_until(lambda: not any(map(is_alive, old_pids)), "the processes of version 1 are gone")

    shutil.rmtree(base / "2")
    wait_until(lambda: client.available(model) == {1}, "version 1 is back")
    assert client.predict(model, [2.0]) == [2.0]


@pytest.mark.soak
@pytest.mark.timeout(times(300, 900))
def test_no_request_fails_while_versions_come_and_go(
    server: LiveServer, client: RestClient, versions: tuple[str, Path]
) -> None:
    """Four clients in a closed loop see only answers of available versions and not one failure."""
    model, base = versions
    pids = version_pids(model, 1)

    with ClosedLoop(server.rest_port, f"/v1/models/{model}:predict", {"instances": [2.0]}) as load:
        for number in range(2, 2 + VERSIONS):
            source = 1 + number % 3
            server.copy_version("half_plus_two_versions", source, base, as_version=number)
            wait_until(lambda number=number: client.available(model) == {number}, f"version {number} took over")
            shutil.rmtree(base / str(number - 1))
            pids += version_pids(model, number)

    assert load.failures == []
    assert load.count > 100
    assert {answer["predictions"][0] for answer in load.answers} <= {2.0, 3.0, 4.0}
    wait_until(lambda: sum(map(is_alive, pids)) == 1, "only the newest version's process is left")
    assert os.getpid() not in pids


def test_case_D3_labels_may_be_declared_before_their_version_is_there(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """A label answers as soon as its version does; until then requests by it are told that nothing answers."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    server.configure("labelled", base_path, f"{policy} {labels}")
    try:
        wait_until(lambda: client.available("labelled") == {1}, "version 1 is available")
        stable = client.post("/v1/models/labelled/labels/stable:predict", {"instances": [2.0]})
        pending = client.post("/v1/models/labelled/labels/canary:predict", {"instances": [2.0]})
        assert stable.json == {"predictions": [2.0]}
        assert (pending.status, pending.error) == (404, "Servable not found for request: Specific(labelled, 2)")

        server.copy_version("half_plus_two_versions", 2, base_path)
        wait_until(lambda: client.available("labelled") == {1, 2}, "version 2 is available")

        canary = client.post("/v1/models/labelled/labels/canary:predict", {"instances": [2.0]})
        assert canary.json == {"predictions": [3.0]}
        by_label, whole = client.get("/v1/models/labelled/labels/canary").json, client.get("/v1/models/labelled").json
        assert whole == {**by_label, "ready": True}
    finally:
        server.remove("labelled")


def test_case_J28_a_rewritten_configuration_file_is_taken(
    server: LiveServer, client: RestClient, saved_models: Path
) -> None:
    """With polling on, another list of models is in force some seconds later."""
    server.configure("first", saved_models / "half_plus_two")
    wait_until(lambda: client.available("first") == {1}, "the first model answers")
    server.entries.pop("first")
    server.configure("second", saved_models / "half_plus_three")
    try:
        wait_until(lambda: client.available("second") == {1}, "the second model answers")
        wait_until(lambda: client.states("first") == {1: "END"}, "the first model is unloaded")
        assert client.predict("second", [2.0]) == [4.0]
    finally:
        server.remove("second")
