"""One trace over router and model server, from a caller's `traceparent` to TensorFlow's run, as a collector gets it."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from core.protos import serving_pb2
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import PREDICTION, predict_request
from tests.support.clients import RestClient, wait_until
from tests.support.span_collector import Received, SpanCollector

OURS = "ray_model_server."
CALLER = "00f067aa0ba902b7"
RPC = "tensorflow.serving.PredictionService/Predict"
NAME = "POST /v1/models/{model}:predict"


def headers(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-{flags}", "tracestate": "vendor=1"}


def ask(server: LiveServer, model: str, body: str, sent: dict[str, str]) -> int:
    client = RestClient(server.rest_port)
    try:
        return client.send("POST", f"/v1/models/{model}:predict", body, sent).status
    finally:
        client.close()


def spans_of(collector: SpanCollector, trace_id: str, *names: str) -> dict[str, Received]:
    """Wait until a trace has these spans, and give all that it has, one of each name."""

    def found() -> dict[str, Received]:
        return {one.name: one for one in collector.trace(trace_id)}

    wait_until(lambda: found().keys() >= set(names), f"{names} are there")
    assert len(found()) == len(collector.trace(trace_id))
    return found()


def assert_below(*spans: Received) -> None:
    """Each is below the one before it, and within its time."""
    for parent, child in itertools.pairwise(spans):
        assert child.parent_id == parent.span_id
        assert parent.begin_ns <= child.begin_ns <= child.end_ns <= parent.end_ns


def test_a_rest_request_is_one_trace_over_both_processes(server: LiveServer, collector: SpanCollector) -> None:
    """The caller's span is the parent; each span says what it stands for."""
    trace_id = secrets.token_hex(16)

    assert ask(server, "half_plus_two", '{"instances": [1.0]}', headers(trace_id)) == 200

    found = spans_of(collector, trace_id, NAME, "route", "call", "run")
    request, route, call = found[NAME], found["route"], found["call"]
    assert request.parent_id == CALLER
    assert_below(request, route, call, found["run"])
    if "queue" in found:  # a call that is known to be short does not wait
        assert_below(call, found["queue"])
    assert [one.kind for one in (request, route, call, found["run"])] == ["SERVER", "CLIENT", "SERVER", "INTERNAL"]
    assert {one.state for one in found.values()} == {"vendor=1"}
    assert request.resource["ray_model_server.process"] == "router"
    assert call.resource["ray_model_server.process"] == "model"
    assert {one.resource["service.name"] for one in found.values()} == {"ray-model-server"}
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/v1/models/half_plus_two:predict",
        "http.route": "/v1/models/{model}:predict",
        "http.response.status_code": 200,
        f"{OURS}model": "half_plus_two",
        f"{OURS}version": request.attributes[f"{OURS}version"],
    }
    assert call.attributes[f"{OURS}transport"] == "direct"
    assert call.attributes[f"{OURS}code"] == "OK"
    assert found["run"].attributes == {f"{OURS}signature": "serving_default", f"{OURS}rows": 1}


def test_a_grpc_call_is_one_trace_over_both_processes(server: LiveServer, collector: SpanCollector) -> None:
    """With the names that OpenTelemetry has for gRPC."""
    trace_id = secrets.token_hex(16)
    request = predict_request("half_plus_two", x=np.float32([1.0, 2.0]))

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        raw = channel.unary_unary(f"{PREDICTION}Predict")(
            request.SerializeToString(), metadata=tuple(headers(trace_id).items())
        )

    assert serving_pb2.PredictResponse.FromString(raw).model_spec.name == "half_plus_two"
    found = spans_of(collector, trace_id, RPC, "route", "call", "run")
    server_span = found[RPC]
    assert server_span.parent_id == CALLER
    assert_below(server_span, found["route"], found["call"], found["run"])
    assert found["run"].attributes[f"{OURS}rows"] == 2
    assert server_span.attributes["rpc.service"] == "tensorflow.serving.PredictionService"
    assert server_span.attributes["rpc.method"] == "Predict"
    assert server_span.attributes["rpc.grpc.status_code"] == 0


def test_a_batch_shows_in_the_traces_of_all_its_requests(server: LiveServer, collector: SpanCollector) -> None:
    """Each trace goes down to the run; the batches know each other by their links."""
    body = json.dumps({"instances": [[0.5] * 32]})

    def ask_together() -> list[str]:
        traces = [secrets.token_hex(16) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda one: ask(server, "batched", body, headers(one)), traces))
        assert statuses == [200] * 4
        wait_until(lambda: all(len(collector.trace(one)) == 6 for one in traces), "all spans are there")
        return traces

    def shared(traces: list[str]) -> list[Received]:
        return [span for one in traces for span in collector.trace(one) if span.name == "batch" and len(span.links) > 1]

    leaders: list[Received] = []
    traces: list[str] = []

    def have_shared() -> bool:
        traces[:] = ask_together()
        leaders[:] = shared(traces)
        return bool(leaders)

    wait_until(have_shared, "two requests share a batch")
    leader = leaders[0]
    members = [spans_of(collector, trace, "run") for trace, _ in leader.links]
    assert {(one["call"].trace_id, one["call"].span_id) for one in members} == set(leader.links)
    for one in members:
        assert_below(one[NAME], one["route"], one["call"], one["batch"], one["run"])
        assert_below(one["call"], one["queue"])
        assert one["batch"].attributes[f"{OURS}batch.requests"] == len(members)
        assert one["batch"].attributes[f"{OURS}batch.rows"] == len(members)
        assert one["batch"] == leader or one["batch"].links == ((leader.trace_id, leader.span_id),)
    assert len({(one["run"].begin_ns, one["run"].end_ns) for one in members}) == 1


def test_a_refused_request_is_traced_too(server: LiveServer, collector: SpanCollector) -> None:
    """A client's mistake is not marked as the server's error."""
    trace_id = secrets.token_hex(16)

    assert ask(server, "half_plus_two", '{"instances": ["x"]}', headers(trace_id)) == 400

    found = spans_of(collector, trace_id, NAME, "route", "call")
    assert found[NAME].attributes["http.response.status_code"] == 400
    assert (found[NAME].error, found["route"].error) == ("", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "sent",
    [
        lambda trace_id: headers(trace_id, flags="00"),
        lambda trace_id: {"traceparent": f"00-{trace_id}-zz"},
        lambda trace_id: {"traceparent": "\x80" * 5000, "tracestate": trace_id},
        lambda _: {},
    ],
    ids=["not sampled", "cut off", "garbage", "none"],
)
def test_other_requests_leave_no_span(
    server: LiveServer, collector: SpanCollector, sent: Callable[[str], dict[str, str]]
) -> None:
    """A request that is not asked to be traced, or asks in words that make no sense, is answered as ever."""
    trace_id = secrets.token_hex(16)
    before = len(collector.named(NAME))

    assert ask(server, "half_plus_two", '{"instances": [1.0]}', sent(trace_id)) == 200

    marker = secrets.token_hex(16)
    assert ask(server, "half_plus_two", '{"instances": [1.0]}', headers(marker)) == 200
    spans_of(collector, marker, NAME)
    assert collector.trace(trace_id) == []
    assert len(collector.named(NAME)) == before + 1
