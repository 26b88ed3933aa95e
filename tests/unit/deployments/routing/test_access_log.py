"""The access log: which requests get a line, what is in it, and what never is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from core.errors import Code
from core.protos import serving_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.rest.short_protocol import ShortProtocol, protocol_factory
from deployments.routing.access_log import AccessLog, SampledRouter
from deployments.routing.request_router import RequestRouter
from tests.support.clients import free_port
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeTransport

TABLE = RoutingTable(1, {"m": ModelRoutes({3: Route.of(ServableId("m", 3))}, {"stable": 3})}, settled=True)
SECRET = b'{"instances": ["s3cr3t"]}'

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, str]]]:
    """Gives the fields of the lines that were written."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")

    def read() -> list[dict[str, str]]:
        found = (record.getMessage() for record in caplog.records if record.name == "deployments.routing.access_log")
        return [dict(part.split("=", 1) for part in line.split(" ")[1:]) for line in found]

    return read


@pytest.fixture
async def ask_rest() -> AsyncIterator[Ask]:
    """Sends one request to a REST port that follows every request, or the given share."""
    doors: list[HttpDoor] = []

    async def ask(
        content: bytes, answer: Answer | None = None, *, rate: float = 1.0, sends_at_once: bool = True
    ) -> Any:
        transport = FakeTransport(answer)
        transport.sends_at_once = sends_at_once
        router = SampledRouter("r", transport)
        router.apply(TABLE)
        port = free_port()
        api = HttpApi(router, HttpLimits(), "t", access=AccessLog(rate))
        doors.append(door := HttpDoor(HttpAddress("127.0.0.1", port), api, "t"))
        await door.open()
        return await asyncio.to_thread(_ask, port, content)

    yield ask
    for door in doors:
        await door.drain(1.0)


def _ask(port: int, content: bytes) -> Any:
    with RawConnection(port) as connection:
        return connection.ask(content)


@pytest.fixture
async def ask_grpc() -> AsyncIterator[Ask]:
    """Sends one call to a gRPC port that follows every call."""
    doors: list[GrpcDoor] = []

    async def ask(method: str, raw: bytes, answer: Answer, *metadata: tuple[str, str], rate: float = 1.0) -> bytes:
        router = SampledRouter("r", FakeTransport(answer))
        router.apply(TABLE)
        port = free_port()
        api = GrpcApi(router, "token", _no_reload, access=AccessLog(rate))
        doors.append(door := GrpcDoor(GrpcAddress("127.0.0.1", port), api, "token"))
        await door.open()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answered: bytes = await channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")(
                raw, metadata=metadata
            )
        return answered

    yield ask
    for door in doors:
        await door.drain(1.0)


async def _no_reload(raw: bytes) -> bytes:
    return raw


@pytest.mark.parametrize("sends_at_once", [True, False])
async def test_a_rest_request_has_a_line(ask_rest: Ask, lines: Any, *, sends_at_once: bool) -> None:
    """It says which version answered, how, for how long, and how much was moved."""
    content = request("POST", "/v1/models/m/labels/stable:predict", SECRET, "X-Request-ID: abc-1")

    reply = await ask_rest(content, Answer(Code.OK, b"12345"), sends_at_once=sends_at_once)

    [line] = lines()
    assert reply.body == b"12345"
    assert float(line.pop("latency_ms")) > 0
    assert line == {
        "protocol": "rest",
        "method": "predict",
        "model": "m",
        "version": "3",
        "label": "stable",
        "signature": "",
        "code": "200",
        "bytes_in": str(len(SECRET)),
        "bytes_out": "5",
        "request_id": "abc-1",
        "trace_id": "",
    }


