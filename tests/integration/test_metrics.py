"""Numbers of a running server, as Prometheus reads them."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import ray
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from core.exposition.families import FAMILIES
from core.protos import serving_pb2, tensor_pb2
from core.telemetry.metric_names import (
    FORWARDED_REQUESTS,
    GRAPH_RUNS,
    IN_FLIGHT,
    LABEL_REQUESTS,
    LOAD_ATTEMPT_COUNT,
    LOAD_SECONDS,
    METRICS_AGE,
    REPLICAS,
    REQUEST_COUNT,
    REQUEST_EXAMPLE_COUNT_TOTAL,
    REQUEST_EXAMPLE_COUNTS,
    REQUEST_LATENCY,
    RESIDENT_BYTES,
    ROLLOUT_STEPS,
    RUNTIME_LATENCY,
    SIGNATURE_REQUESTS,
    SIGNATURE_SECONDS,
    STORAGE_PROBLEM,
    VERSION_STATE,
)
from core.telemetry.request_meter import OTHER_NAMES
from core.versions.servable import DEPLOYMENT, ServableId, app_name
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import PREDICTION, call, predict, predict_request, refused
from tests.support.clients import RestClient, wait_until
from tests.support.processes import kill, replica_pids
from tests.support.prometheus_page import PATH, Page, assert_never_falls, scrape, scrape_once

X = np.array([1.0], np.float32)
METADATA = serving_pb2.GetModelMetadataRequest(
    model_spec=serving_pb2.ModelSpec(name="half_plus_two"), metadata_field=["signature_def"]
)


class Difference:
    """What a block of requests changed."""

    def __init__(self, before: Page, client: RestClient) -> None:
        self._before, self._client = before, client
        self._after = scrape(client)

    def of(self, metric, suffix: str = "", **labels: str) -> float:
        return self._after.value(metric, suffix, **labels) - self._before.value(metric, suffix, **labels)

    def requests(self, name: str, status: str) -> float:
        """Count requests by name; one that no model has may be among the others, if tests have asked for many."""
        names = (name, OTHER_NAMES) if name.startswith("nobody") else (name,)
        return sum(self.of(REQUEST_COUNT, model_name=one, status=status) for one in names)

    def comes_to(self, wanted: float, metric, suffix: str = "", **labels: str) -> bool:
        """Whether model servers count so much; a report that is late on a busy machine is on a later page."""

        def is_in() -> bool:
            if self.of(metric, suffix, **labels) < wanted:
                self._after = scrape(self._client)
            return self.of(metric, suffix, **labels) >= wanted

        wait_until(is_in, f"the model servers have reported {metric.name}")
        return self.of(metric, suffix, **labels) == wanted


@pytest.fixture
def changed(client: RestClient) -> Callable[[Callable[[], object]], Difference]:
    """Tells what requests change."""

    def measure(work: Callable[[], object]) -> Difference:
        before = scrape(client)
        work()
        return Difference(before, client)

    return measure


@pytest.fixture
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def test_case_P7_the_page_is_there_without_being_asked_for(client: RestClient) -> None:
    """At TensorFlow Serving's path, for any method, as plain text."""
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        reply = client.send(method, PATH)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain")
        assert b"# TYPE :tensorflow:serving:request_count counter\n" in reply.body
    assert client.send("HEAD", PATH).body == b""


def test_everybodys_page_shows_the_same_sums(server: LiveServer, client: RestClient) -> None:
    """At `/metrics`, by prometheus-client; a traced request is the exemplar of its latency there."""
    trace_id = secrets.token_hex(16)
    sent = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
    assert client.send("POST", "/v1/models/half_plus_two:predict", '{"instances": [1.0]}', sent).status == 200
    reply = client.send("GET", "/metrics", None, {"accept": "application/openmetrics-text;version=1.0.0"})
    families = {one.name: one for one in text_string_to_metric_families(reply.body.decode())}
    counts = families["tensorflow_serving_request_count"].samples
    [counted] = [one for one in counts if one.labels == {"model_name": "half_plus_two", "status": "OK"}]
    exemplars = [one.exemplar for one in families["tensorflow_serving_request_latency"].samples if one.exemplar]

    assert (reply.status, counted.name) == (200, "tensorflow_serving_request_count_total")
    assert trace_id in {one.labels["trace_id"] for one in exemplars}
    assert counted.value <= scrape(client).value(REQUEST_COUNT, model_name="half_plus_two", status="OK")
    assert {one.name for one in FAMILIES if not one.metric.hidden_until_used} <= families.keys()


