"""What one tiny request costs the router: Python calls, tasks and memory are counted, so that none slips in unseen."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from core.delivery.split import Division
from core.errors import Code
from core.http2.frames import DATA, HEADERS
from core.oip.rest_body import ALL_JSON, footer
from core.protos import serving_pb2
from core.routing.admission import TrafficLimits
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import LOOPBACK, Endpoint
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.protocol import GrpcProtocol
from deployments.grpc.server import GrpcServer
from deployments.oip.grpc_rights import SERVICE as OIP_SERVICE
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.short_protocol import protocol_factory
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.replica_directory import ReplicaDirectory
from deployments.routing.replica_set import ReplicaSet
from deployments.routing.request_router import RequestRouter
from deployments.routing.request_traces import RequestTraces, TracedRouter
from deployments.routing.version_transport import VersionTransport
from deployments.telemetry.tracing import Tracer
from tests.support.direct_sites import frames_in
from tests.support.doors.raw_http import request
from tests.support.doors.raw_http2 import OPENING, PREDICT, call, frames_of, message
from tests.support.infer_bodies import raw_grpc_infer
from tests.support.span_collector import SpanList

ROUTE = Route.of(ServableId("m", 1))
TABLE = RoutingTable(1, {"m": ModelRoutes({1: ROUTE})}, settled=True)
REQUEST = request("POST", "/v1/models/m:predict", b'{"instances": [1.0]}', "User-Agent: x", "Accept: */*")
ANSWER = b'{"predictions": [3.0]}'
MOST_PYTHON_CALLS = 75
"""Today 75, with this test's own."""

INFER = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}'
INFER_REQUEST = request("POST", "/v2/models/m/infer", INFER, "User-Agent: x", "Accept: */*")
INFER_ANSWER = b'{"model_name":"m","model_version":"1","outputs":[]}'
MOST_CALLS_FOR_VERSION_2 = 3
"""What a request of the Open Inference Protocol in JSON may cost beyond one of TensorFlow Serving's API; today 3, one of them this test's own."""

GRPC_REQUEST = serving_pb2.PredictRequest(model_spec={"name": "m"}).SerializeToString() + b"\x12\x03\x0a\x01x"
MOST_PYTHON_CALLS_OF_GRPC = 85
"""Today 85, with this test's own; two of them bound the requests that are in work."""

OIP_REQUEST = raw_grpc_infer({"x": np.float32([1.0])})
INFER = f"/{OIP_SERVICE}/ModelInfer"
MOST_CALLS_MORE_OF_OIP = 2
"""What version 2 may cost beyond TensorFlow Serving's Predict; today nothing."""

MOST_CALLS_OF_A_REFUSAL = {"REST": 52, "gRPC": 61}
"""What a request costs that a limit refuses; no call reaches a replica."""
MOST_CALLS_FOR_LIMITS = 9
"""What a request of a model with limits may cost beyond one without; today 9."""

MOST_CALLS_FOR_A_DIVISION = {"random": 14, "sticky": 15}
"""What a request of a model whose requests are divided may cost beyond others; today as many."""

