"""What happens to versions that rest is noticed although the watcher does not ask for them."""

from __future__ import annotations

from pathlib import Path

from ray import serve

from core.versions.servable import DEPLOYMENT, ServableId, app_name
from deployments.versions.serve_status import ServeStatus
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import kill, replica_pids


def shown_replicas(client: RestClient, model: str) -> list[int]:
    """Return how many replicas of each version the status page shows."""
    models = client.get("/status.json").json["models"]
    return [one["replicas"] or 0 for found in models if found["name"] == model for one in found["versions"]]


def test_the_loss_of_a_replica_of_a_resting_version_is_shown(server: LiveServer, client: RestClient) -> None:
    """Serve tells that it is gone, and that its successor runs."""
    del server
    app = app_name(ServableId("half_plus_three", 1))
    wait_until(lambda: shown_replicas(client, "half_plus_three") == [1], "the version rests")

    kill(app, DEPLOYMENT)

    wait_until(lambda: shown_replicas(client, "half_plus_three") == [0], "its loss is shown")
    wait_until(lambda: shown_replicas(client, "half_plus_three") == [1], "its successor is shown")
    assert client.available("half_plus_three") == {1}


def test_a_resting_version_whose_application_was_deleted_is_loaded_again(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """Somebody deleted it by Serve's own tools; the others are not disturbed."""
    server.copy_version("half_plus_two", 1, base_path)
    server.configure("deleted", base_path)
    wait_until(lambda: client.available("deleted") == {1}, "the version rests")
    app = app_name(ServableId("deleted", 1))
    old = replica_pids(app, DEPLOYMENT)

    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as others:
        serve.delete(app, _blocking=False)
        wait_until(lambda: replica_pids(app, DEPLOYMENT) not in ([], old), "it is loaded again")
        wait_until(lambda: client.available("deleted") == {1}, "it answers again")
    server.remove("deleted")

    assert others.failures == []
    wait_until(lambda: not replica_pids(app, DEPLOYMENT), "it is gone for good")


def test_the_cheap_questions_say_what_serve_says_of_itself(server: LiveServer, client: RestClient) -> None:
    """They have no public name: another Ray may answer them otherwise."""
    del server
    wait_until(lambda: shown_replicas(client, "half_plus_two") == [1], "the versions rest")

    theirs = serve.status().applications

    seen = ServeStatus().of_all()
    assert seen.keys() == theirs.keys()
    for name, one in seen.items():
        assert (one.status, one.message) == (theirs[name].status, theirs[name].message)
        assert one.last_deployed_time_s == theirs[name].last_deployed_time_s
        assert one.deployments.keys() == theirs[name].deployments.keys()
        for deployment, running in one.deployments.items():
            wanted = theirs[name].deployments[deployment]
            assert (running.status, running.message) == (wanted.status, wanted.message)
            assert running.replica_states["RUNNING"] == wanted.replica_states.get("RUNNING", 0)  # type: ignore[index]


def test_an_application_that_does_not_exist_is_not_there(server: LiveServer) -> None:
    """Serve answers for any name."""
    del server
    app = app_name(ServableId("half_plus_two", 1))

    assert ServeStatus().of([app, "absent:1"]).keys() == {app}
