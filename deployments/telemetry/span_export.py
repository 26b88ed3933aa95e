"""Sends spans to a collector with OpenTelemetry's SDK, which only this module imports.

The queue is bounded. With a slow, absent or refusing collector spans are dropped and counted; no request is delayed.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import SpanKind as OtelKind

from core.telemetry.metric_names import DROPPED_SPANS
from core.telemetry.spans import Span, SpanKind, TracedProcess, cleaned
from core.telemetry.trace_context import TraceContext
from deployments.system.installed import server_version
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

SERVICE = "ray-model-server"
MOST_WAITING = 4096
"""Most spans that wait to be sent; more are dropped."""
LARGEST_EXPORT = 512
MOST_REASONS = 5
"""Most messages about one failed export that are kept."""
KINDS = {SpanKind.INTERNAL: OtelKind.INTERNAL, SpanKind.SERVER: OtelKind.SERVER, SpanKind.CLIENT: OtelKind.CLIENT}
UNSET = Status(StatusCode.UNSET)


class SpanExport:
    """Converts spans to OpenTelemetry's, and sends them in batches from a thread of its own."""

    def __init__(self, url: str, environment: Iterable[tuple[str, str]], process: TracedProcess) -> None:
        for name, value in environment:
            os.environ.setdefault(name, value)
        if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE)
        described: dict[str, str | int] = {
            "service.version": server_version(),
            "service.instance.id": process.instance,
            "process.pid": os.getpid(),
            "ray_model_server.process": process.kind,
        }
        self._resource = Resource.create(described)
        self._scope = InstrumentationScope(SERVICE, server_version())
        self._exporter = _Counting(OTLPSpanExporter(endpoint=url))
        self._processor = BatchSpanProcessor(self._exporter, MOST_WAITING, max_export_batch_size=LARGEST_EXPORT)

    def take(self, span: Span) -> None:
        """Queue a span; drop it when too many wait."""
        if self._exporter.waiting >= MOST_WAITING:
            METRICS.count(DROPPED_SPANS, "queue_full")
            return
        self._exporter.expect(1)
        self._processor.on_end(self._readable(span))

    def _readable(self, span: Span) -> ReadableSpan:
        context = _context(span.context, is_remote=False)
        parent = None
        if span.parent_id:
            parent = _context(span.context.child(span.parent_id), is_remote=span.kind is SpanKind.SERVER)
        return ReadableSpan(
            span.name,
            context,
            parent,
            self._resource,
            cleaned(span.attributes),
            links=[Link(_context(one, is_remote=False)) for one in span.links],
            kind=KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else UNSET,
            start_time=span.begin_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )

    def close(self, timeout_s: float) -> None:
        """Send the waiting spans, then end; those that the collector does not accept in time are lost."""
        ending = threading.Thread(target=self._processor.shutdown, name="spans-end", daemon=True)
        ending.start()
        ending.join(timeout_s)
        if ending.is_alive():
            self._exporter.shutdown()


class _Counting(SpanExporter):
    """Counts waiting and lost spans, and logs once when a collector stops accepting spans."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lock = threading.Lock()
        self._reasons = _reasons()
        self._is_failing = False
        self.waiting = 0

    def expect(self, count: int) -> None:
        with self._lock:
            self.waiting += count

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever happens here, serving goes on
            self._reasons.said.append(repr(error))
            result = SpanExportResult.FAILURE
        self.expect(-len(spans))
        self._note(len(spans), is_lost=result is not SpanExportResult.SUCCESS)
        return result

    def _note(self, count: int, *, is_lost: bool) -> None:
        reason = self._reasons.take()
        if is_lost:
            METRICS.count(DROPPED_SPANS, "not_exported", by=count)
        if is_lost and not self._is_failing:
            log.warning("spans_not_exported count=%d reason=%s", count, reason)
        elif self._is_failing and not is_lost:
            log.info("spans_exported_again count=%d", count)
        self._is_failing = is_lost

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Reasons(logging.Handler):
    """Keeps OpenTelemetry's messages about every attempt out of the log, and collects them for a line of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.said: deque[str] = deque(maxlen=MOST_REASONS)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def take(self) -> str:
        """Return the messages since the last call."""
        said = tuple(self.said)
        self.said.clear()
        return " ".join(dict.fromkeys(said))


@functools.cache
def _reasons() -> _Reasons:
    """Install the handler in this process, and leave it there."""
    reasons = _Reasons()
    logger = logging.getLogger("opentelemetry.exporter")
    logger.addHandler(reasons)
    logger.propagate = False
    return reasons


def _context(one: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if one.is_sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([one.state]) if one.state else None
    return SpanContext(int(one.trace_id, 16), int(one.span_id, 16), is_remote, flags, state)