MOST_CALLS_FOR_TRACES = 10
"""What a request may cost that is not traced where others are; today 10, two of which look for an exemplar's trace."""


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Everything is written at once."""

    def pause_reading(self) -> None:
        """Nothing is read anyway."""

    def resume_reading(self) -> None:
        """Nothing is read anyway."""

    def close(self) -> None:
        """There is nothing to close."""


class Router:
    """A router's hot path between two wires."""

    def __init__(self, *, traces: RequestTraces | None = None) -> None:
        self.client, self.replica = Wire(), Wire()
        self.connection = DirectConnection(Endpoint(LOOPBACK, 1, b"token", "replica"))
        self.connection.connection_made(self.replica)
        handles = HandleTransport()
        directory = ReplicaDirectory("node", handles)
        transport = VersionTransport(directory, handles)
        replicas = directory.replicas[ROUTE.app] = ReplicaSet("node")
        replicas._connections[self.connection.endpoint] = self.connection
        router = self.router = (RequestRouter if traces is None else TracedRouter)("r", transport, Metrics())
        router.apply(TABLE)
        others = (OipRest(ServerFacts(router, lambda: False), HttpLimits()),)
        api = HttpApi(router, HttpLimits(), traces=traces, others=others)
        config = uvicorn.Config(api.app(), http=protocol_factory(api), ws="none", lifespan="off", log_config=None)
        config.load()
        self.http = config.http_protocol_class(
            config=config, server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop()
        )
        self.http.connection_made(self.client)
        oip = OipService(ServerFacts(router, lambda: False)).service()
        grpc_api = GrpcApi(router, "token", _no_reload, others=(oip,))
        self.grpc = GrpcProtocol(GrpcServer(grpc_api), asyncio.get_running_loop())
        self.grpc.connection_made(self.client)
        self.grpc.data_received(OPENING)
        self.streams = itertools.count(1, 2)

    def limit(self, name: str, limits: TrafficLimits) -> None:
        """Publish a table in which this model alone has limits."""
        models = {"m": ModelRoutes({1: ROUTE}), name: ModelRoutes({1: ROUTE}, limits=limits)}
        self.router.apply(RoutingTable(self.router.table.generation + 1, models, settled=True))

    def divide(self, name: str, division: Division) -> None:
        """Publish a table in which the requests of this model alone are divided."""
        models = {"m": ModelRoutes({1: ROUTE}), name: ModelRoutes({1: ROUTE}, division=division)}
        self.router.apply(RoutingTable(self.router.table.generation + 1, models, settled=True))

    def serve_one(self) -> None:
        """Carry one request from the client's bytes to the client's bytes."""
        self.http.data_received(REQUEST)
        self._reply()

    def serve_one_of_version_2(self) -> None:
        """Carry one request of the Open Inference Protocol from the client's bytes to the client's bytes."""
        self.http.data_received(INFER_REQUEST)
        self._reply(INFER_ANSWER + footer(ALL_JSON))

    def _reply(self, content: bytes = ANSWER) -> None:
        """Answer the call that the replica got last."""
        call = self.replica.written[-1]
        _, call_id, kind, *_ = HEADER.unpack_from(call)
        assert kind == FrameKind.CALL
        self.answer(call_id, content=content)

    def answer(self, *call_ids: int, content: bytes = ANSWER) -> None:
        """Answer calls in one read."""
        frames = [
            frame_header(FrameKind.ANSWER, len(content), call_id=one, detail=Code.OK) + content for one in call_ids
        ]
        answer = b"".join(frames)
        self.connection.get_buffer(len(answer))[: len(answer)] = answer
        self.connection.buffer_updated(len(answer))

    def serve_one_over_grpc(self) -> None:
        """Carry one call from the client's bytes to the client's bytes."""
        self.grpc.data_received(call(next(self.streams), GRPC_REQUEST, PREDICT, (b"grpc-timeout", b"10S")))
        self._reply()

    def serve_one_of_version_2_over_grpc(self) -> None:
        """Carry one call of the Open Inference Protocol."""
        self.grpc.data_received(call(next(self.streams), OIP_REQUEST, INFER, (b"grpc-timeout", b"10S")))
        self._reply()


async def _no_reload(raw: bytes) -> bytes:
    return raw


def on_a_router(check: Callable[[Router], Awaitable[None]], traces: RequestTraces | None = None) -> None:
    """Check a router that has served before, on an event loop like a router's."""

    async def checked() -> None:
        router = Router(traces=traces)
        router.serve_one()
        router.serve_one_of_version_2()
        router.serve_one_over_grpc()
        router.serve_one_of_version_2_over_grpc()
        await check(router)
        router.http._unset_keepalive_if_required()
        router.grpc.connection_lost(None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(checked())


@pytest.mark.parametrize(
    ("serve", "answer"),
    [(Router.serve_one, ANSWER), (Router.serve_one_of_version_2, INFER_ANSWER)],
    ids=["version 1", "version 2"],
)
def test_a_tiny_request_is_answered_in_one_turn_and_one_write(serve: Callable[[Router], None], answer: bytes) -> None:
    """No task, no waiting, no second write."""

    async def check(router: Router) -> None:
        tasks = len(asyncio.all_tasks())
        written = len(router.client.written)

        serve(router)

        assert len(asyncio.all_tasks()) == tasks
        assert len(router.client.written) == written + 1
        assert router.client.written[-1].startswith(b"HTTP/1.1 200 OK\r\n")
        assert router.client.written[-1].endswith(b"\r\n\r\n" + answer)

    on_a_router(check)


def python_calls(work: Callable[[], object]) -> list[str]:
    """Note every Python call, but for those of a garbage collection, which calls whatever other tests hung on it."""
    calls: list[str] = []
    gc.disable()
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_qualname) if event == "call" else None)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def calls_of_a_request(
    traces: RequestTraces | None = None, serve: Callable[[Router], None] = Router.serve_one
) -> list[str]:
    """Note the Python calls of one request."""
    calls: list[str] = []

    async def check(router: Router) -> None:
        calls.extend(python_calls(lambda: serve(router)))

    on_a_router(check, traces)
    return calls


