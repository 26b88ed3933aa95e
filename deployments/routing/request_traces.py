"""The router's part of a trace: the span of a request, and below it that of its way to a version and back.

Costs nothing unless tracing is configured; only then `TracedRouter` replaces `RequestRouter`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from core.errors import Code, ServingError
from core.routing.table import Route
from core.routing.transport import Answer, Call, Transport
from core.telemetry.metrics import Metrics
from core.telemetry.request_meter import TracedRequestMeter
from core.telemetry.spans import (
    CODE,
    ERROR_TYPE,
    LABEL,
    METHOD,
    MODEL,
    ROUTE_SPAN,
    SIGNATURE,
    VERSION,
    SpanKind,
    code_error,
    grpc_attributes,
)
from core.telemetry.trace_context import TRACEPARENT, TRACESTATE, TraceContext, parse_trace_context
from deployments.division.request_headers import Fields
from deployments.routing.access_log import Answered, SampledRouter
from deployments.telemetry.process_metrics import METRICS
from deployments.telemetry.tracing import CURRENT, OpenSpan, Tracer, current_trace_id

TRACED = "traced"
"""Key in the state of an ASGI scope: the span of the request, None for one that is not traced."""
HEADERS = {name.encode(): name for name in (TRACEPARENT, TRACESTATE)}

A = TypeVar("A", bound=Answered)


class TracedRouter(SampledRouter):
    """A router that notes the version of each traced request, and makes a span of its way there and back."""

    def __init__(self, name: str, transport: Transport, metrics: Metrics = METRICS) -> None:
        super().__init__(name, transport, metrics)
        self.meter = TracedRequestMeter(metrics, self.meter.is_model, current_trace_id, time.time)

    def resolve(self, name: str, version: int | None, label: str | None, fields: Fields | None = None) -> Route:
        """Return the route of the version that a request asks for."""
        span = CURRENT.get()
        if span is None:
            return super().resolve(name, version, label, fields)
        span.attributes[MODEL] = name
        if label is not None:
            span.attributes[LABEL] = label
        route = super().resolve(name, version, label, fields)
        span.attributes[VERSION] = route.servable.version
        return route

    async def forward(self, route: Route, call: Call) -> Answer:
        """Carry a call to a version, in a span of its own."""
        request = CURRENT.get()
        if request is None:
            return await super().forward(route, call)
        span = request.below(ROUTE_SPAN, SpanKind.CLIENT)
        servable = route.servable
        span.attributes |= {MODEL: servable.name, VERSION: servable.version, METHOD: call.method.name}
        span.attributes[CODE] = Code.CANCELLED.name
        try:
            answer = await super().forward(route, call._replace(trace=span.context))
            note_code(span, answer.code)
        except ServingError as error:
            note_code(span, error.code)
            raise
        finally:
            span.end()
        return answer


def note_code(span: OpenSpan, code: Code) -> None:
    """Note the code with which a call has ended."""
    span.attributes[CODE] = code.name
    span.error = "" if code is Code.OK else code.name


class RequestTraces:
    """Begins the spans of the requests that are traced."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> OpenSpan | None:
        """Begin the span of an HTTP request; None for one that is not traced."""
        return self._tracer.request(
            parent_in((HEADERS[name], value.decode("latin-1")) for name, value in headers if name in HEADERS)
        )

    def of_call(
        self, rpc: str, signature: Callable[[], str], metadata: Iterable[Any], work: Coroutine[Any, Any, A]
    ) -> Coroutine[Any, Any, A]:
        """Return the work on a gRPC call (`service/method`), inside a span if the call is traced.

        `signature` finds out which one the call asks for; it may be an empty one.
        """
        span = self._tracer.request(parent_in(metadata))
        return work if span is None else _followed_call(span, rpc, signature(), work)


def parent_in(metadata: Iterable[Any]) -> TraceContext | None:
    """Return the parent that the metadata of a gRPC call names, or the decoded headers of an HTTP request."""
    parents, states = [], []
    for name, value in metadata:
        if name == TRACEPARENT:
            parents.append(str(value))
        elif name == TRACESTATE:
            states.append(str(value))
    return parse_trace_context(parents, states) if parents else None


async def _followed_call(span: OpenSpan, rpc: str, signature: str, work: Coroutine[Any, Any, A]) -> A:
    service, _, method = rpc.partition("/")
    span.name = rpc
    span.attributes |= grpc_attributes(service, method)
    if signature:
        span.attributes[SIGNATURE] = signature
    code = Code.CANCELLED
    token = CURRENT.set(span)
    try:
        answer = await work
        code = answer.code
        return answer
    finally:
        CURRENT.reset(token)
        span.attributes["rpc.grpc.status_code"] = int(code)
        span.error = code_error(code)
        if code is not Code.OK:
            span.attributes[ERROR_TYPE] = code.name
        span.end()
