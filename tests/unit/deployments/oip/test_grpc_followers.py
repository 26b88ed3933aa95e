"""Access log and traces of version 2 over gRPC: what they say of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from core.errors import Code
from core.protos import oip_pb2
from core.routing.transport import LOOPBACK, Answer
from core.telemetry.spans import LABEL, METHOD, MODEL, SIGNATURE, VERSION
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.oip.grpc_rights import SERVICE
from deployments.oip.grpc_service import OipService
from deployments.oip.server_facts import ServerFacts
from deployments.routing.access_log import AccessLog
from deployments.routing.request_traces import RequestTraces, TracedRouter
from deployments.telemetry.tracing import Tracer
from tests.support.clients import free_port
from tests.support.doors.grpc_sites import TABLE
from tests.support.fakes import FakeTransport
from tests.support.span_collector import SpanList

Ask = Callable[..., Awaitable[bytes]]
Lines = Callable[[], list[dict[str, str]]]


@pytest.fixture
def spans() -> SpanList:
    return SpanList()


@pytest.fixture
def api(spans: SpanList) -> GrpcApi:
    """Follows every call."""
    router = TracedRouter("r", FakeTransport(Answer(Code.OK, b"answer")))
    router.apply(TABLE)
    service = OipService(ServerFacts(router, lambda: False)).service()
    traces = RequestTraces(Tracer(1.0, spans))
    return GrpcApi(router, "token", _no_reload, access=AccessLog(1.0), traces=traces, others=(service,))


@pytest.fixture
async def ask(api: GrpcApi) -> AsyncIterator[Ask]:
    """Sends one call to a port that follows every call."""
    port = free_port()
    door = GrpcDoor(GrpcAddress(LOOPBACK, port), api, "token")
    await door.open()

    async def asked(method: str, request: Any, *metadata: tuple[str, str]) -> bytes:
        async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
            body = request if isinstance(request, bytes) else request.SerializeToString()
            return await channel.unary_unary(f"/{SERVICE}/{method}")(body, metadata=metadata)

    yield asked
    await door.drain(1.0)


async def _no_reload(raw: bytes) -> bytes:
    return raw


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Reads the lines of the access log."""
    caplog.set_level("INFO")

    def read() -> list[dict[str, str]]:
        found = (one.getMessage() for one in caplog.records if one.name == "deployments.routing.access_log")
        return [dict(part.split("=", 1) for part in line.split(" ")[1:]) for line in found]

    return read


def infer(**parameters: str) -> oip_pb2.ModelInferRequest:
    given = {name: oip_pb2.InferParameter(string_param=value) for name, value in parameters.items()}
    return oip_pb2.ModelInferRequest(model_name="m", parameters=given)


async def test_an_inference_has_a_line_with_its_model_and_signature(ask: Ask, lines: Lines) -> None:
    """Both are parts of the message, and the caller's id is metadata."""
    request = infer(signature_name="twice", version_label="stable")

    assert await ask("ModelInfer", request, ("x-request-id", "abc-1")) == b"answer"

    [line] = lines()
    assert float(line.pop("latency_ms")) > 0
    assert line.pop("trace_id")
    assert line == {
        "protocol": "grpc",
        "method": "ModelInfer",
        "model": "m",
        "version": "1",
        "label": "stable",
        "signature": "twice",
        "code": "OK",
        "bytes_in": str(request.ByteSize()),
        "bytes_out": "6",
        "request_id": "abc-1",
    }


async def test_an_inference_has_a_span_with_its_model_and_signature(ask: Ask, spans: SpanList) -> None:
    """Under OpenTelemetry's names for gRPC; its way to a version is another."""
    await ask("ModelInfer", infer(signature_name="twice", version_label="stable"))

    asked, route = spans[f"{SERVICE}/ModelInfer"], spans["route"]
    assert {MODEL: "m", LABEL: "stable", VERSION: 1, SIGNATURE: "twice"}.items() <= asked.attributes.items()
    assert (asked.attributes["rpc.service"], asked.attributes["rpc.method"]) == (SERVICE, "ModelInfer")
    assert (route.parent_id, route.attributes[METHOD]) == (asked.context.span_id, "OIP_INFER")


async def test_a_call_of_serves_own_proxy_has_a_span_with_its_service(api: GrpcApi, spans: SpanList) -> None:
    """The proxy knows methods by their names alone."""
    answer = await api.answer_traced("ModelInfer", infer(signature_name="twice").SerializeToString(), ())

    assert answer.body == b"answer"
    assert spans[f"{SERVICE}/ModelInfer"].attributes[SIGNATURE] == "twice"


@pytest.mark.parametrize(
    ("method", "model", "version"),
    [("ModelMetadata", "m", "1"), ("ServerLive", "", "None"), ("ServerMetadata", "", "None")],
)
async def test_other_calls_have_a_line_with_what_they_ask_for(
    ask: Ask, lines: Lines, spans: SpanList, method: str, model: str, version: str
) -> None:
    """A signature is not known of them."""
    request = oip_pb2.ModelMetadataRequest(name="m") if method == "ModelMetadata" else b""

    await ask(method, request)

    [line] = lines()
    assert (line["method"], line["model"], line["version"], line["signature"]) == (method, model, version, "")
    assert SIGNATURE not in spans[f"{SERVICE}/{method}"].attributes


@pytest.mark.parametrize("raw", [b"\xff", infer(signature_name="x" * 10).SerializeToString() + b"\x0a"])
async def test_an_inference_that_cannot_be_read_has_a_line(ask: Ask, lines: Lines, raw: bytes) -> None:
    """Without a signature."""
    with pytest.raises(grpc.aio.AioRpcError):
        await ask("ModelInfer", raw)

    [line] = lines()
    assert (line["code"], line["model"], line["signature"]) == ("INVALID_ARGUMENT", "", "")