def test_a_tiny_request_needs_few_python_calls() -> None:
    """Each one costs about a tenth of a microsecond; together they are what a router does."""
    calls = calls_of_a_request()

    assert len(calls) <= MOST_PYTHON_CALLS, "\n".join(calls)


def test_a_tiny_request_of_version_2_needs_few_more() -> None:
    """It has a length to say, and no head of its own."""
    calls = calls_of_a_request(serve=Router.serve_one_of_version_2)

    assert len(calls) <= len(calls_of_a_request()) + MOST_CALLS_FOR_VERSION_2, "\n".join(calls)


def test_a_request_of_a_model_with_limits_needs_few_more() -> None:
    """One that has none needs none, though others have."""
    calls: dict[str, list[str]] = {}

    async def check(router: Router) -> None:
        router.limit("m", TrafficLimits(1e6, 1000))
        calls["limited"] = python_calls(router.serve_one)
        router.limit("other", TrafficLimits(1e6, 1000))
        calls["beside"] = python_calls(router.serve_one)

    on_a_router(check)

    free = len(calls_of_a_request())
    assert len(calls["limited"]) <= free + MOST_CALLS_FOR_LIMITS, "\n".join(calls["limited"])
    assert len(calls["beside"]) <= free + 3, "\n".join(calls["beside"])


@pytest.mark.parametrize("kind", MOST_CALLS_FOR_A_DIVISION)
@pytest.mark.parametrize("serve", ["serve_one", "serve_one_over_grpc"])
def test_a_divided_request_needs_few_more_and_one_beside_it_none(kind: str, serve: str) -> None:
    """It stays on the short way: no task, no second write; a model without a division pays nothing for others."""
    header = "user-agent" if kind == "sticky" else ""
    division = Division(((1, 5_000), (2, 5_000)), 1, "salt", header)
    calls: dict[str, list[str]] = {}

    async def check(router: Router) -> None:
        serve_one = getattr(router, serve)
        calls["plain"] = python_calls(serve_one)
        router.divide("m", division)
        serve_one()
        tasks, written = len(asyncio.all_tasks()), len(router.client.written)
        calls["divided"] = python_calls(serve_one)
        assert (len(asyncio.all_tasks()), len(router.client.written)) == (tasks, written + 1)
        router.divide("other", division)
        calls["beside"] = python_calls(serve_one)

    on_a_router(check)

    assert len(calls["divided"]) <= len(calls["plain"]) + MOST_CALLS_FOR_A_DIVISION[kind], "\n".join(calls["divided"])
    assert len(calls["beside"]) <= len(calls["plain"]), "\n".join(calls["beside"])


@pytest.mark.parametrize("protocol", MOST_CALLS_OF_A_REFUSAL)
def test_a_refused_request_costs_the_router_less_than_one_that_is_answered(protocol: str) -> None:
    """No task, no call to a replica: a router that is overloaded has its time for what it lets in."""
    calls: list[str] = []

    def refused(router: Router) -> list[str]:
        if protocol == "REST":
            return python_calls(lambda: router.http.data_received(REQUEST))
        content = call(next(router.streams), GRPC_REQUEST, PREDICT, (b"grpc-timeout", b"10S"))
        return python_calls(lambda: router.grpc.data_received(content))

    async def check(router: Router) -> None:
        router.limit("m", TrafficLimits(1e-6))
        router.serve_one()
        sent, tasks = len(router.replica.written), len(asyncio.all_tasks())
        refused(router)
        calls.extend(refused(router))
        assert (len(router.replica.written), len(asyncio.all_tasks())) == (sent, tasks)
        assert protocol == "gRPC" or router.client.written[-1].startswith(b"HTTP/1.1 429 ")

    on_a_router(check)

    assert len(calls) <= MOST_CALLS_OF_A_REFUSAL[protocol], "\n".join(calls)


