"""What reaches a collector, and what a collector that is slow, down or unwilling costs: spans, and nothing else."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from core.config.server_settings import TracingSettings
from core.telemetry.metric_names import DROPPED_SPANS
from core.telemetry.spans import Span, SpanKind, TracedProcess
from core.telemetry.trace_context import TraceContext
from deployments.telemetry import span_export
from deployments.telemetry.process_metrics import METRICS
from deployments.telemetry.span_export import SpanExport
from deployments.telemetry.tracing import tracer_of
from tests.support.clients import free_port, wait_until
from tests.support.span_collector import PATH, SpanCollector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
QUICK = (("OTEL_BSP_SCHEDULE_DELAY", "20"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"))
PROCESS = TracedProcess("router", "r1")


def span(name: str = "s", number: int = 1, **more: object) -> Span:
    context = TraceContext(TRACE, f"{number:016x}", state="a=1")
    return Span(name, SpanKind.INTERNAL, context, "", 1_000, 2_000, **more)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What an export puts into the environment is taken out again."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    with SpanCollector() as made:
        yield made


Export = Callable[..., SpanExport]


@pytest.fixture
def export(collector: SpanCollector) -> Iterator[Export]:
    """Makes exports that are closed at the end."""
    made: list[SpanExport] = []

    def make(url: str = collector.url, **variables: str) -> SpanExport:
        made.append(SpanExport(url + PATH, (*variables.items(), *QUICK), PROCESS))
        return made[-1]

    yield make
    collector.may_answer.set()
    for one in made:
        one.close(5.0)


def dropped(reason: str) -> float:
    return METRICS.counter(DROPPED_SPANS, reason).value


def test_a_span_arrives_as_it_was(collector: SpanCollector, export: Export) -> None:
    """With ids, times, attributes, links, state and error."""
    one = Span(
        "run",
        SpanKind.SERVER,
        TraceContext(TRACE, "00000000000000aa", state="a=1,b=2"),
        "00000000000000bb",
        1_000,
        2_500,
        {"text": "ä\udcff", "number": 3, "share": 0.5, "yes": True},
        (TraceContext("1" * 32, "2" * 16),),
        "INTERNAL",
    )

    export().take(one)

    wait_until(lambda: len(collector.spans) == 1, "it arrives")
    [got] = collector.spans
    assert (got.name, got.kind, got.trace_id, got.span_id) == ("run", "SERVER", TRACE, "00000000000000aa")
    assert (got.parent_id, got.begin_ns, got.end_ns) == ("00000000000000bb", 1_000, 2_500)
    assert got.attributes == {"text": "ä\ufffd", "number": 3, "share": 0.5, "yes": True}
    assert got.links == (("1" * 32, "2" * 16),)
    assert (got.state, got.error) == ("a=1,b=2", "INTERNAL")
    assert got.resource["service.name"] == "ray-model-server"
    assert got.resource["service.instance.id"] == "r1"
    assert got.resource["ray_model_server.process"] == "router"
    assert got.resource["process.pid"] == os.getpid()


def test_opentelemetrys_variables_count(collector: SpanCollector, export: Export) -> None:
    """Those of the place where the server was started, as far as this node has none of its own."""
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "zone=here"
    made = export(
        OTEL_SERVICE_NAME="mine",
        OTEL_RESOURCE_ATTRIBUTES="zone=there",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=abc",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )

    made.take(span())

    wait_until(lambda: len(collector.spans) == 1, "it arrives")
    assert collector.spans[0].resource["service.name"] == "mine"
    assert collector.spans[0].resource["zone"] == "here"
    assert collector.headers[0]["x-key"] == "abc"
    assert collector.headers[0]["content-encoding"] == "gzip"


def test_a_name_among_the_resource_attributes_counts(collector: SpanCollector, export: Export) -> None:
    """Ours is only for those who have given none."""
    export(OTEL_RESOURCE_ATTRIBUTES="service.name=theirs").take(span())

    wait_until(lambda: len(collector.spans) == 1, "it arrives")
    assert collector.spans[0].resource["service.name"] == "theirs"


def test_what_waits_is_sent_at_the_end(collector: SpanCollector) -> None:
    """A process that ends takes none with it."""
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "60000"
    made = SpanExport(collector.url + PATH, (), PROCESS)
    for number in range(1, 1001):
        made.take(span(number=number))

    made.close(10.0)

    assert len(collector.spans) == 1000


def test_a_collector_that_is_down_costs_spans_and_one_warning(export: Export, caplog: pytest.LogCaptureFixture) -> None:
    """They are counted, and the log says so once."""
    caplog.set_level(logging.INFO)
    before = dropped("not_exported")
    made = export(f"http://127.0.0.1:{free_port()}", OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="2")

    for number in (1, 2):
        made.take(span(number=number))
        wait_until(lambda: dropped("not_exported") == before + number, "it is given up")  # noqa: B023 - run at once

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    messages = [record.getMessage() for record in warnings if record.name.startswith("deployments")]
    assert not logging.getLogger("opentelemetry.exporter").propagate
    assert len(messages) == 1
    assert messages[0].startswith("spans_not_exported count=1 reason=")
    assert "onnection" in messages[0]


def test_a_collector_that_comes_back_is_noticed(
    collector: SpanCollector, export: Export, caplog: pytest.LogCaptureFixture
) -> None:
    """Later spans arrive."""
    caplog.set_level(logging.INFO)
    collector.status = 400
    before = dropped("not_exported")
    made = export()
    made.take(span("lost"))
    wait_until(lambda: dropped("not_exported") == before + 1, "it is given up")

    collector.status = 200
    made.take(span("kept"))

    wait_until(lambda: "spans_exported_again" in caplog.text, "it is noticed")
    assert [one.name for one in collector.spans] == ["kept"]


def test_a_slow_collector_is_not_waited_for(
    collector: SpanCollector, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into the queue is counted and forgotten."""
    monkeypatch.setattr(span_export, "MOST_WAITING", 600)
    collector.may_answer.clear()
    before = dropped("queue_full")
    made = export()
    made.take(span())
    assert collector.is_asked.wait(60)

    for number in range(2, 1001):
        made.take(span(number=number))

    assert collector.spans == []
    assert dropped("queue_full") == before + 400


