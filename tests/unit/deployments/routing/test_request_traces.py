"""The router's spans: which requests have them, what they say, and that others meet nothing of it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from core.config.server_settings import TracingSettings
from core.errors import Code, Unavailable
from core.protos import serving_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.telemetry.metric_names import REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metrics import Metrics
from core.telemetry.spans import CODE, LABEL, MODEL, SIGNATURE, STATUS, VERSION, SpanKind, TracedProcess
from core.telemetry.trace_context import TRACEPARENT
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.rest.short_protocol import UNUSUAL, ShortProtocol, protocol_factory
from deployments.routing.access_log import AccessLog
from deployments.routing.request_router import RequestRouter
from deployments.routing.request_traces import RequestTraces, TracedRouter
from deployments.telemetry.tracing import Tracer, tracer_of
from tests.support.clients import free_port
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeTransport
from tests.support.span_collector import SpanList

TABLE = RoutingTable(1, {"m": ModelRoutes({3: Route.of(ServableId("m", 3))}, {"stable": 3})}, settled=True)
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"traceparent: 00-{TRACE}-{CALLER}-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-{CALLER}-00"
REST_NAME = "POST /v1/models/{model}:predict"

Ask = Callable[..., Awaitable[Any]]


class Site:
    """A router of which the doors are open, with the spans that it makes."""

    def __init__(self, rate: float, answer: Answer | Exception | None, access: AccessLog | None = None) -> None:
        self.spans = SpanList()
        self.transport = FakeTransport(answer)
        self.metrics = Metrics()
        self.router = TracedRouter("r", self.transport, self.metrics)
        self.router.apply(TABLE)
        self.traces = RequestTraces(Tracer(rate, self.spans))
        self.api = HttpApi(self.router, HttpLimits(), "t", access=access, traces=self.traces)
        self.grpc_api = GrpcApi(self.router, "token", _same, access=access, traces=self.traces)
        self.http_port, self.grpc_port = free_port(), free_port()
        self.http = HttpDoor(HttpAddress("127.0.0.1", self.http_port), self.api, "t")
        self.grpc = GrpcDoor(GrpcAddress("127.0.0.1", self.grpc_port), self.grpc_api, "token")

    async def rest(self, *headers: str, target: str = "/v1/models/m:predict", method: str = "POST") -> Any:
        content = request(method, target, b"{}" if method == "POST" else b"", *headers)
        return await asyncio.to_thread(self._ask, content)

    def _ask(self, content: bytes) -> Any:
        with RawConnection(self.http_port) as connection:
            return connection.ask(content)

    async def call(self, method: str, raw: bytes, *metadata: tuple[str, str]) -> bytes:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            answer: bytes = await channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")(
                raw, metadata=metadata
            )
        return answer


def model_request(method: str, signature: str = "") -> bytes:
    """Return a request for the model."""
    envelope = serving_pb2.RequestEnvelope()
    envelope.model_spec.name, envelope.model_spec.signature_name = "m", signature
    metadata = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    return envelope.SerializeToString() + (metadata.SerializeToString() if method == "GetModelMetadata" else b"")


async def _same(raw: bytes) -> bytes:
    return raw


Open = Callable[..., Awaitable[Site]]


@pytest.fixture
async def open_site() -> AsyncIterator[Open]:
    """Opens doors, and closes them at the end."""
    sites: list[Site] = []

    async def opened(
        rate: float = 0.0, answer: Answer | Exception | None = None, access: AccessLog | None = None
    ) -> Site:
        sites.append(site := Site(rate, answer, access))
        await asyncio.gather(site.http.open(), site.grpc.open())
        return site

    yield opened
    for site in sites:
        await asyncio.gather(site.http.drain(1.0), site.grpc.drain(1.0))


async def test_a_sampled_rest_request_has_a_span_and_its_way_another(open_site: Open) -> None:
    """The call takes the second one along, with the caller's state."""
    site = await open_site()

    reply = await site.rest(SAMPLED, "tracestate: a=1", "tracestate: b=2", target="/v1/models/m/labels/stable:predict")

    assert reply.status == 200
    asked, route = site.spans["POST /v1/models/{model}/labels/{label}:predict"], site.spans["route"]
    assert (asked.kind, asked.parent_id, asked.context.trace_id) == (SpanKind.SERVER, CALLER, TRACE)
    assert (route.kind, route.parent_id) == (SpanKind.CLIENT, asked.context.span_id)
    assert {MODEL: "m", LABEL: "stable", VERSION: 3, STATUS: 200}.items() <= asked.attributes.items()
    assert {MODEL: "m", VERSION: 3, CODE: "OK"}.items() <= route.attributes.items()
    [(_, call)] = site.transport.calls
    assert call.trace == route.context
    assert call.trace.state == "a=1,b=2"
    assert asked.begin_ns <= route.begin_ns <= route.end_ns <= asked.end_ns


