"""The model repository extension and the statistics of the Open Inference Protocol on a running server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from core.protos import oip_pb2
from deployments.oip.grpc_rights import SERVICE
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer, redeployed
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import kill, replica_pids, version_pids

LOAD = oip_pb2.RepositoryModelLoadRequest
UNLOAD = oip_pb2.RepositoryModelUnloadRequest
INDEX = oip_pb2.RepositoryIndexRequest
STATISTICS = oip_pb2.ModelStatisticsRequest


@pytest.fixture
def model(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[str]:
    """A model of which the versions 1 and 2 answer, with the label `stable` at version 1."""
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    policy = "model_version_policy { all {} }"
    server.configure("swapped", base_path, f'{policy} version_labels {{ key: "stable" value: 1 }}')
    wait_until(lambda: client.available("swapped") == {1, 2}, "both versions answer")
    yield "swapped"
    server.remove("swapped")
    wait_until(lambda: not client.available("swapped"), "the model is unloaded")


def asked(server: LiveServer, request: Message, method: str = "") -> bytes:
    """Call a method of the service, by default that of the request; raises grpc.RpcError."""
    name = method or type(request).__name__.removesuffix("Request")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        answer: bytes = channel.unary_unary(f"/{SERVICE}/{name}")(request.SerializeToString(), timeout=120)
    return answer


def index(client: RestClient, name: str) -> list[dict[str, str]]:
    reply = client.send("POST", "/v2/repository/index")
    assert reply.status == 200, reply.body
    return [one for one in reply.json if one["name"] == name]


def states(client: RestClient, name: str) -> dict[str, str]:
    return {one["version"]: one["state"] for one in index(client, name)}


def changed(client: RestClient, name: str, verb: str) -> None:
    reply = client.send("POST", f"/v2/repository/models/{name}/{verb}")
    assert (reply.status, reply.body) == (200, b"")


def unloaded(client: RestClient, name: str) -> None:
    """Unload a model, and wait until its processes have ended."""
    changed(client, name, "unload")
    wait_until(lambda: set(states(client, name).values()) == {"UNAVAILABLE"}, "its versions have ended")


def infer(client: RestClient, name: str, values: list[float], version: str = "") -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}
    return client.post(f"/v2/models/{name}{version}/infer", {"inputs": [tensor]})


def test_models_come_and_go_while_another_one_answers(server: LiveServer, client: RestClient, model: str) -> None:
    """Over both protocols; a model answers as soon as its load is answered, with its policy and label as before."""
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as others:
        for unload, load in ((UNLOAD(model_name=model), LOAD(model_name=model)), (None, None)):
            if unload is None or load is None:
                unloaded(client, model)
            else:
                assert asked(server, unload) == b""
                wait_until(lambda: set(states(client, model).values()) == {"UNAVAILABLE"}, "its versions have ended")
            assert version_pids(model, 2) == []
            assert infer(client, model, [2.0]).status == 404
            assert {one["reason"] for one in index(client, model)} == {"unloaded"}

            if load is None:
                changed(client, model, "load")
            else:
                assert asked(server, load) == b""

            assert infer(client, model, [2.0]).status == 200
            wait_until(lambda: states(client, model) == {"1": "READY", "2": "READY"}, "both versions are back")
            assert infer(client, model, [2.0], "/labels/stable").json["model_version"] == "1"

    assert others.failures == []


def test_the_index_is_the_same_over_grpc_and_lists_all_models(server: LiveServer, client: RestClient) -> None:
    """Also those that cannot be loaded."""

    def entries() -> list[tuple[str, str, str]]:
        shown = oip_pb2.RepositoryIndexResponse.FromString(asked(server, INDEX())).models
        return [(one.name, one.version, one.state) for one in shown]

    def entries_over_rest() -> list[tuple[str, str, str]]:
        shown = client.send("POST", "/v2/repository/index").json
        return [(one["name"], one.get("version", ""), one.get("state", "")) for one in shown]

    def ready() -> list[tuple[str, str]]:
        shown = oip_pb2.RepositoryIndexResponse.FromString(asked(server, INDEX(ready=True))).models
        return [(one.name, one.state) for one in shown]

    # Versions of earlier tests may still come and go.
    wait_until(lambda: entries() == entries_over_rest(), "both show the same")
    wait_until(lambda: {name for name, _ in ready()} >= {"half_plus_two", "batched", "twice"}, "these are ready")
    assert {state for _, state in ready()} == {"READY"}


def test_loads_at_once_are_all_answered_when_the_model_answers(
    server: LiveServer, client: RestClient, model: str
) -> None:
    """Of those that change the list at the same time, all but one read it again."""
    unloaded(client, model)

    def load(number: int) -> int:
        if number % 2:
            assert asked(server, LOAD(repository_name=model)) != b""
        else:
            changed(server.client(), model, "load")
        return infer(server.client(), model, [2.0]).status

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, range(4))) == [200] * 4


def test_a_model_that_cannot_be_loaded_is_an_error_and_stays_listed(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """With the reason of its load; a repaired one can be loaded."""
    server.copy_version("half_plus_two", 1, base_path)
    server.configure("fragile", base_path)
    wait_until(lambda: client.available("fragile") == {1}, "it answers")
    unloaded(client, "fragile")
    graph = base_path / "1" / "saved_model.pb"
    whole = graph.read_bytes()
    graph.write_bytes(b"nonsense")

    reply = client.send("POST", "/v2/repository/models/fragile/load")

    assert reply.status == 500
    assert reply.error.startswith("failed to load 'fragile': version 1 could not be loaded: ")
    [entry] = index(client, "fragile")
    assert entry["state"] == "UNAVAILABLE"
    assert entry["reason"] in reply.error
    with pytest.raises(grpc.RpcError, match="could not be loaded") as raised:
        asked(server, LOAD(model_name="fragile"))
    assert raised.value.code() is grpc.StatusCode.INTERNAL

    graph.write_bytes(whole)
    wait_until(lambda: states(client, "fragile") == {"1": "READY"}, "the repaired version is loaded")
    changed(client, "fragile", "load")
    server.remove("fragile")


def test_a_load_survives_the_end_of_the_watcher(server: LiveServer, client: RestClient, model: str) -> None:
    """Nothing is asked of the client but patience."""
    unloaded(client, model)

    with ThreadPoolExecutor(1) as pool:
        old = kill(ROUTER_APP, "Watcher")
        load = pool.submit(changed, server.client(), model, "load")
        wait_until(lambda: replica_pids(ROUTER_APP, "Watcher") not in ([], [old]), "a new watcher runs")
        load.result(120)

    assert infer(client, model, [2.0]).status == 200


def test_an_unknown_model_is_neither_loaded_nor_unloaded(server: LiveServer, client: RestClient) -> None:
    """404 and NOT_FOUND."""
    for verb in ("load", "unload"):
        assert client.send("POST", f"/v2/repository/models/nobody/{verb}").status == 404
    with pytest.raises(grpc.RpcError) as raised:
        asked(server, LOAD(model_name="nobody"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def stats_of(client: RestClient, path: str) -> dict[str, Any]:
    (one,) = client.get(f"/v2/models/{path}/stats").json["model_stats"]
    return dict(one)


def test_statistics_count_rows_runs_and_failures_of_both_protocols(server: LiveServer, client: RestClient) -> None:
    """Version 1 and version 2 requests of one model together; over gRPC they are the same."""
    before = stats_of(client, "half_plus_three")
    client.predict("half_plus_three", [1.0, 2.0, 3.0])
    assert infer(client, "half_plus_three", [1.0, 2.0]).status == 200
    assert infer(client, "half_plus_three", []).status == 200
    assert client.post("/v1/models/half_plus_three:predict", {"instances": ["a"]}).status == 400

    after = stats_of(client, "half_plus_three/versions/1")

    def grown(key: str) -> int:
        return int(after["inference_stats"][key]["count"] - before["inference_stats"][key]["count"])

    assert after["inference_count"] - before["inference_count"] == 5
    assert after["execution_count"] - before["execution_count"] == 3
    assert (grown("success"), grown("fail"), grown("compute_infer")) == (3, 1, 3)
    assert after["last_inference"] > before["last_inference"]
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    [message] = oip_pb2.ModelStatisticsResponse.FromString(
        asked(server, STATISTICS(name="half_plus_three"))
    ).model_stats
    assert (message.inference_count, message.execution_count) == (after["inference_count"], after["execution_count"])
    assert message.inference_stats.success.count == after["inference_stats"]["success"]["count"]


def test_statistics_add_up_replicas_and_count_shared_runs_once(server: LiveServer, client: RestClient) -> None:
    """Two replicas answer for one version; a batch is one run of several requests."""
    before = stats_of(client, "twice")["inference_count"]
    for _ in range(20):
        client.predict("twice", [1.0])
    assert stats_of(client, "twice")["inference_count"] - before == 20

    body = {"instances": [[0.0] * 32]}
    with ClosedLoop(server.rest_port, "/v1/models/batched:predict", body, clients=8, pause_s=0.0) as load:
        wait_until(lambda: load.count > 200, "requests were answered")
    shared = stats_of(client, "batched")
    assert shared["execution_count"] < shared["inference_count"]
    assert shared["inference_stats"]["success"]["ns"] >= shared["inference_stats"]["compute_infer"]["ns"]
    everything = client.get("/v2/models/stats").json["model_stats"]
    assert {one["name"] for one in everything} >= {"twice", "batched", "half_plus_two"}


def test_models_are_not_loaded_where_the_operator_has_not_allowed_it(server: LiveServer, client: RestClient) -> None:
    """The index is shown all the same, and the server does not claim the extension."""
    assert "model_repository" in client.get("/v2").json["extensions"]
    with redeployed(server, replace(server.settings.front_door, model_repository_api=False)):
        closed = server.client()
        wait_until(lambda: "model_repository" not in closed.get("/v2").json["extensions"], "the flag is off")
        reply = closed.send("POST", "/v2/repository/models/half_plus_two/unload")
        assert (reply.status, "--enable_model_repository_api" in reply.error) == (403, True)
        with pytest.raises(grpc.RpcError, match="--enable_model_repository_api") as raised:
            asked(server, UNLOAD(model_name="half_plus_two"))
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert states(closed, "half_plus_two") == {"1": "READY"}
        closed.close()
