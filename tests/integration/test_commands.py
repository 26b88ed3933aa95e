"""The commands, and the status document, on a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from core.errors import RuntimeFailure
from core.openapi.status_schema import STATUS
from core.profiling import profiler_messages
from core.profiling.profile_request import ProfileRequest
from core.protos import profiler_pb2
from deployments.cli import main
from deployments.commands.admin_client import AdminClient
from deployments.inference.profiler import STACKS_FILE
from deployments.runtime.compiled import runs_by
from deployments.runtime.library import library
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import FIXED_MODELS, LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import pids_with, replica_pids
from tests.support.soak import times

MOVES = times(6, 50)
RAYS_OWN = "(raylet)"  # the test session's Ray tells of killed workers on this process's standard output


@pytest.fixture
def two_versions(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[str]:
    """A model of which versions 1 and 2 answer, with the label `stable` at version 1."""
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    server.configure("pair", base_path, f'{policy} version_labels {{ key: "stable" value: 1 }}')
    wait_until(lambda: client.available("pair") == {1, 2}, "both versions answer")
    yield "pair"
    server.remove("pair")
    wait_until(lambda: "AVAILABLE" not in client.states("pair").values(), "the model is unloaded")


def run(server: LiveServer, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command that must succeed; gives its JSON."""
    status = main([*arguments, "--json", "--server", f"127.0.0.1:{server.grpc_port}"])
    printed = capsys.readouterr()
    assert status == 0, printed
    return json.loads("".join(line for line in printed.out.splitlines(keepends=True) if RAYS_OWN not in line))


def shown(server: LiveServer, capsys: pytest.CaptureFixture[str], model: str) -> Any:
    (entry,) = run(server, capsys, "status", model)["models"]
    return entry


@pytest.mark.soak
@pytest.mark.timeout(times(120, 600))
def test_no_request_fails_while_a_label_moves(server: LiveServer, two_versions: str, capsys) -> None:
    """`stable` goes from 1 to 2 and back many times under load; both versions answer, and nothing else."""
    path = f"/v1/models/{two_versions}/labels/stable:predict"
    with ClosedLoop(server.rest_port, path, {"instances": [2.0]}) as load:
        for number in range(MOVES):
            run(server, capsys, "label", two_versions, "stable", str(2 - number % 2))
        seen = load.count
        wait_until(lambda: load.count > seen + 100, "requests go on")

    assert load.failures == []
    assert {answer["predictions"][0] for answer in load.answers} == {2.0, 3.0}


def test_no_request_fails_while_policy_and_label_change_in_one_step(
    server: LiveServer, client: RestClient, base_path: Path, capsys
) -> None:
    """The label waits for the version that replaces the one it names, and moves in the table in which that answers."""
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)

    def configure(version: int) -> None:
        policy = f"model_version_policy {{ specific {{ versions: {version} }} }}"
        server.configure("step", base_path, f'{policy} version_labels {{ key: "stable" value: {version} }}')

    configure(1)
    wait_until(lambda: client.available("step") == {1}, "version 1 answers")
    try:
        with ClosedLoop(server.rest_port, "/v1/models/step/labels/stable:predict", {"instances": [2.0]}) as load:
            configure(2)
            wait_until(lambda: client.available("step") == {2}, "version 2 has replaced version 1")
        assert load.failures == []
        assert shown(server, capsys, "step")["labels"] == [
            {"name": "stable", "version": "2", "pending": False, "meanwhile": None}
        ]
    finally:
        server.remove("step")
        wait_until(lambda: "AVAILABLE" not in client.states("step").values(), "the model is unloaded")


def test_versions_and_models_come_and_go_by_command(
    server: LiveServer, client: RestClient, base_path: Path, capsys
) -> None:
    """The commands wait for the outcome; REST clients see it afterwards."""
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    answer = run(server, capsys, "load", "by_command", "1", "--base-path", str(base_path))
    assert answer["ok"], answer
    assert client.predict("by_command", [2.0]) == [2.0]

    run(server, capsys, "load", "by_command", "2")
    assert client.available("by_command") == {1, 2}
    run(server, capsys, "unload", "by_command", "1")
    assert client.available("by_command") == {2}
    entry = shown(server, capsys, "by_command")
    assert entry["version_policy"] == {"specific": ["2"]}
    newest = entry["versions"][0]
    assert (newest["version"], newest["replicas"], newest["aspired"]) == ("2", 1, True)
    assert newest["load_s"] > 0
    assert newest["runs_by"] == runs_by(library())

    run(server, capsys, "unload", "by_command")
    assert client.available("by_command") == set()


def test_a_change_keeps_what_the_yaml_file_says_and_outlives_the_watcher(
    server: LiveServer, client: RestClient, capsys
) -> None:
    """A model of the YAML file gets a label; its base path, its rollout policy and the label survive a new watcher."""
    (version,) = client.available("single")
    before = shown(server, capsys, "single")
    run(server, capsys, "label", "single", "stable", str(version))
    try:
        (old,) = replica_pids(ROUTER_APP, "Watcher")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: replica_pids(ROUTER_APP, "Watcher") not in ([], [old]), "a new watcher runs")
        wait_until(lambda: run(server, capsys, "status")["watcher"]["answers"], "the new watcher answers")

        after = shown(server, capsys, "single")
        assert after["labels"] == [{"name": "stable", "version": str(version), "pending": False, "meanwhile": None}]
        assert {**after, "labels": [], "versions": []} == {**before, "labels": [], "versions": []}
        assert after["rollout"]["policy"] == "resource_preserving"
        assert after["versions"][0]["since"] == before["versions"][0]["since"]
        assert client.post("/v1/models/single/labels/stable:predict", {"instances": [2.0]}).status == 200
    finally:
        run(server, capsys, "label", "single", "--remove", "stable")


