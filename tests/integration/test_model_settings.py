"""What the YAML file can say and models.config cannot: batching, replicas, rollout of single models."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
import yaml

from core.protos import serving_pb2
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


@contextmanager
def with_settings(server: LiveServer, names: tuple[str, ...], **settings: float) -> Iterator[None]:
    """Give models further settings in the file for a while, without a restart of anything."""
    file = server.folder / "settings.yaml"
    before = file.read_text()
    content = yaml.safe_load(before)
    for name in names:
        content["models"][name] |= settings
    replace_file(server, yaml.safe_dump(content))
    try:
        yield
    finally:
        replace_file(server, before)


def replace_file(server: LiveServer, text: str) -> None:
    """Write the file of settings aside, then rename it."""
    aside = server.folder / "settings.new"
    aside.write_text(text)
    aside.rename(server.folder / "settings.yaml")


def predicted(client: RestClient, name: str) -> Reply:
    """Ask a model once."""
    return client.post(f"/v1/models/{name}:predict", {"instances": [2.0]})


def grpc_code(server: LiveServer, name: str) -> grpc.StatusCode:
    """Ask a model once over gRPC; return the status."""
    request = serving_pb2.PredictRequest(model_spec={"name": name}).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=60)
    return caught.value.code()


def test_limits_of_a_changed_file_hold_at_once_and_on_every_way(server: LiveServer, client: RestClient) -> None:
    """Of an own deployment and of a hosted version; no process is replaced, and without the limit all is as before."""
    app = app_name(ServableId("twice", 1))
    wait_until(lambda: len(replica_pids(app, DEPLOYMENT)) == 2, "both replicas run")
    replicas = replica_pids(app, DEPLOYMENT)
    with with_settings(server, ("twice", "hosted"), max_requests_per_second=0.01, max_in_flight=7):
        for name in ("twice", "hosted"):
            wait_until(lambda name=name: predicted(client, name).status == 429, f"requests of {name} are refused")
            reply = predicted(client, name)
            assert 1 <= int(reply.headers["retry-after"]) <= 100
            assert "max_requests_per_second" in reply.error
            assert grpc_code(server, name) is grpc.StatusCode.RESOURCE_EXHAUSTED
        shown = {one["name"]: one for one in client.get("/status.json").json["models"]}
        assert shown["twice"]["limits"] == {"max_requests_per_second": 0.01, "max_in_flight": 7}
        assert shown["mlp"]["limits"] == {"max_requests_per_second": None, "max_in_flight": None}

    for name in ("twice", "hosted"):
        wait_until(lambda name=name: predicted(client, name).status == 200, f"{name} answers again")
    assert replica_pids(app, DEPLOYMENT) == replicas