async def test_nothing_secret_is_in_a_line(ask_rest: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a body nor a header but the request's id."""
    caplog.set_level(logging.DEBUG, "deployments")

    await ask_rest(request("POST", "/v1/models/m:predict", SECRET, "Authorization: Bearer s3cr3t"))

    assert "s3cr3t" not in caplog.text
    assert caplog.messages


@pytest.mark.parametrize(
    ("method", "target", "code", "model", "version"),
    [
        ("POST", "/v1/models/none:predict", "404", "none", "None"),
        ("POST", "/v1/models/m/versions/9:predict", "404", "m", "9"),
        ("POST", "/v1/models/m:explode", "400", "", "None"),
        ("GET", "/v1/models/m", "404", "m", "None"),
        ("GET", "/v1/models", "200", "", "None"),
    ],
)
async def test_a_request_that_reaches_no_version_has_a_line_too(
    ask_rest: Ask, lines: Any, method: str, target: str, code: str, model: str, version: str
) -> None:
    """With what the client asked for."""
    await ask_rest(request(method, target, b"{}" if method == "POST" else b""))

    [line] = lines()
    assert (line["code"], line["model"], line["version"]) == (code, model, version)


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/", "/openapi.json"])
async def test_probes_and_pages_have_no_line(ask_rest: Ask, lines: Any, target: str) -> None:
    """They come every second and say nothing about models."""
    await ask_rest(request("GET", target))

    assert lines() == []


@pytest.mark.parametrize("given", ["", "has blank", "x" * 129, "umlaut-\u00e4"])
async def test_an_id_that_cannot_stand_in_a_line_is_replaced(ask_rest: Ask, lines: Any, given: str) -> None:
    """So is one that is missing; what a caller sends never forges a line."""
    await ask_rest(request("POST", "/v1/models/m:predict", b"{}", f"X-Request-ID: {given}"))

    [line] = lines()
    assert line["request_id"] != given
    assert len(line["request_id"]) == 16


async def test_only_a_sample_is_followed(ask_rest: Ask, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not chosen is answered the short way, and chosen only once."""
    asked: list[float] = []

    def draw() -> float:
        asked.append(0.5)
        return 0.5

    monkeypatch.setattr("random.random", draw)

    await ask_rest(request("POST", "/v1/models/m:predict", b"{}"), rate=0.4)
    assert (lines(), len(asked)) == ([], 1)

    await ask_rest(request("POST", "/v1/models/m:predict", b"{}"), rate=0.6)
    assert (len(lines()), len(asked)) == (1, 2)

    await ask_rest(request("POST", "/v1/models/m:predict", b"{}"), rate=0.4, sends_at_once=False)
    assert (len(lines()), len(asked)) == (1, 3)


async def test_a_grpc_call_has_a_line(ask_grpc: Ask, lines: Any) -> None:
    """With the signature, which is known without reading the tensors."""
    envelope = serving_pb2.RequestEnvelope()
    envelope.model_spec.name, envelope.model_spec.signature_name = "m", "twice"
    raw = envelope.SerializeToString()

    assert await ask_grpc("Predict", raw, Answer(Code.OK, b"123"), ("x-request-id", "abc-2")) == b"123"

    [line] = lines()
    assert float(line.pop("latency_ms")) > 0
    assert line == {
        "protocol": "grpc",
        "method": "Predict",
        "model": "m",
        "version": "3",
        "label": "None",
        "signature": "twice",
        "code": "OK",
        "bytes_in": str(len(raw)),
        "bytes_out": "3",
        "request_id": "abc-2",
        "trace_id": "",
    }


@pytest.mark.parametrize(
    ("method", "raw", "code"), [("Predict", b"\xff", "INVALID_ARGUMENT"), ("MultiInference", b"", "INVALID_ARGUMENT")]
)
async def test_a_grpc_call_that_fails_has_a_line(ask_grpc: Ask, lines: Any, method: str, raw: bytes, code: str) -> None:
    """Also one that cannot be read."""
    with pytest.raises(grpc.aio.AioRpcError):
        await ask_grpc(method, raw, Answer(Code.OK, b""))

    assert [line["code"] for line in lines()] == [code]


async def test_a_grpc_call_that_is_not_chosen_has_no_line(ask_grpc: Ask, lines: Any) -> None:
    """The sampling rate counts for both protocols."""
    envelope = serving_pb2.RequestEnvelope()
    envelope.model_spec.name = "m"

    await ask_grpc("Predict", envelope.SerializeToString(), Answer(Code.OK, b""), rate=0.0)

    assert lines() == []


def test_without_a_rate_requests_pass_nothing_of_this() -> None:
    """The application and the protocol are those of a server without access log."""
    api = HttpApi(RequestRouter("r", FakeTransport()), HttpLimits())

    assert api.app().__qualname__.startswith("HttpApi.app")
    assert ShortProtocol in {cell.cell_contents for cell in protocol_factory(api).__closure__ if _hashable(cell)}


def _hashable(cell: Any) -> bool:
    return isinstance(cell.cell_contents, type)
