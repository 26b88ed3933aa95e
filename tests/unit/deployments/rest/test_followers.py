"""Tests of the ASGI wrappers: which requests are logged and traced, and what is noted of each."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from core.telemetry.spans import ERROR_TYPE, STATUS
from deployments.rest.followers import logged, traced
from deployments.routing.access_log import SAMPLED, AccessLog
from deployments.routing.request_traces import TRACED, RequestTraces
from deployments.telemetry.tracing import Tracer
from tests.support.span_collector import SpanList

PREDICT = b"/v1/models/m:predict"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the request's body twice."""
    del scope
    message = await receive()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    await send({"type": "http.response.body", "body": message["body"]})


async def fail(scope: Any, receive: Any, send: Any) -> None:
    """Answer with an error."""
    del scope, receive
    await send({"type": "http.response.start", "status": 503})


async def vanish(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing, as to a client that has gone."""


def scope_of(path: bytes = PREDICT, method: str = "POST", kind: str = "http", **state: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    return {"type": kind, "method": method, "raw_path": path, "headers": [], "state": state}


async def ask(app: Any, scope: dict[str, Any]) -> None:
    """Send a request of five bytes."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"12345"}

    async def send(message: Any) -> None:
        """Drop the answer."""

    await app(scope, receive, send)


@pytest.mark.parametrize(
    ("scope", "rate", "has_line"),
    [
        (scope_of(), 1.0, True),
        (scope_of(), 0.0, False),
        (scope_of(b"/healthz", "GET"), 1.0, False),
        (scope_of(kind="lifespan"), 1.0, False),
        (scope_of(**{SAMPLED: True}), 0.0, True),
        (scope_of(**{SAMPLED: False}), 1.0, False),
    ],
    ids=["chosen", "not chosen", "outside the API", "no request", "chosen before", "not chosen before"],
)
async def test_chosen_requests_of_the_api_are_logged(
    scope: dict[str, Any], rate: float, *, has_line: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A choice that the connection has made already holds."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")

    await ask(logged(vanish, AccessLog(rate)), scope)

    assert bool(caplog.messages) is has_line


async def test_a_line_has_status_and_sizes(caplog: pytest.LogCaptureFixture) -> None:
    """Of the whole answer, in however many pieces it goes."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")

    await ask(logged(echo, AccessLog(1.0)), scope_of())

    (line,) = caplog.messages
    assert line.startswith("request protocol=rest method=predict model=m ")
    assert re.search(r" code=200 .* bytes_in=5 bytes_out=10 ", line)


async def test_a_client_that_has_gone_is_named_in_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """There is no status."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")

    await ask(logged(vanish, AccessLog(1.0)), scope_of())

    assert " code=CLIENT_GONE " in caplog.messages[0]


@pytest.mark.parametrize(
    ("scope", "rate", "count"),
    [
        (scope_of(), 1.0, 1),
        (scope_of(), 0.0, 0),
        (scope_of(b"/healthz", "GET"), 1.0, 0),
        (scope_of(kind="lifespan"), 1.0, 0),
        (scope_of(**{TRACED: None}), 1.0, 0),
    ],
    ids=["sampled", "not sampled", "outside the API", "no request", "not traced before"],
)
async def test_sampled_requests_of_the_api_have_a_span(scope: dict[str, Any], rate: float, count: int) -> None:
    """A choice that the connection has made already holds."""
    spans = SpanList()

    await ask(traced(vanish, RequestTraces(Tracer(rate, spans))), scope)

    assert len(spans.spans) == count


@pytest.mark.parametrize(
    ("app", "status", "error"), [(echo, 200, None), (fail, 503, "503"), (vanish, None, "client_gone")]
)
async def test_a_span_has_status_and_error(app: Any, status: int | None, error: str | None) -> None:
    """A client that has gone got neither."""
    spans = SpanList()

    await ask(traced(app, RequestTraces(Tracer(1.0, spans))), scope_of())

    (span,) = spans.spans
    assert span.name == "POST /v1/models/{model}:predict"
    assert (span.attributes.get(STATUS), span.attributes.get(ERROR_TYPE)) == (status, error)
