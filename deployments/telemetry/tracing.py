"""Begins and ends spans: decides which request gets one, and passes ended ones to the exporter.

Without tracing, no request runs any of this code, and OpenTelemetry is not imported.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from core.config.server_settings import TracingSettings
from core.telemetry.spans import Span, SpanKind, TracedProcess, Value
from core.telemetry.trace_context import TraceContext
from core.telemetry.tracing_plan import request_context, span_id, tracing_plan

log = logging.getLogger(__name__)

NANOS_PER_S = 1_000_000_000


class SpanSink(Protocol):
    """Takes ended spans."""

    def take(self, span: Span) -> None:
        """Keep a span until it is sent; never waits, never raises."""

    def close(self, timeout_s: float) -> None:
        """Send the remaining spans, for at most this time."""


class Tracer:
    """Begins spans, and passes them on when they have ended; used by all threads of a process."""

    def __init__(
        self,
        sampling_rate: float,
        sink: SpanSink,
        clock_ns: Callable[[], int] = time.time_ns,
        draw: Callable[[int], int] = random.getrandbits,
    ) -> None:
        self._rate = sampling_rate
        self._draw = draw
        self._sink = sink
        self.clock_ns = clock_ns

    def request(self, parent: TraceContext | None) -> OpenSpan | None:
        """Begin the span of a request with this parent; None for a request that is not recorded."""
        context = request_context(parent, self._rate, self._draw)
        if context is None:
            return None
        return OpenSpan(self, SpanKind.SERVER, context, "" if parent is None else parent.span_id)

    def below(self, parent: TraceContext, name: str, kind: SpanKind = SpanKind.INTERNAL) -> OpenSpan:
        """Begin a span below another one."""
        span = OpenSpan(self, kind, parent.child(span_id(self._draw)), parent.span_id)
        span.name = name
        return span

    def take(self, span: Span) -> None:
        """Pass on an ended span."""
        self._sink.take(span)

    def close(self, timeout_s: float) -> None:
        """Send the remaining spans; spans that end later are lost."""
        self._sink.close(timeout_s)


class OpenSpan:
    """A span that has begun; its attributes are filled in until it ends."""

    __slots__ = (
        "_tracer",
        "attributes",
        "begin_ns",
        "context",
        "error",
        "is_open",
        "kind",
        "links",
        "name",
        "parent_id",
    )

    def __init__(self, tracer: Tracer, kind: SpanKind, context: TraceContext, parent_id: str) -> None:
        self._tracer = tracer
        self.name = ""
        self.kind = kind
        self.context = context
        self.parent_id = parent_id
        self.attributes: dict[str, Value] = {}
        self.links: tuple[TraceContext, ...] = ()
        self.error = ""
        self.is_open = True
        self.begin_ns = tracer.clock_ns()

    def below(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> OpenSpan:
        """Begin a span below this one."""
        return self._tracer.below(self.context, name, kind)

    def end(self, end_ns: int | None = None) -> None:
        """Pass the span on, once."""
        if not self.is_open:
            return
        self.is_open = False
        end_ns = self._tracer.clock_ns() if end_ns is None else end_ns
        times = (self.begin_ns, max(self.begin_ns, end_ns))
        self._tracer.take(
            Span(self.name, self.kind, self.context, self.parent_id, *times, self.attributes, self.links, self.error)
        )


CURRENT: ContextVar[OpenSpan | None] = ContextVar("request_span", default=None)
"""The span of the request that this task works on."""


def current_trace_id() -> str:
    """Return the trace of the request that this task works on; empty when it has none."""
    span = CURRENT.get()
    return "" if span is None else span.context.trace_id


def tracer_of(settings: TracingSettings, process: TracedProcess) -> Tracer | None:
    """Return the tracer of this process; None without tracing, or without OpenTelemetry."""
    plan = tracing_plan(settings)
    if plan is None:
        return None
    try:
        from deployments.telemetry.span_export import SpanExport  # noqa: PLC0415 - costs nothing where nothing is traced

        sink = SpanExport(plan.url, settings.environment, process)
    except Exception:
        log.exception("tracing_off url=%s", plan.url)
        return None
    log.info("tracing url=%s sampling_rate=%.6f", plan.url, plan.sampling_rate)
    return Tracer(plan.sampling_rate, sink)
