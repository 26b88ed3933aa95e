"""What the YAML file can say and models.config cannot: batching, replicas, rollout of single models."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np

from core.versions.servable import DEPLOYMENT, ServableId, app_name
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, Reply, RestClient, wait_until
from tests.support.processes import replica_pids


def at_once(server: LiveServer, path: str, bodies: list[object]) -> list[Reply]:
    """Send requests at the same moment, each on its own connection."""
    replies: list[Reply | None] = [None] * len(bodies)
    start = threading.Barrier(len(bodies))

    def send(index: int) -> None:
        start.wait(60)
        replies[index] = RestClient(server.rest_port).post(path, bodies[index])

    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [reply for reply in replies if reply is not None]


def test_batched_requests_get_their_own_rows(server: LiveServer, client: RestClient) -> None:
    """Requests of one and two rows that share runs are answered as if they had run alone."""
    random = np.random.default_rng(5)
    bodies = [{"instances": random.normal(size=(1 + number % 2, 32)).round(3).tolist()} for number in range(24)]

    replies = at_once(server, "/v1/models/batched:predict", bodies)

    for body, reply in zip(bodies, replies, strict=True):
        alone = client.predict("mlp", body["instances"])
        assert np.allclose(reply.json["predictions"], alone, atol=1e-5)


def test_a_bad_request_fails_alone(server: LiveServer) -> None:
    """Rows of the wrong width, and broken bodies, do not spoil their neighbours in the queue."""
    good = {"instances": [[0.5] * 32]}
    bad = {"instances": [[0.5] * 31]}

    replies = at_once(server, "/v1/models/batched:predict", [good, bad, good, "nonsense", good, bad, good])

    assert [reply.status for reply in replies] == [200, 400, 200, 400, 200, 400, 200]


def test_case_N3_a_request_larger_than_a_batch(client: RestClient) -> None:
    """The limit is in the text, and smaller requests go on."""
    reply = client.post("/v1/models/batched:predict", {"instances": [[0.0] * 32] * 9})

    assert (reply.status, reply.error) == (400, "Task size 9 is larger than maximum input batch size 8")
    assert len(client.predict("batched", [[0.0] * 32] * 8)) == 8


def test_a_killed_replica_of_two_costs_at_most_what_was_on_it(server: LiveServer, client: RestClient) -> None:
    """The other replica takes over at once; the killed one comes back."""
    app = app_name(ServableId("twice", 1))
    wait_until(lambda: len(replica_pids(app, DEPLOYMENT)) == 2, "both replicas run")
    clients = 4
    with ClosedLoop(server.rest_port, "/v1/models/twice:predict", {"instances": [2.0]}, clients) as load:
        killed = replica_pids(app, DEPLOYMENT)[0]
        wait_until(lambda: load.count > 200, "requests flow")
        os.kill(killed, signal.SIGKILL)
        seen = load.count
        wait_until(lambda: load.count > seen + 200, "requests go on")
        wait_until(lambda: len(set(replica_pids(app, DEPLOYMENT)) - {killed}) == 2, "the replica was replaced", 180)

    assert len(load.failures) <= clients
    assert client.predict("twice", [2.0]) == [3.0]


def test_a_resource_preserving_model_unloads_first(server: LiveServer, client: RestClient) -> None:
    """With room for one version only, the old one goes before the new one comes."""
    base = server.folder / "single"
    assert client.available("single") == {1}

    server.copy_version("half_plus_two_versions", 2, base)

    wait_until(lambda: client.available("single") == {2}, "version 2 took the only place")
    assert client.states("single")[1] == "END"
    assert client.predict("single", [2.0]) == [3.0]
