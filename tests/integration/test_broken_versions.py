"""Versions that cannot be loaded, and base paths that hold none: told clearly, and nobody else suffers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.versions.run_health import FIRST_RUNS
from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, wait_until
from tests.support.lite_models import LITE_MODELS
from tests.support.zoo_models import MODELS, zoo_calls

LACKING = "waits for saved_model.pb"


@pytest.fixture
def broken(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[Path]:
    """The base path of the model that the test breaks; other models must answer when it is over."""
    yield base_path
    server.remove(name_of(base_path))
    assert client.predict("half_plus_two", [2.0]) == [3.0]


def name_of(base_path: Path) -> str:
    """Name a test's model after its folder, so that no test sees another's past."""
    return base_path.parent.name


def entry(client: RestClient, name: str) -> dict[str, Any]:
    """Return a model's line of the model list; empty while it is unknown."""
    return next((one for one in client.get("/v1/models").json["models"] if one["name"] == name), {})


def final_error(client: RestClient, name: str, version: int = 1) -> dict[str, str]:
    """Wait until the version has ended and give its status."""
    wait_until(lambda: client.states(name).get(version) == "END", "loading was given up")
    statuses = client.get(f"/v1/models/{name}/versions/{version}").json["model_version_status"]
    return statuses[0]["status"]


def attempts(client: RestClient, name: str, version: int = 1) -> int:
    """Return how often loading a version was tried without success."""
    models = client.get("/status.json").json["models"]
    versions = next(one["versions"] for one in models if one["name"] == name)
    return next(one["failed_attempts"] for one in versions if one["version"] == str(version))


def test_random_bytes_are_no_saved_model(server: LiveServer, client: RestClient, broken: Path) -> None:
    """A file that is not a SavedModel ends with TensorFlow's text, at once; requests say that nothing answers."""
    (broken / "1").mkdir()
    (broken / "1" / "saved_model.pb").write_bytes(bytes(range(256)) * 10)
    server.configure(name_of(broken), broken)

    status = final_error(client, name_of(broken))

    assert status["error_code"] != "OK"
    assert "saved_model.pb" in status["error_message"]
    assert attempts(client, name_of(broken)) == 1
    reply = client.post(f"/v1/models/{name_of(broken)}:predict", {"instances": [1]})
    assert (reply.status, reply.error) == (404, f"Servable not found for request: Latest({name_of(broken)})")


def test_an_operation_that_does_not_exist_is_named(
    server: LiveServer, client: RestClient, broken: Path, saved_models: Path
) -> None:
    """A model made for an operation that this TensorFlow lacks fails with the operation's name."""
    shutil.copytree(saved_models / "half_plus_two" / "1", broken / "1")
    graph = broken / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"AddV2", b"AddX2"))
    server.configure(name_of(broken), broken)

    assert "AddX2" in final_error(client, name_of(broken))["error_message"]
    assert attempts(client, name_of(broken)) == 1  # no time mends it


def test_a_damaged_tensorflow_lite_model_is_told_and_a_whole_one_takes_its_place(
    server: LiveServer, client: RestClient, broken: Path
) -> None:
    """A version that holds nothing else is served without a flag."""
    (broken / "1").mkdir()
    (broken / "1" / "model.tflite").write_bytes(b"not a model at all")
    server.configure(name_of(broken), broken)

    status = final_error(client, name_of(broken))

    assert status["error_code"] == "INVALID_ARGUMENT"
    assert status["error_message"].startswith("Cannot build FlatBufferModel from buffer. ")
    shutil.copytree(LITE_MODELS / "half_plus_two" / "1", broken / "2")
    wait_until(lambda: client.available(name_of(broken)) == {2}, "the whole version is available")
    assert client.predict(name_of(broken), [[2.0]]) == [[3.0]]


def test_operations_of_an_installed_package_are_there(server: LiveServer, client: RestClient, broken: Path) -> None:
    """A version that needs TF Text's operations is loaded by a replica that opens its libraries."""
    shutil.copytree(MODELS / "text_bert" / "1", broken / "1")
    server.configure(name_of(broken), broken)
    wait_until(lambda: client.available(name_of(broken)) == {1}, "the version is available")
    call = next(one for one in zoo_calls() if one.model == "text_bert")

    reply = client.post(f"/v1/models/{name_of(broken)}:predict", {"instances": ["unaffable  tea, tea!", ""]})

    assert [row["ids"] for row in reply.json["predictions"]] == call.outputs["ids"][[1, 3]].tolist()


def test_a_repaired_directory_is_loaded(
    server: LiveServer, client: RestClient, broken: Path, saved_models: Path
) -> None:
    """When the files of a failed version change, it is tried anew; TensorFlow Serving never does that."""
    (broken / "1").mkdir()
    (broken / "1" / "saved_model.pb").write_bytes(b"nonsense")
    server.configure(name_of(broken), broken)
    final_error(client, name_of(broken))

    shutil.rmtree(broken / "1")
    shutil.copytree(saved_models / "half_plus_three" / "1", broken / "1")

    wait_until(lambda: client.available(name_of(broken)) == {1}, "the repaired version is available")
    assert client.predict(name_of(broken), [2.0]) == [4.0]


