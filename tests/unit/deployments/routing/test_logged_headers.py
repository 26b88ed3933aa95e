"""Headers that request logs keep, through the open doors of a router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from core.errors import Code
from core.protos import serving_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Headers
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.access_log import SampledRouter
from deployments.routing.logged_headers import LONGEST_HEADER, MOST_HEADERS, LoggedHeaders
from tests.support.clients import free_port
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeTransport

TABLE = RoutingTable(1, {"m": ModelRoutes({3: Route.of(ServableId("m", 3))}, {})}, settled=True)


class Site:
    """A router that keeps two headers, with open doors."""

    def __init__(self) -> None:
        self.transport = FakeTransport(Answer(Code.OK, b"answer"))
        self.router = SampledRouter("r", self.transport, Metrics())
        self.router.apply(TABLE)
        kept = LoggedHeaders(("x-request-id", "x-tenant"))
        self.http_port, self.grpc_port = free_port(), free_port()
        self.grpc_api = GrpcApi(self.router, "token", _same, kept=kept)
        self.http = HttpDoor(
            HttpAddress("127.0.0.1", self.http_port), HttpApi(self.router, HttpLimits(), "t", kept=kept), "t"
        )
        self.grpc = GrpcDoor(GrpcAddress("127.0.0.1", self.grpc_port), self.grpc_api, "token")

    async def rest(self, *headers: str) -> Headers:
        content = request("POST", "/v1/models/m:predict", b"{}", *headers)
        assert (await asyncio.to_thread(self._ask, content)).status == 200
        return self.transport.calls[-1][1].headers

    def _ask(self, content: bytes):
        with RawConnection(self.http_port) as connection:
            return connection.ask(content)

    async def call(self, *metadata: tuple[str, str | bytes]) -> Headers:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            ask = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            await ask(predict(), metadata=metadata)
        return self.transport.calls[-1][1].headers


def predict() -> bytes:
    envelope = serving_pb2.RequestEnvelope()
    envelope.model_spec.name = "m"
    return envelope.SerializeToString()


async def _same(raw: bytes) -> bytes:
    return raw


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    opened = Site()
    await asyncio.gather(opened.http.open(), opened.grpc.open())
    yield opened
    await asyncio.gather(opened.http.drain(1.0), opened.grpc.drain(1.0))


async def test_chosen_headers_of_http_go_with_the_call(site: Site) -> None:
    """In their order, whatever the case of their names; others never."""
    assert await site.rest("X-Tenant: a", "authorization: Bearer x", "x-request-id: 7", "x-tenant: b") == (
        ("x-tenant", "a"), ("x-request-id", "7"), ("x-tenant", "b"),
    )  # fmt: skip


async def test_a_request_without_them_takes_none_along_and_the_short_way(site: Site) -> None:
    """Also after one that had some."""
    await site.rest("x-tenant: a")

    assert await site.rest("x-other: a") == ()
    assert await site.call(("x-other", "a")) == ()


async def test_chosen_metadata_of_grpc_goes_with_the_call(site: Site) -> None:
    """As far as it is text."""
    assert await site.call(("x-tenant", "a"), ("x-tenant-bin", b"\x00"), ("x-request-id", "7")) == (
        ("x-tenant", "a"), ("x-request-id", "7"),
    )  # fmt: skip


async def test_a_call_of_serves_own_proxy_has_them_too(site: Site) -> None:
    """Its metadata comes beside the call."""
    answer = await site.grpc_api.answer_traced("Predict", predict(), [("x-tenant", "a")])

    assert answer.code is Code.OK
    assert site.transport.calls[-1][1].headers == (("x-tenant", "a"),)


def test_what_is_kept_is_bounded() -> None:
    """Clients choose how many there are and how long."""
    kept = LoggedHeaders(("x",)).of_http([(b"x", b"y" * 5000)] * 100)

    assert kept == (("x", "y" * LONGEST_HEADER),) * MOST_HEADERS