def test_the_status_document_is_served_over_rest_and_keeps_to_its_schema(
    server: LiveServer, client: RestClient, capsys
) -> None:
    """It is the one that the command shows."""
    reply = client.get("/status.json")
    document = reply.json

    jsonschema.validate(document, STATUS)
    assert reply.headers["cache-control"] == "no-store"
    assert document["server"]["generation"] > 0
    assert {"protocol": "rest", "address": f"127.0.0.1:{server.rest_port}", "encrypted": False} in document["server"][
        "listens"
    ]
    assert document["configuration"]["files"][0] == str(server.config_file)
    assert {one["name"] for one in document["models"]} >= set(server.entries)
    assert document["models"][0].keys() == run(server, capsys, "status")["models"][0].keys()


def test_reflection_names_the_admin_service(server: LiveServer) -> None:
    """Tools find it beside TensorFlow Serving's."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    assert "ray_model_server.Admin" in {one.name for one in listed.list_services_response.service}


def test_strict_labels_end_a_start_with_labels(tmp_path: Path) -> None:
    """As TensorFlow Serving's does: nothing answers yet."""
    config = tmp_path / "models.config"
    config.write_text(
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow"\n'
        'version_labels { key: "stable" value: 2 } } }'
    )
    script = Path(sys.executable).with_name("ray_model_server")
    ended = subprocess.run(
        [script, f"--model_config_file={config}", "--strict_version_labels"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip

    assert ended.returncode == 255
    assert (
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 2 of model m, "
        "which is not currently available for inference" in ended.stdout
    )


def test_a_profile_under_load_shows_operations_and_functions(server: LiveServer, tmp_path: Path, capsys) -> None:
    """No request fails or changes its answer meanwhile; the status shows the traffic afterwards."""
    output = tmp_path / "profile.json"
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}) as load:
        told = run(server, capsys, "profile", "half_plus_two", "--seconds", "2", "--output", str(output))
        wait_until(lambda: traffic(server, capsys, "half_plus_two") > 1, "the status shows the requests")

    assert load.failures == []
    assert {answer["predictions"][0] for answer in load.answers} == {3.0}
    trace = json.loads(output.read_bytes())
    events = trace["traceEvents"]
    assert told["bytes"] == output.stat().st_size
    assert any("= Mul(" in one["args"]["operation"] for one in events if "operation" in one.get("args", {}))
    assert any("(execution.py)" in one["name"] for one in events if one["pid"] == 1)
    assert trace["otherData"]["runs_traced"] > 10


def traffic(server: LiveServer, capsys: pytest.CaptureFixture[str], model: str) -> float:
    """Return the requests per second that the status document shows."""
    (version,) = shown(server, capsys, model)["versions"]
    return (version["traffic"] or {"requests_per_s": 0.0})["requests_per_s"]


def test_the_profiler_service_records_many_models_until_its_client_goes(server: LiveServer) -> None:
    """Those with most requests, over Serve's handles: a call that is cancelled leaves no replica that records on."""
    path = "/tensorflow.ProfilerService/Profile"
    short = profiler_pb2.ProfileRequest(duration_ms=200).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(path, response_deserializer=profiler_pb2.ProfileResponse.FromString)
        names = {one.name for one in call(short, timeout=60).tool_data}
        given_up = call.future(profiler_pb2.ProfileRequest(duration_ms=60_000).SerializeToString(), timeout=60)
        wait_until(lambda: _is_recorded(given_up), "versions are being recorded")
        given_up.cancel()
        wait_until(lambda: not pids_with(STACKS_FILE), "nothing is being recorded")

    assert len(names) == profiler_messages.MOST_RECORDED < len(FIXED_MODELS)
    assert all(name.endswith(".xplane.pb") for name in names)


def _is_recorded(call: Any) -> bool:
    """Whether versions of a call that goes on are being recorded; seen from outside, as a recording could be in its way.

    Not all need be seen: processes of hosted versions are not below this one.
    """
    if call.done():
        pytest.fail(f"the call has ended: {call.exception()!r}")
    return bool(pids_with(STACKS_FILE))


def test_one_profile_of_a_replica_at_a_time(server: LiveServer) -> None:
    """Of two that come together one is refused, and the other is complete."""

    def recorded(_: int) -> bytes | str:
        client = AdminClient(f"127.0.0.1:{server.grpc_port}")
        try:
            return client.profile(ProfileRequest("mlp", 4.0))[0]
        except RuntimeFailure as error:
            return f"{error.code.name}: {error}"
        finally:
            client.close()

    with ThreadPoolExecutor(2) as threads:
        trace, refused = sorted(threads.map(recorded, range(2)), key=lambda one: isinstance(one, str))

    assert json.loads(trace)["otherData"]["seconds"] == 4
    assert str(refused).startswith("FAILED_PRECONDITION: A profile of this replica is being recorded already")