def test_a_failing_version_does_not_replace_a_serving_one(server: LiveServer, client: RestClient, broken: Path) -> None:
    """Version 1 goes on answering while version 2 cannot be loaded, and after that."""
    server.copy_version("half_plus_two", 1, broken)
    server.configure(name_of(broken), broken)
    wait_until(lambda: client.available(name_of(broken)) == {1}, "version 1 is available")

    (broken / "2").mkdir()
    (broken / "2" / "saved_model.pb").write_bytes(b"nonsense")
    wait_until(lambda: client.states(name_of(broken)).get(2) == "END", "version 2 was given up")

    assert client.available(name_of(broken)) == {1}
    assert client.predict(name_of(broken), [2.0]) == [3.0]


def test_a_missing_base_path_stops_only_its_own_model(server: LiveServer, client: RestClient, broken: Path) -> None:
    """The model waits, status says why, and it is loaded as soon as the path is there."""
    missing = broken / "missing"
    server.configure(name_of(broken), missing)
    wait_until(lambda: bool(entry(client, name_of(broken)).get("problem")), "the problem is shown")
    assert (
        f"Could not find base path {missing} for servable {name_of(broken)}"
        in entry(client, name_of(broken))["problem"]
    )
    assert client.get(f"/v1/models/{name_of(broken)}").status == 404

    server.copy_version("half_plus_two", 1, missing)

    wait_until(lambda: client.available(name_of(broken)) == {1}, "the version is available")


def test_names_that_are_no_versions_are_ignored_and_shown(server: LiveServer, client: RestClient, broken: Path) -> None:
    """Files and other names do not disturb; the model list tells why each was ignored."""
    (broken / "README").write_text("not a version")
    (broken / "1.bak").mkdir()
    (broken / "model.keras").write_bytes(b"PK")
    server.configure(name_of(broken), broken)

    wait_until(
        lambda: set(entry(client, name_of(broken)).get("ignored", ())) == {"README", "1.bak", "model.keras"},
        "ignored names are shown",
    )
    problem = entry(client, name_of(broken))["problem"]
    assert "Did you forget to name your leaf directory as a number" in problem
    assert "It holds model.keras, a Keras archive and not a SavedModel" in problem


def test_a_version_still_being_copied_is_not_loaded(
    server: LiveServer, client: RestClient, broken: Path, saved_models: Path
) -> None:
    """Without its graph, or while it grows, a version waits; it is loaded when it is whole."""
    source = saved_models / "mlp" / "1"
    target = broken / "1"
    shutil.copytree(source / "variables", target / "variables")
    server.configure(name_of(broken), broken)
    wait_until(lambda: entry(client, name_of(broken)).get("waiting", {}).get("1", "").startswith(LACKING), "it waits")
    assert client.states(name_of(broken)) == {}

    shutil.copy(source / "saved_model.pb", target / "saved_model.pb")

    wait_until(lambda: client.available(name_of(broken)) == {1}, "the whole version is available")


def test_a_broken_configuration_changes_nothing(server: LiveServer, client: RestClient) -> None:
    """At run time the last good configuration stays in force, and every mistake of the new one is known."""
    good = server.config_file.read_text()
    server.config_file.write_text('model_config_list { config { name: "half_plus_two" } config { name: 5 } }')
    try:
        wait_until(lambda: bool(config_problems(client)), "the mistakes were seen")
        assert client.predict("half_plus_three", [2.0]) == [4.0]
    finally:
        server.config_file.write_text(good)
    wait_until(lambda: config_problems(client) == [], "the repaired file was read")


def config_problems(client: RestClient) -> list[object]:
    """Return the mistakes for which the newest configuration was refused, as routers know them."""
    problems: list[object] = client.get("/status.json").json["configuration"]["problems"]
    return problems


def test_a_version_that_answers_with_errors_only_is_shown_as_failing(
    server: LiveServer, client: RestClient, broken: Path
) -> None:
    """It loads and every run fails: AVAILABLE with the error, missing in /readyz, not serving for gRPC's health."""
    name = name_of(broken)
    server.copy_version("unfilled_table", 1, broken)
    server.configure(name, broken)
    wait_until(lambda: client.available(name) == {1}, "the version is available")
    assert name not in client.get("/readyz").json["missing"]

    for _ in range(FIRST_RUNS):
        assert client.post(f"/v1/models/{name}:predict", {"instances": ["zero"]}).status == 400

    wait_until(lambda: "Table not initialized" in client.get("/readyz").json["missing"].get(name, ""), "it shows")
    (status,) = client.get(f"/v1/models/{name}").json["model_version_status"]
    assert (status["state"], status["status"]["error_code"]) == ("AVAILABLE", "FAILED_PRECONDITION")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        asked = health_pb2.HealthCheckRequest(service=f"model/{name}")
        health = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=60)
    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