def test_case_P8_a_query_string_is_refused(client: RestClient) -> None:
    """With TensorFlow Serving's text."""
    reply = client.get(f"{PATH}?x=1")

    assert (reply.status, reply.body.decode()) == (400, f"Unexpected path: {PATH}?x=1. Should be {PATH}")


@pytest.mark.parametrize(("method", "path", "body", "name", "status", "api"), [
    ("POST", "/v1/models/half_plus_two:predict", '{"instances": [1.0]}', "half_plus_two", "OK", "predict"),
    ("POST", "/v1/models/half_plus_two/versions/1:predict", '{"instances": [1.0]}', "half_plus_two", "OK", "predict"),
    ("POST", "/v1/models/half_plus_two/versions/9:predict", '{"instances": [1.0]}', "half_plus_two", "NOT_FOUND", None),
    ("POST", "/v1/models/half_plus_two:predict", "{}", "half_plus_two", "INVALID_ARGUMENT", None),
    ("POST", "/v1/models/tf1_half_plus_two:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}', "tf1_half_plus_two", "OK", "regress"),
    ("POST", "/v1/models/nobody:predict", '{"instances": [1.0]}', "nobody", "NOT_FOUND", None),
    ("POST", "/v1/models/half_plus_two/versions/99999999999999999999:predict", "{}", "half_plus_two", "INVALID_ARGUMENT", None),
    ("GET", "/v1/models/half_plus_two", None, "half_plus_two", "OK", ""),
    ("GET", "/v1/models/half_plus_two/metadata", None, "half_plus_two", "OK", ""),
    ("GET", "/v1/models/nobody", None, "nobody", "NOT_FOUND", None),
    ("GET", "/v1/nonsense", None, "", "INVALID_ARGUMENT", None),
    ("PUT", "/v1/models/half_plus_two:predict", "{}", "", "INVALID_ARGUMENT", None),
    ("OPTIONS", "/v1/models/half_plus_two:predict", None, "", "INVALID_ARGUMENT", None),
])  # fmt: skip
def test_every_rest_request_of_the_api_is_counted(
    client: RestClient, changed, method, path, body, name, status, api
) -> None:
    """Under the name that was asked for and its status; only a good one is timed."""
    difference = changed(lambda: client.send(method, path, body))

    assert difference.requests(name, status) == 1
    timed = difference.of(REQUEST_LATENCY, "_count", model_name=name, API=api or "", entrypoint="REST")
    assert timed == (0 if api is None else 1)


def test_other_pages_are_not_counted(client: RestClient, changed) -> None:
    """Probes and scrapes would drown the requests."""
    before = scrape(client)

    for path in ("/healthz", "/readyz", PATH, "/nonsense"):
        client.get(path)

    names = {one["model_name"] for one in scrape(client).labelled(REQUEST_COUNT)}
    assert names == {one["model_name"] for one in before.labelled(REQUEST_COUNT)}


def test_grpc_requests_are_counted(channel: grpc.Channel, changed) -> None:
    """Predict, Classify and Regress, good and bad ones; not what only tells of models."""

    def work() -> None:
        predict(channel, predict_request("half_plus_two", x=X))
        refused(channel, f"{PREDICTION}Predict", predict_request("nobody_else", x=X))
        refused(channel, f"{PREDICTION}Classify", serving_pb2.ClassificationRequest())
        call(channel, f"{PREDICTION}GetModelMetadata", METADATA, serving_pb2.GetModelMetadataResponse)

    difference = changed(work)

    assert difference.of(REQUEST_COUNT, model_name="half_plus_two", status="OK") == 1
    assert difference.requests("nobody_else", "NOT_FOUND") == 1
    assert difference.of(REQUEST_COUNT, model_name="", status="INVALID_ARGUMENT") == 1
    assert difference.of(REQUEST_LATENCY, "_count", model_name="half_plus_two", API="Predict", entrypoint="GRPC") == 1


def test_examples_of_multi_inference_are_counted(channel: grpc.Channel, changed) -> None:
    """As TensorFlow Serving does, which counts no requests of this method."""
    task = serving_pb2.InferenceTask(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "tf1_half_plus_two", "regress_x_to_y"
    example = tensor_pb2.Example()
    example.features.feature["x"].float_list.value.append(2.0)
    examples = serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=[example] * 3))
    request = serving_pb2.MultiInferenceRequest(tasks=[task], input=examples)

    difference = changed(
        lambda: call(channel, f"{PREDICTION}MultiInference", request, serving_pb2.MultiInferenceResponse)
    )

    assert difference.comes_to(3, REQUEST_EXAMPLE_COUNT_TOTAL, model="tf1_half_plus_two")
    assert difference.comes_to(1, REQUEST_EXAMPLE_COUNTS, "_count", model="tf1_half_plus_two")
    assert difference.of(REQUEST_COUNT, model_name="tf1_half_plus_two", status="OK") == 0


