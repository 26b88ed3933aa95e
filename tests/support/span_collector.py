"""A small collector that takes traces by OTLP over HTTP, and spans kept in memory for tests without one."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from core.telemetry.spans import Span

PATH = "/v1/traces"


class SpanList:
    """Keeps spans; implements `deployments.telemetry.tracing.SpanSink`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.closed_s: float | None = None

    def take(self, span: Span) -> None:
        """Keep a span."""
        self.spans.append(span)

    def close(self, timeout_s: float) -> None:
        """Remember that nothing follows."""
        self.closed_s = timeout_s

    def __getitem__(self, name: str) -> Span:
        """Return the one span of a name."""
        [found] = [one for one in self.spans if one.name == name]
        return found


@dataclass(frozen=True)
class Received:
    """A span as the collector got it."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    begin_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    error: str
    state: str
    resource: Mapping[str, Any] = field(repr=False)


class SpanCollector:
    """Listens on a port of this machine; answers as it is told."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.is_asked.set()
                collector.may_answer.wait(60)
                if collector.status == 200 and self.path == PATH:
                    collector.keep(dict(self.headers), body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)

    def keep(self, headers: dict[str, str], body: bytes) -> None:
        """Read a request as OTLP's protobuf."""
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            for part in message.resource_spans:
                resource = values(part.resource.attributes)
                self.spans += [received(span, resource) for scope in part.scope_spans for span in scope.spans]

    def trace(self, trace_id: str) -> list[Received]:
        """Return the spans of a trace, in the order in which they began."""
        with self._lock:
            return sorted((one for one in self.spans if one.trace_id == trace_id), key=lambda one: one.begin_ns)

    def named(self, name: str) -> list[Received]:
        """Return the spans of a name."""
        with self._lock:
            return [one for one in self.spans if one.name == name]


def received(span: SpanMessage, resource: Mapping[str, Any]) -> Received:
    """Return a span as a value."""
    return Received(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        begin_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=values(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        error=span.status.message if span.status.code == 2 else "",
        state=span.trace_state,
        resource=resource,
    )


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as Python values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