def test_a_request_that_is_not_traced_needs_few_more() -> None:
    """Tracing a share of the requests does not slow down the others."""
    spans = SpanList()
    calls = calls_of_a_request(RequestTraces(Tracer(0.0, spans)))

    assert len(calls) <= len(calls_of_a_request()) + MOST_CALLS_FOR_TRACES, "\n".join(calls)
    assert spans.spans == []


@pytest.mark.parametrize(
    "serve",
    [
        Router.serve_one,
        Router.serve_one_of_version_2,
        Router.serve_one_over_grpc,
        Router.serve_one_of_version_2_over_grpc,
    ],
    ids=["REST", "REST of version 2", "gRPC", "version 2 over gRPC"],
)
def test_requests_leave_no_memory_behind(serve: Callable[[Router], None]) -> None:
    """A thousand of them keep no more objects alive than one did; threads of other tests may keep some, but not always."""

    async def growth(router: Router) -> int:
        await asyncio.sleep(0)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            serve(router)
            router.client.written.clear()
            router.replica.written.clear()
            await asyncio.sleep(0)
        gc.collect()
        return sys.getallocatedblocks() - before

    async def check(router: Router) -> None:
        assert min([await growth(router) for _ in range(3)]) < 500

    on_a_router(check)


@pytest.mark.parametrize(
    "serve", [Router.serve_one_over_grpc, Router.serve_one_of_version_2_over_grpc], ids=["Predict", "ModelInfer"]
)
def test_a_tiny_call_over_grpc_is_answered_in_one_turn_and_one_write(serve: Callable[[Router], None]) -> None:
    """No task, no waiting, no second write: headers, message and trailers go together."""

    async def check(router: Router) -> None:
        tasks = len(asyncio.all_tasks())
        written = len(router.client.written)

        serve(router)

        assert len(asyncio.all_tasks()) == tasks
        assert len(router.client.written) == written + 1
        frames = frames_of(router.client.written[-1])
        assert [one.kind for one in frames] == [HEADERS, DATA, HEADERS]
        assert frames[1].payload == message(ANSWER)

    on_a_router(check)


def test_calls_of_one_connection_that_are_answered_together_are_answered_in_one_write() -> None:
    """A write costs as much as all the rest; the last open call is answered at once."""

    async def check(router: Router) -> None:
        head = (b"grpc-timeout", b"10S")
        router.grpc.data_received(b"".join([call(next(router.streams), GRPC_REQUEST, PREDICT, head) for _ in range(3)]))
        await asyncio.sleep(0)
        router.client.written.clear()
        first, second, third = [one.call_id for content in router.replica.written[-2:] for one in frames_in(content)]

        router.answer(first, second)
        assert router.client.written == []
        await asyncio.sleep(0)
        router.answer(third)

        kinds = [[one.kind for one in frames_of(content)] for content in router.client.written]
        assert kinds == [[HEADERS, DATA, HEADERS] * 2, [HEADERS, DATA, HEADERS]]

    on_a_router(check)


def calls_of_a_grpc_call(body: bytes, path: str) -> list[str]:
    """Note the Python calls of one call over gRPC."""
    calls: list[str] = []

    async def check(router: Router) -> None:
        content = call(next(router.streams), body, path, (b"grpc-timeout", b"10S"))
        calls.extend(python_calls(lambda: (router.grpc.data_received(content), router._reply())))

    on_a_router(check)
    return calls


def test_a_tiny_call_over_grpc_needs_few_python_calls() -> None:
    """Those that read and write HTTP/2 are among them."""
    calls = calls_of_a_grpc_call(GRPC_REQUEST, PREDICT)

    assert len(calls) <= MOST_PYTHON_CALLS_OF_GRPC, "\n".join(calls)


def test_a_tiny_call_of_version_2_needs_hardly_more_python_calls() -> None:
    """It goes the same way, and its model is found as fast."""
    calls = calls_of_a_grpc_call(OIP_REQUEST, INFER)

    most = len(calls_of_a_grpc_call(GRPC_REQUEST, PREDICT)) + MOST_CALLS_MORE_OF_OIP
    assert len(calls) <= most, "\n".join(calls)