def test_runs_are_counted_by_signature_and_timed(client: RestClient, changed) -> None:
    """The model server knows which signature was meant, and how long TensorFlow took."""
    version = {"model_name": "tf1_half_plus_two", "version": "123"}
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}

    def work() -> None:
        client.post("/v1/models/tf1_half_plus_two:regress", body)
        client.post("/v1/models/tf1_half_plus_two:regress", body | {"signature_name": "nobody's"})

    difference = changed(work)

    good = version | {"signature": "regress_x_to_y"}
    assert difference.comes_to(1, SIGNATURE_REQUESTS, **good, method="Regress", status="OK")
    assert difference.comes_to(
        1, SIGNATURE_REQUESTS, **version, signature="", method="Regress", status="INVALID_ARGUMENT"
    )
    assert difference.comes_to(1, SIGNATURE_SECONDS, "_count", **good)
    runtime = {"model_name": "tf1_half_plus_two", "API": "Regress", "runtime": "TF1"}
    assert difference.comes_to(1, RUNTIME_LATENCY, "_count", **runtime)
    assert difference.of(RUNTIME_LATENCY, "_sum", **runtime) > 0
    assert difference.comes_to(1, GRAPH_RUNS)
    assert difference.of(FORWARDED_REQUESTS, model_name="tf1_half_plus_two", transport="direct") == 2


def test_all_replicas_of_a_version_are_added_up(client: RestClient, changed) -> None:
    """However requests are spread."""
    difference = changed(lambda: [client.predict("twice", [1.0]) for _ in range(20)])

    labels = {"model_name": "twice", "version": "1", "signature": "serving_default"}
    assert difference.comes_to(20, SIGNATURE_REQUESTS, **labels, method="Predict", status="OK")
    assert scrape(client).value(REPLICAS, model_name="twice", version="1") == 2