def test_an_end_does_not_wait_for_a_slow_collector(collector: SpanCollector) -> None:
    """The replica has little time left."""
    os.environ |= {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    collector.may_answer.clear()
    made = SpanExport(collector.url + PATH, (), PROCESS)
    made.take(span())
    assert collector.is_asked.wait(60)

    made.close(0.2)

    assert collector.spans == []


def test_spans_after_the_end_are_lost_quietly(collector: SpanCollector, export: Export) -> None:
    """The last requests of a replica may end after its traces."""
    made = export()
    made.close(5.0)

    made.take(span())

    assert collector.spans == []


def test_an_answer_that_is_no_http_is_survived(export: Export) -> None:
    """Somebody else may listen there."""
    before = dropped("not_exported")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"\x00garbage\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        export(f"http://127.0.0.1:{listener.getsockname()[1]}").take(span())

        wait_until(lambda: dropped("not_exported") == before + 1, "it is given up")


def test_a_tracer_of_settings_sends_what_ends(collector: SpanCollector) -> None:
    """From settings to the collector."""
    tracer = tracer_of(TracingSettings(collector.url, 1.0, QUICK), PROCESS)
    assert tracer is not None
    request = tracer.request(None)
    assert request is not None
    request.name = "asked"

    request.below("inner").end()
    request.end()
    request.end()
    tracer.close(60.0)

    assert sorted(one.name for one in collector.spans) == ["asked", "inner"]
    assert collector.named("inner")[0].parent_id == collector.named("asked")[0].span_id