@pytest.mark.parametrize("method", ["Predict", "GetModelMetadata"])
async def test_a_sampled_call_has_a_span_and_its_way_another(open_site: Open, method: str) -> None:
    """Under OpenTelemetry's names for gRPC."""
    site = await open_site(answer=Answer(Code.OK, b"answer"))
    metadata = [("traceparent", SAMPLED.partition(": ")[2]), ("tracestate", "a=1")]

    await site.call(method, model_request(method, signature="s"), *metadata)

    asked, route = site.spans[f"tensorflow.serving.PredictionService/{method}"], site.spans["route"]
    assert (asked.parent_id, route.parent_id) == (CALLER, asked.context.span_id)
    assert asked.attributes["rpc.method"] == method
    assert asked.attributes["rpc.grpc.status_code"] == 0
    assert asked.attributes.get(SIGNATURE) == ("s" if method == "Predict" else None)
    [(_, call)] = site.transport.calls
    assert call.trace == route.context


async def test_a_traced_request_is_the_exemplar_of_what_counted_it(open_site: Open) -> None:
    """Over REST and gRPC; of requests that are not traced, nothing is kept."""
    site = await open_site(answer=Answer(Code.OK, b"answer"))

    await site.rest(UNSAMPLED)
    assert site.metrics.snapshot().exemplars == {}
    await site.rest(SAMPLED)
    await site.call("Predict", model_request("Predict"), ("traceparent", SAMPLED.partition(": ")[2]))

    exemplars = site.metrics.snapshot().exemplars
    assert {one.trace_id for cells in exemplars.values() for buckets in cells.values() for one in buckets.values()} == {
        TRACE
    }
    assert exemplars[REQUEST_LATENCY.name].keys() == {("m", "predict", "REST"), ("m", "Predict", "GRPC")}
    assert exemplars[REQUEST_COUNT.name].keys() == {("m", "OK")}


@pytest.mark.parametrize("header", [UNSAMPLED, "traceparent: garbage", "X: y", f"{SAMPLED}\r\n{SAMPLED}"])
async def test_other_requests_have_none_at_a_rate_of_0(open_site: Open, header: str) -> None:
    """They take the short way like all others."""
    site = await open_site()

    assert (await site.rest(header)).status == 200

    assert site.spans.spans == []
    assert [call.trace for _, call in site.transport.calls] == [None]


@pytest.mark.parametrize(
    ("header", "count"), [("X: y", 2), ("traceparent: garbage", 2), (UNSAMPLED, 0), (f"{SAMPLED}\r\n{SAMPLED}", 2)]
)
async def test_a_rate_counts_for_requests_without_a_parent(open_site: Open, header: str, count: int) -> None:
    """A parent that makes no sense is none; one that is not sampled stays so."""
    site = await open_site(rate=1.0)

    await site.rest(header)

    assert len(site.spans.spans) == count
    assert TRACE not in {one.context.trace_id for one in site.spans.spans}
    assert all(one.parent_id == "" for one in site.spans.spans if one.kind is SpanKind.SERVER)


async def test_a_share_is_a_share_of_connections_requests(open_site: Open) -> None:
    """Each request draws anew."""
    site = await open_site(rate=0.5)

    for _ in range(40):
        await site.rest("X: y")

    assert 5 < len(site.spans.spans) / 2 < 35


async def test_pages_outside_of_the_api_have_no_span(open_site: Open) -> None:
    """Probes would be most of all traces."""
    site = await open_site(rate=1.0)

    assert (await site.rest(SAMPLED, target="/healthz", method="GET")).status == 200

    assert site.spans.spans == []


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Answer(Code.INVALID_ARGUMENT, b"bad"), 400, ""),
        (Answer(Code.INTERNAL, b"bad"), 500, "500"),
        (Unavailable("gone"), 503, "503"),
    ],
)
async def test_an_error_is_in_both_spans(open_site: Open, answer: Answer | Exception, status: int, error: str) -> None:
    """For the server only what is its own fault, for the way whatever came back."""
    site = await open_site(answer=answer)

    await site.rest(SAMPLED)

    asked, route = site.spans[REST_NAME], site.spans["route"]
    assert (asked.attributes[STATUS], asked.error) == (status, error)
    assert route.error == route.attributes[CODE] != "OK"