def test_the_life_of_a_version_shows(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """State, time to load, requests by label; what a version counted stays when it is gone."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("shown", base_path, 'version_labels { key: "stable" value: 1 }')
    wait_until(lambda: client.available("shown") == {1}, "the version is available")
    for _ in range(7):
        assert client.post("/v1/models/shown/labels/stable:predict", {"instances": [1.0]}).status == 200

    runtime = {"model_name": "shown", "API": "Predict", "runtime": "TF1"}
    wait_until(lambda: scrape(client).count(RUNTIME_LATENCY, **runtime) == 7, "the model server has reported")
    page = scrape(client)
    version = {"model_name": "shown", "version": "1"}
    assert page.value(VERSION_STATE, **version, state="AVAILABLE") == 1
    assert page.value(LABEL_REQUESTS, model_name="shown", label="stable") == 7
    assert page.count(LOAD_SECONDS, model_name="shown") == 1
    assert page.value(LOAD_ATTEMPT_COUNT, model_path=f"{base_path}/1", status="success") == 1
    assert page.value(ROLLOUT_STEPS, model_name="shown", step="available") == 1
    assert page.value(RESIDENT_BYTES, **version) > 10_000_000
    assert page.value(STORAGE_PROBLEM, model_name="shown") == 0
    assert page.labelled(IN_FLIGHT, **version) == [version]

    server.remove("shown")
    wait_until(lambda: not client.states("shown") or client.states("shown") == {1: "END"}, "the version is gone")
    wait_until(lambda: not replica_pids(app_name(ServableId("shown", 1)), DEPLOYMENT), "its process has ended")
    assert scrape(client).count(RUNTIME_LATENCY, **runtime) == 7
    assert scrape(client).value(ROLLOUT_STEPS, model_name="shown", step="unload") == 1


def test_no_number_falls_while_the_watcher_and_a_replica_are_killed(server: LiveServer, client: RestClient) -> None:
    """And the page answers all the time; what was counted before is still there."""
    pages = [scrape(client)]
    labels = {"model_name": "half_plus_three", "API": "predict", "entrypoint": "REST"}
    client.predict("half_plus_three", [1.0])
    pages.append(scrape(client))
    old = [kill(ROUTER_APP, "Watcher"), kill(app_name(ServableId("half_plus_three", 1)), DEPLOYMENT)]

    def has_new_watcher() -> bool:
        pages.append(scrape_once(client))
        is_new = not set(replica_pids(ROUTER_APP, "Watcher")) & set(old)
        is_fresh = pages[-1].value(METRICS_AGE) == 0 and pages[-1].labelled(VERSION_STATE)
        return bool(is_new and is_fresh)

    wait_until(has_new_watcher, "the new watcher adds up")

    assert pages[-1].count(REQUEST_LATENCY, **labels) == pages[1].count(REQUEST_LATENCY, **labels)
    assert_never_falls(pages)
    assert len(pages[-1].labelled(VERSION_STATE, model_name="mlp")) == 1
    wait_until(
        lambda: client.post("/v1/models/half_plus_three:predict", {"instances": [2.0]}).status == 200,
        "the version answers again",
    )


def test_a_watcher_that_hangs_leaves_the_last_numbers(client: RestClient) -> None:
    """The page comes while the watcher stands still, and says how old they are."""
    before = scrape(client)
    (watcher,) = replica_pids(ROUTER_APP, "Watcher")
    os.kill(watcher, signal.SIGSTOP)
    try:
        client.predict("half_plus_two", [1.0])
        stale = scrape_once(client)
    finally:
        os.kill(watcher, signal.SIGCONT)

    assert stale.value(METRICS_AGE) > 0
    wait_until(lambda: scrape_once(client).value(METRICS_AGE) == 0, "the numbers are fresh again")
    assert_never_falls([before, stale, scrape(client)])


def test_rays_own_metrics_have_the_numbers_too(client: RestClient) -> None:
    """Under names without colons; histograms as counters with limits."""
    client.predict("half_plus_two", [1.0])
    port = ray.nodes()[0]["MetricsExportPort"]
    labels = 'model_name="half_plus_two"'

    def text() -> str:
        return RestClient(port).get("/metrics").body.decode()

    def has(name: str, page: str) -> bool:
        return any(line.startswith(f"{name}{{") and labels in line for line in page.splitlines())

    wait_until(lambda: has("ray_model_server_request_count_total", text()), "Ray has the count of requests")
    for name in ("runtime_latency_bucket_total", "runtime_latency_count_total", "version_state", "resident_bytes"):
        wait_until(lambda name=name: has(f"ray_model_server_{name}", text()), f"Ray has {name}")
