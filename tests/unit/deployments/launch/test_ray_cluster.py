"""A local Ray belongs to the server, a cluster that is joined does not."""

from __future__ import annotations

import socket
import threading

import pytest
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_LOG_MONITOR, PROCESS_TYPE_RAYLET

from core.errors import Unavailable
from deployments.launch.endings import ServerLost
from deployments.launch.local_ray import LocalRay
from deployments.launch.ray_cluster import RayCluster, require_listener
from tests.support.clients import free_port


@pytest.mark.parametrize(("address", "is_own"), [("", True), ("auto", False), ("10.0.0.1:6379", False)])
def test_ray_is_the_servers_own_without_an_address(address: str, is_own: bool) -> None:  # noqa: FBT001
    """Only then it is started, and ended with the server."""
    assert RayCluster(address).is_own is is_own


def test_a_cluster_that_was_never_started_can_be_stopped() -> None:
    """The server ends in the same way wherever its start failed."""
    RayCluster("").stop()


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    """Ray would try again without end."""
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(Unavailable, match=rf"No Ray cluster answers at {address} \(Connection refused\)\. Correct"):
        RayCluster(address).start(threading.Event(), print)


@pytest.mark.parametrize("address", ["auto", "local", "host", "host:name", "1.2.3.4:99999"])
def test_other_forms_of_an_address_are_for_ray_to_judge(address: str) -> None:
    """Nothing is asked."""
    require_listener(address)


def test_what_listens_is_asked_further() -> None:
    """Whether it is Ray, only Ray knows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        require_listener(f"127.0.0.1:{listener.getsockname()[1]}")


def after(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Let processes of these kinds have been killed."""
    monkeypatch.setattr(LocalRay, "ended", lambda _: dict.fromkeys(kinds, -9))


@pytest.mark.parametrize("kind", [PROCESS_TYPE_RAYLET, PROCESS_TYPE_GCS_SERVER])
def test_a_ray_that_died_ends_the_server(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It cannot be repaired from inside, and a service manager only starts again what has ended."""
    after(monkeypatch, PROCESS_TYPE_LOG_MONITOR, kind)

    with pytest.raises(ServerLost, match=r"has ended \(exit status -9\)"):
        RayCluster("").require_alive()


def test_what_only_collects_logs_may_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests do not depend on it."""
    after(monkeypatch, PROCESS_TYPE_LOG_MONITOR)

    RayCluster("").require_alive()


@pytest.mark.parametrize("address", ["", "10.0.0.1:6379"])
def test_a_ray_that_was_not_started_here_has_not_died(address: str) -> None:
    """A cluster that is joined may restart its processes as it likes."""
    RayCluster(address).require_alive()
