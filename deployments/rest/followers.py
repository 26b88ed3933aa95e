"""ASGI wrappers of the access log and of traces: each observes its chosen HTTP requests from head to last byte."""

from __future__ import annotations

from collections.abc import Sequence

from core.rest.path import is_api, name_in
from core.rest.request_span import http_attributes, http_error, http_name, http_route
from core.telemetry.spans import ERROR_TYPE, STATUS
from core.telemetry.trace_context import TRACEPARENT
from deployments.rest.asgi import AsgiApp, Message, Receive, Scope, Send, header
from deployments.rest.short_request import RestApi, Shown
from deployments.routing.access_log import (
    CURRENT_ENTRY,
    REQUEST_ID,
    SAMPLED,
    AccessEntry,
    AccessLog,
    request_id_of,
    trace_id_of,
)
from deployments.routing.logged_headers import KEPT_HEADERS, LoggedHeaders
from deployments.routing.request_traces import TRACED, RequestTraces
from deployments.telemetry.tracing import CURRENT, OpenSpan


def logged(app: AsgiApp, access: AccessLog, others: Sequence[RestApi] = ()) -> AsgiApp:
    """Wrap an application: the access log gets a line for each of its chosen requests to an API."""

    async def followed(scope: Scope, receive: Receive, send: Send) -> None:
        shown = _shown(scope, others) if scope["type"] == "http" else None
        if shown is not None and _is_chosen(scope, access):
            await _log(shown, app, scope, receive, send)
        else:
            await app(scope, receive, send)

    return followed


def _shown(scope: Scope, others: Sequence[RestApi]) -> Shown | None:
    """Return how a request is named; None for one that no API answers. `others` are the further ones of the port."""
    method, path = scope["method"], path_of(scope)
    other = next((one for one in others if one.owns(path)), None)
    if other is not None:
        return other.shown(method, path)
    if not is_api(path):
        return None
    verb = path.rpartition(":")[2] if method == "POST" else method
    return Shown(verb, name_in(method, path), http_route(method, path))


def _is_chosen(scope: Scope, access: AccessLog) -> bool:
    chosen: bool | None = scope.get("state", {}).get(SAMPLED)
    return access.is_chosen() if chosen is None else chosen


async def _log(shown: Shown, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    given = header(scope, REQUEST_ID.encode()).decode("latin-1")
    entry = AccessEntry("rest", shown.verb, request_id_of(given), shown.model)
    entry.trace_id = trace_id_of(header(scope, TRACEPARENT.encode()).decode("latin-1"))

    async def counted_receive() -> Message:
        message = await receive()
        entry.bytes_in += len(message.get("body", b""))
        return message

    async def counted_send(message: Message) -> None:
        entry.code = message.get("status", entry.code)
        entry.bytes_out += len(message.get("body", b""))
        await send(message)

    token = CURRENT_ENTRY.set(entry)
    try:
        await app(scope, counted_receive, counted_send)
    finally:
        CURRENT_ENTRY.reset(token)
        entry.write()


def keeping_headers(app: AsgiApp, kept: LoggedHeaders) -> AsgiApp:
    """Wrap an application: the chosen headers of each request go to the model server with its call."""

    async def followed(scope: Scope, receive: Receive, send: Send) -> None:
        token = KEPT_HEADERS.set(kept.of_http(scope["headers"]) if scope["type"] == "http" else ())
        try:
            await app(scope, receive, send)
        finally:
            KEPT_HEADERS.reset(token)

    return followed


def traced(app: AsgiApp, traces: RequestTraces, others: Sequence[RestApi] = ()) -> AsgiApp:
    """Wrap an application: each of its traced requests to an API gets a span."""

    async def followed(scope: Scope, receive: Receive, send: Send) -> None:
        shown = _shown(scope, others) if scope["type"] == "http" else None
        span = None if shown is None else _span_of(scope, traces)
        if shown is None or span is None:
            await app(scope, receive, send)
        else:
            method, path = scope["method"], path_of(scope)
            span.name = http_name(method, shown.route)
            span.attributes |= http_attributes(method, scope.get("scheme", "http"), path, shown.route)
            await _trace(span, app, scope, receive, send)

    return followed


def _span_of(scope: Scope, traces: RequestTraces) -> OpenSpan | None:
    state = scope.get("state", {})
    if TRACED in state:
        chosen: OpenSpan | None = state[TRACED]
        return chosen
    return traces.begin(scope["headers"])


async def _trace(span: OpenSpan, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def noted_send(message: Message) -> None:
        if "status" in message:
            span.attributes[STATUS] = message["status"]
            span.error = http_error(message["status"])
        await send(message)

    token = CURRENT.set(span)
    try:
        await app(scope, receive, noted_send)
    finally:
        CURRENT.reset(token)
        if span.error or STATUS not in span.attributes:
            span.attributes[ERROR_TYPE] = span.error or "client_gone"
        span.end()


def path_of(scope: Scope) -> str:
    """Return the path of a request as it was sent."""
    raw: bytes = scope["raw_path"]
    return raw.decode("utf-8", "surrogateescape")
