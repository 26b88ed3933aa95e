"""What a router counts: requests of both protocols, labels, transports, calls in flight; and pages beside the API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.errors import Code, Unavailable
from core.oip.rest_body import ALL_JSON, footer
from core.protos import serving_pb2
from core.rest.http_answer import HttpAnswer
from core.rest.rights import PlacedPage
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, Method
from core.telemetry.metric_names import (
    FORWARDED_REQUESTS,
    IN_FLIGHT,
    LABEL_REQUESTS,
    REPEATED_REQUESTS,
    REQUEST_COUNT,
    REQUEST_LATENCY,
    ROUTING_GENERATION,
)
from core.telemetry.metric_report import from_bytes
from core.telemetry.metrics import Metric, Metrics
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.routing.request_router import RequestRouter
from deployments.routing.version_transport import VersionTransport
from deployments.telemetry.process_metrics import METRICS, process_name
from tests.support.fakes import FakeTransport
from tests.support.infer_bodies import named, raw_grpc_infer
from tests.unit.deployments.routing.test_version_transport import ROUTE, Directory, Handles, site  # noqa: F401

INFERRED = Answer(Code.OK, b"{}" + footer(ALL_JSON))
TABLE = RoutingTable(
    7,
    {"m": ModelRoutes({1: Route.of(ServableId("m", 1))}, {"stable": 1}, (VersionStatus(1, State.AVAILABLE),))},
    settled=True,
)


async def no_reload(raw: bytes) -> bytes:
    """Nobody reloads here."""
    return raw


@dataclass
class Router:
    """A router whose versions answer from memory."""

    transport: FakeTransport = field(default_factory=FakeTransport)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.router = RequestRouter("r", self.transport, self.metrics)
        self.router.apply(TABLE)
        facts = ServerFacts(self.router, lambda: False)
        others = (OipRest(facts, HttpLimits()),)
        self.http = HttpApi(self.router, HttpLimits(), pages={"/page": PlacedPage(self.page)}, others=others)
        self.grpc = GrpcApi(self.router, "token", no_reload, others=(OipService(facts).service(),))

    async def page(self, method: str, target: str) -> HttpAnswer:
        """Answer with what was asked."""
        return HttpAnswer(200, f"{method} {target}".encode(), ())

    async def rest(self, method: str, target: str, *received: dict[str, Any], origin: bytes = b"") -> bytes:
        """Send a request; gives the body of the answer."""
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(b"origin", origin)],
        }  # fmt: skip
        waiting = list(received) or [{"type": "http.request", "body": b"{}"}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else await asyncio.Event().wait()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.http.app()(scope, receive, send)
        return b"".join(message.get("body", b"") for message in sent)

    def cells(self, metric: Metric) -> dict[tuple[str, ...], Any]:
        """Return all numbers of a metric."""
        seen = self.metrics.snapshot()
        return {
            labels: value
            for numbers in (seen.counters, seen.gauges, seen.distributions)
            for labels, value in numbers.get(metric.name, {}).items()
        }


@pytest.mark.parametrize(("method", "target", "counted", "timed"), [
    ("POST", "/v1/models/m:predict", ("m", "OK"), ("m", "predict", "REST")),
    ("POST", "/v1/models/m/labels/stable:classify", ("m", "OK"), ("m", "classify", "REST")),
    ("GET", "/v1/models/m", ("m", "OK"), ("m", "", "REST")),
    ("GET", "/v1/models/m/metadata", ("m", "OK"), ("m", "", "REST")),
    ("GET", "/v1/models", ("", "OK"), ("", "", "REST")),
    ("GET", "/v1/models/x", ("x", "NOT_FOUND"), None),
    ("POST", "/v1/models/m/versions/99999999999999999999:predict", ("m", "INVALID_ARGUMENT"), None),
    ("GET", "/v1/models/m%2F/versions/99999999999999999999", ("m/", "INVALID_ARGUMENT"), None),
    ("POST", "/v1/models/m:nonsense", ("", "INVALID_ARGUMENT"), None),
    ("PUT", "/v1/models/m:predict", ("", "INVALID_ARGUMENT"), None),
    ("OPTIONS", "/v1/models/m:predict", ("", "INVALID_ARGUMENT"), None),
    ("POST", "/v2/models/m/infer", ("m", "OK"), ("m", "infer", "REST")),
    ("POST", "/v2/models/m/versions/1/infer", ("m", "OK"), ("m", "infer", "REST")),
    ("POST", "/v2/models/m/labels/stable/infer", ("m", "OK"), ("m", "infer", "REST")),
    ("POST", "/v2/models/x/infer", ("x", "NOT_FOUND"), None),
])  # fmt: skip
async def test_rest_requests_are_counted(method, target, counted, timed) -> None:
    """Each once, under the name that it asked for; good ones are timed."""
    router = Router(FakeTransport(INFERRED) if target.startswith("/v2") else FakeTransport())

    await router.rest(method, target)

    assert router.cells(REQUEST_COUNT) == {counted: 1}
    assert list(router.cells(REQUEST_LATENCY)) == ([] if timed is None else [timed])


async def test_a_preflight_from_a_web_page_is_a_good_request() -> None:
    """It names no model."""
    router = Router()

    await router.rest("OPTIONS", "/v1/models/m:predict", origin=b"http://x")

    assert router.cells(REQUEST_COUNT) == {("", "OK"): 1}


INFER_TARGETS = pytest.mark.parametrize("target", ["/v1/models/m:predict", "/v2/models/m/infer"])


@INFER_TARGETS
async def test_the_code_of_the_model_server_counts(target: str) -> None:
    """Not the HTTP status, which is the same for several codes."""
    router = Router(FakeTransport(Answer(Code.FAILED_PRECONDITION, b"not now")))

    await router.rest("POST", target)

    assert router.cells(REQUEST_COUNT) == {("m", "FAILED_PRECONDITION"): 1}


@INFER_TARGETS
async def test_a_client_that_goes_counts_as_cancelled(target: str) -> None:
    """While it sends its body; nobody gets an answer."""
    router = Router()

    body = await router.rest("POST", target, {"type": "http.disconnect"})

    assert body == b""
    assert router.cells(REQUEST_COUNT) == {("m", "CANCELLED"): 1}


@pytest.mark.parametrize("target", ["/healthz", "/nonsense", "/page", "/v2/health/live", "/v2/health/ready", "/v2"])
async def test_what_is_not_of_the_api_is_not_counted(target) -> None:
    """Probes would drown the requests."""
    router = Router()

    await router.rest("GET", target)

    assert router.cells(REQUEST_COUNT) == {}


@pytest.mark.parametrize("target", ["/page", "/page?x=1"])
async def test_pages_see_method_and_target(target) -> None:
    """A page decides itself about its query string."""
    assert await Router().rest("DELETE", target) == f"DELETE {target}".encode()


def predict_request(name: str) -> bytes:
    """Return a request for a model."""
    return serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name=name)).SerializeToString()


def infer_request(name: str) -> bytes:
    """Return a request of the Open Inference Protocol for a model."""
    return named(raw_grpc_infer({}), name)


@pytest.mark.parametrize(("method", "raw", "counted", "timed"), [
    ("Predict", predict_request("m"), ("m", "OK"), ("m", "Predict", "GRPC")),
    ("Classify", predict_request("m"), ("m", "OK"), ("m", "Classify", "GRPC")),
    ("Regress", predict_request("m"), ("m", "OK"), ("m", "Regress", "GRPC")),
    ("Predict", predict_request("x"), ("x", "NOT_FOUND"), None),
    ("Predict", b"", ("", "INVALID_ARGUMENT"), None),
    ("ModelInfer", infer_request("m"), ("m", "OK"), ("m", "ModelInfer", "GRPC")),
    ("ModelInfer", infer_request("x"), ("x", "NOT_FOUND"), None),
    ("ModelInfer", b"\xff", ("", "INVALID_ARGUMENT"), None),
])  # fmt: skip
async def test_grpc_requests_are_counted(method, raw, counted, timed) -> None:
    """As those of REST."""
    router = Router()

    await router.grpc.answer(method, raw, None)

    assert router.cells(REQUEST_COUNT) == {counted: 1}
    assert list(router.cells(REQUEST_LATENCY)) == ([] if timed is None else [timed])


INFER_CALLS = pytest.mark.parametrize(
    ("method", "raw"), [("Predict", predict_request("m")), ("ModelInfer", infer_request("m"))]
)


@INFER_CALLS
async def test_a_model_servers_error_is_counted_in_grpc_too(method: str, raw: bytes) -> None:
    """With its own code."""
    router = Router(FakeTransport(Answer(Code.INTERNAL, b"oh")))

    await router.grpc.answer(method, raw, None)

    assert router.cells(REQUEST_COUNT) == {("m", "INTERNAL"): 1}


@INFER_CALLS
async def test_a_cancelled_grpc_call_is_counted(method: str, raw: bytes) -> None:
    """Its caller has gone."""
    router = Router()
    router.transport.hold()
    call = asyncio.ensure_future(router.grpc.answer(method, raw, None))
    while not router.transport.calls:
        await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert router.cells(REQUEST_COUNT) == {("m", "CANCELLED"): 1}


@pytest.mark.parametrize(
    "method", ["MultiInference", "GetModelMetadata", "GetModelStatus", "ServerLive", "ModelReady", "ModelMetadata"]
)
async def test_other_grpc_methods_are_not_counted(method) -> None:
    """TensorFlow Serving does not count them, nor do we those of the Open Inference Protocol."""
    router = Router()
    raw = b"\x0a\x01m" if method.startswith("Model") else predict_request("m")

    await router.grpc.answer(method, raw, None)

    assert router.cells(REQUEST_COUNT) == {}


def test_labels_are_counted_when_they_lead_to_a_version() -> None:
    """So no client can invent labels."""
    router = Router()

    router.router.resolve("m", None, "stable")
    router.router.resolve("m", 1, None)
    for label in ("nobody's", ""):
        with pytest.raises(Exception, match="Unrecognized servable version label"):
            router.router.resolve("m", None, label)

    assert router.cells(LABEL_REQUESTS) == {("m", "stable"): 1}


async def test_calls_in_flight_and_the_table_in_use_are_gauges() -> None:
    """A version that is gone leaves the page when its last call was answered."""
    router = Router()
    gate = router.transport.hold()
    call = asyncio.ensure_future(router.router.forward(Route.of(ServableId("m", 1)), Call(Method.PREDICT, b"")))
    await asyncio.sleep(0)

    router.router.note_metrics()
    assert router.cells(IN_FLIGHT) == {("m", "1"): 1}
    assert router.cells(ROUTING_GENERATION) == {("r",): 7}

    router.router.apply(RoutingTable(8))
    router.router.note_metrics()
    assert router.cells(IN_FLIGHT) == {("m", "1"): 1}

    gate.set()
    await call
    router.router.apply(RoutingTable(9))
    router.router.note_metrics()
    assert router.cells(IN_FLIGHT) == {}


def counted(metric: Metric, *labels: str) -> float:
    """Return a counter of this process."""
    return METRICS.counter(metric, *labels).value


async def test_the_transport_of_each_call_is_counted(site) -> None:  # noqa: F811
    """Direct or over the handle; a call that is sent again is counted apart."""
    directory, replicas = site.directory, site.replicas
    direct, handle = counted(FORWARDED_REQUESTS, "m", "direct"), counted(FORWARDED_REQUESTS, "m", "handle")
    repeated = counted(REPEATED_REQUESTS, "m")

    await site.call()
    directory.known = [replicas["one"][1]]
    await directory.connect([ROUTE.app])
    await site.call()
    replicas["one"][0].answers = False
    lost = asyncio.ensure_future(site.call())
    while len(replicas["one"][0].taken) < 2:
        await asyncio.sleep(0.001)
    await replicas["one"][0].die()
    await lost

    assert counted(FORWARDED_REQUESTS, "m", "direct") - direct == 2
    assert counted(FORWARDED_REQUESTS, "m", "handle") - handle == 2
    assert counted(REPEATED_REQUESTS, "m") - repeated == 1


async def test_model_servers_tell_their_numbers_beside_the_model(site) -> None:  # noqa: F811
    """One that does not answer is left out."""
    directory, replicas = site.directory, site.replicas
    assert await site.transport.reports(1.0) == []
    directory.known = [endpoint for _, endpoint in replicas.values()]
    await directory.connect([ROUTE.app])

    reports = [from_bytes(raw) for raw in await site.transport.reports(5.0)]
    await replicas["two"][0].die()
    fewer = await site.transport.reports(5.0)

    assert [one.process for one in reports] == [process_name()] * 2
    assert reports[0].number != reports[1].number
    assert [len(replica.taken) for replica, _ in replicas.values()] == [0, 0]
    assert len(fewer) <= len(reports)


class Hanging:
    """A connection whose replica does not answer, or refuses."""

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

        self.writable = asyncio.Event()
        self.writable.set()
        self.takes_calls = True

    def begin(self, call: Call, waiting: asyncio.Future[Answer]) -> Hanging:
        """Answer, or never."""
        assert call.method is Method.METRICS
        if self._answer is not None and self._answer.code is Code.UNAVAILABLE:
            waiting.set_exception(Unavailable("gone"))
        elif self._answer is not None:
            waiting.set_result(self._answer)
        return self

    def withdraw(self) -> None:
        """Nobody waits any more."""


async def test_numbers_that_do_not_come_in_time_are_left_out() -> None:
    """Whoever hangs, breaks, or does not know the question."""
    connections = tuple(
        Hanging(answer)
        for answer in (
            None, Answer(Code.UNAVAILABLE, b""), Answer(Code.UNIMPLEMENTED, b"?"), Answer(Code.OK, b"numbers"),
        )
    )  # fmt: skip
    directory = Directory(Handles())
    directory.replicas["m:1"] = type("Replicas", (), {"usable": connections})()

    assert await VersionTransport(directory, Handles()).reports(0.05) == [b"numbers"]
