"""Replicas of a version follow its load over the direct transport: from none, up, and back to none."""

from __future__ import annotations

from core.versions.servable import DEPLOYMENT, ServableId, app_name
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, wait_until
from tests.support.processes import replica_pids

APP = app_name(ServableId("scaled", 1))
LONG_CALL = {"inputs": {"iterations": 20_000}}
PATH = "/v1/models/scaled:predict"


def replicas() -> int:
    """Count the living replicas of the version."""
    return len(replica_pids(APP, DEPLOYMENT))


def test_replicas_follow_the_load_without_a_failed_request(server: LiveServer) -> None:
    """A version without replicas is AVAILABLE all the same: the first request wakes it."""
    client = server.client()
    wait_until(lambda: replicas() == 0, "the version rests")
    assert client.available("scaled")

    assert client.post(PATH, {"inputs": {"iterations": 5}}).json["outputs"]["rounds"] == 5

    with ClosedLoop(server.rest_port, PATH, LONG_CALL, 6) as load:
        wait_until(lambda: replicas() == 2, "a second replica shares the load")
    assert load.failures == []
    with ClosedLoop(server.rest_port, PATH, {"inputs": {"iterations": 5}}, 1) as trickle:
        wait_until(lambda: replicas() == 1, "the second replica is gone")
    assert trickle.failures == []
    wait_until(lambda: replicas() == 0, "the version rests again")
    client.close()
