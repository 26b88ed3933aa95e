"""Warm-up requests and request logs: what one version answers becomes what the next one is warmed up with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.recording.tf_record import records
from core.recording.warmup_file import FILE
from core.telemetry.metric_names import LOG_EVENTS
from core.versions.servable import DEPLOYMENT
from deployments.cli import main
from tests.integration.conftest import LiveServer
from tests.integration.test_broken_versions import final_error, name_of
from tests.support.clients import RestClient, wait_until
from tests.support.event_sinks import sink
from tests.support.prediction_logs import one_of_each, predict_log, read_logs, serialized, write_warm_up
from tests.support.processes import replica_pids
from tests.support.prometheus_page import scrape


@pytest.fixture
def model(server: LiveServer, base_path: Path) -> Iterator[str]:
    """The name of a test's own model, which leaves the configuration with the test."""
    yield name_of(base_path)
    server.remove(name_of(base_path))


def deploy_with_records(server: LiveServer, base_path: Path, version: int, found: list[bytes]) -> None:
    """Put a version of half plus two in place together with its warm-up requests."""
    aside = server.copy_version("tf1_half_plus_two", 123, base_path.parent / "aside", version)
    write_warm_up(aside, found)
    aside.rename(base_path / str(version))


def added(client: RestClient, model: str, delta: float, version: int | None = None) -> float:
    """Add to the counter of a model, over REST; gives its new value."""
    which = "" if version is None else f"/versions/{version}"
    body = {"signature_name": "incr_counter_by", "inputs": delta}
    reply = client.post(f"/v1/models/{model}{which}:predict", body)
    assert reply.status == 200, reply.body
    return float(reply.json["outputs"])


def test_a_version_answers_its_own_requests_before_anybody_elses(
    server: LiveServer, client: RestClient, base_path: Path, model: str
) -> None:
    """All kinds of requests are replayed; one that fails fails the load, and the version before goes on."""
    deploy_with_records(server, base_path, 1, serialized(one_of_each()))
    server.configure(model, base_path)
    wait_until(lambda: client.available(model) == {1}, "the version is warm")

    deploy_with_records(server, base_path, 2, serialized([predict_log(1.0, signature="gone")]))

    status = final_error(client, model, 2)
    assert status == {
        "error_code": "FAILED_PRECONDITION",
        "error_message": (f'Serving signature key "gone" not found. (warm-up record 1 of {base_path / "2" / FILE})'),
    }
    assert client.available(model) == {1}
    assert client.predict(model, [[2.0]]) == [[3.0]]


def test_a_log_that_is_switched_on_warms_up_the_next_version(
    server: LiveServer, client: RestClient, base_path: Path, tmp_path: Path, model: str
) -> None:
    """The running version starts to log when the configuration says so; the next one begins where its requests lead."""
    folder = tmp_path / "logs"
    folder.mkdir()
    server.copy_version("counter", 1, base_path)
    server.configure(model, base_path)
    wait_until(lambda: client.available(model) == {1}, "the first version answers")
    added(client, model, 100.0)
    pids = replica_pids(f"{model}:1", DEPLOYMENT)

    collector = f'log_collector_config {{ filename_prefix: "{folder}/counter" }}'
    server.configure(model, base_path, f"logging_config {{ {collector} sampling_config {{ sampling_rate: 1 }} }}")
    wait_until(lambda: added(client, model, 1.0) > 0 and bool(read_logs(folder)), "requests are logged")
    assert replica_pids(f"{model}:1", DEPLOYMENT) == pids

    aside = server.copy_version("counter", 1, tmp_path / "aside", 2)
    assert main(["warmup-record", "--model", str(aside), "--log", *map(str, folder.glob("*.tfrecord"))]) == 0
    with (aside / FILE).open("rb") as stream:
        count = len(list(records(stream)))
    aside.rename(base_path / "2")
    wait_until(lambda: client.available(model) == {2}, "the next version is warm")

    assert added(client, model, 0.0, 2) == count > 0
    about = read_logs(folder)[0].log_metadata.model_spec
    assert (about.name, about.version.value, about.signature_name) == (model, 1, "incr_counter_by")


def test_requests_of_versions_of_every_placement_become_events(
    server: LiveServer, client: RestClient, saved_models: Path
) -> None:
    """At an HTTP sink; of a version with a deployment of its own, and of a hosted one."""
    names = ("sunk", "hosted_changing")
    with sink() as target:
        collector = f'log_collector_config {{ type: "cloudevents" filename_prefix: "{target.url}" }}'
        logging = f"logging_config {{ {collector} sampling_config {{ sampling_rate: 1 }} }}"
        for name in names:
            server.configure(name, saved_models / "half_plus_two", logging)
        wait_until(lambda: all(client.available(name) == {1} for name in names), "the models answer")

        def seen() -> set[tuple[str, str, str]]:
            assert [client.predict(name, [2.0]) for name in names] == [[3.0], [3.0]]
            events = [event for one in tuple(target.posted) for event in json.loads(one.body)]
            return {
                (one["inferenceservicename"], one["modelversion"], one["type"].rpartition(".")[2]) for one in events
            }

        wanted = {(name, "1", kind) for name in names for kind in ("request", "response")}
        wait_until(lambda: seen() == wanted, "requests of both are at the sink")
        for name in names:
            sent = {"model_name": name, "result": "sent"}
            wait_until(lambda sent=sent: scrape(client).value(LOG_EVENTS, **sent) > 0, "what was sent is counted")
            server.remove(name)