async def test_a_request_that_reaches_no_version_has_one_span(open_site: Open) -> None:
    """With what was asked for."""
    site = await open_site()

    await site.rest(SAMPLED, target="/v1/models/none:predict")

    [span] = site.spans.spans
    assert span.attributes[MODEL] == "none"
    assert VERSION not in span.attributes
    assert (span.attributes[STATUS], span.error) == (404, "")


async def test_a_failed_call_says_its_code(open_site: Open) -> None:
    """Numbers as gRPC has them."""
    site = await open_site(answer=Answer(Code.INTERNAL, b"bad"))

    with pytest.raises(grpc.aio.AioRpcError):
        await site.call("Predict", model_request("Predict"), ("traceparent", SAMPLED.partition(": ")[2]))

    asked = site.spans["tensorflow.serving.PredictionService/Predict"]
    assert (asked.attributes["rpc.grpc.status_code"], asked.error) == (13, "INTERNAL")


async def test_a_client_that_has_gone_ends_its_span(open_site: Open) -> None:
    """Otherwise slow requests would be missing exactly when they matter."""
    site = await open_site()
    site.transport.hold()
    with RawConnection(site.http_port) as connection:
        connection.send(request("POST", "/v1/models/m:predict", b"{}", SAMPLED))
        async with asyncio.timeout(60):
            while not site.transport.calls:
                await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        while len(site.spans.spans) < 2:
            await asyncio.sleep(0.01)
    assert site.spans["route"].attributes[CODE] == "CANCELLED"
    assert site.spans[REST_NAME].attributes["error.type"] == "client_gone"


async def test_calls_of_serves_own_proxy_are_traced(open_site: Open) -> None:
    """They come without our handlers, and bring their metadata along."""
    site = await open_site(answer=Answer(Code.OK, b"answer"))
    metadata = [("traceparent", SAMPLED.partition(": ")[2])]

    answer = await site.grpc_api.answer_traced("Predict", model_request("Predict"), metadata)

    assert answer.body == b"answer"
    assert site.spans["tensorflow.serving.PredictionService/Predict"].parent_id == CALLER


@pytest.mark.parametrize("header", [SAMPLED, UNSAMPLED])
async def test_the_access_log_names_the_trace(open_site: Open, caplog: pytest.LogCaptureFixture, header: str) -> None:
    """The caller's, whether it is recorded or not."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")
    site = await open_site(access=AccessLog(1.0))

    await site.rest(header)
    await site.call("Predict", model_request("Predict"), ("traceparent", header.partition(": ")[2]))

    assert [message.endswith(f" trace_id={TRACE}") for message in caplog.messages] == [True, True]


async def test_the_access_log_names_a_trace_that_begins_here(open_site: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Line and trace find each other."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")
    site = await open_site(rate=1.0, access=AccessLog(1.0))

    await site.rest("X: y")

    [line] = caplog.messages
    assert line.endswith(f" trace_id={site.spans[REST_NAME].context.trace_id}")


def test_without_tracing_a_parent_is_no_reason_for_the_long_way() -> None:
    """A client with tracing of its own costs the server nothing."""
    api = HttpApi(RequestRouter("r", FakeTransport()), HttpLimits())

    assert ShortProtocol in [cell.cell_contents for cell in protocol_factory(api).__closure__]
    assert TRACEPARENT.encode() not in UNUSUAL


def test_nothing_of_opentelemetry_is_imported_unless_it_is_used() -> None:
    """Our modules alone bring none of it into a process."""
    program = (
        "import sys, deployments.routing.request_traces, deployments.inference.call_traces, deployments.rest.short_protocol\n"
        "from core.config.server_settings import TracingSettings\n"
        "from deployments.telemetry.tracing import TracedProcess, tracer_of\n"
        "before = set(sys.modules)\n"
        "assert tracer_of(TracingSettings(), TracedProcess('router', 'r')) is None\n"
        "assert set(sys.modules) == before\n"
        "assert 'deployments.telemetry.span_export' not in sys.modules\n"
        "assert 'opentelemetry.exporter' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_tracing_that_cannot_begin_is_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A broken setting costs the traces, not the server."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")

    assert tracer_of(TracingSettings("http://127.0.0.1:9"), TracedProcess("router", "r")) is None

    assert "tracing_off" in caplog.text
