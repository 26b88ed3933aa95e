"""Spans that begin and end: which requests get one, what is below what, and how long each took."""

from __future__ import annotations

import itertools

import pytest

from core.config.server_settings import TracingSettings
from core.telemetry.spans import SpanKind, TracedProcess
from core.telemetry.trace_context import TraceContext
from deployments.telemetry.tracing import CURRENT, OpenSpan, Tracer, current_trace_id, tracer_of
from tests.support.span_collector import SpanList

PARENT = TraceContext("a" * 32, "b" * 16, is_sampled=True)
UNRECORDED = TraceContext("a" * 32, "b" * 16, is_sampled=False)


@pytest.fixture
def ended() -> SpanList:
    """The spans that have ended."""
    return SpanList()


def tracer(ended: SpanList, rate: float = 1.0) -> Tracer:
    """Return a tracer whose clock moves by 10 ns at each look, and whose ids are 1, 2, 3."""
    ticks, ids = itertools.count(100, 10), itertools.count(1)
    return Tracer(rate, ended, lambda: next(ticks), lambda _: next(ids))


def begun(tracer: Tracer, parent: TraceContext | None = PARENT) -> OpenSpan:
    """Begin the span of a request that is recorded."""
    span = tracer.request(parent)
    assert span is not None
    return span


@pytest.mark.parametrize(
    ("parent", "rate", "is_recorded"),
    [(PARENT, 0.0, True), (UNRECORDED, 1.0, False), (None, 1.0, True), (None, 0.0, False)],
)
def test_a_parent_decides_and_the_rate_decides_without_one(
    ended: SpanList,
    parent: TraceContext | None,
    rate: float,
    is_recorded: bool,  # noqa: FBT001
) -> None:
    """A trace is whole or not there."""
    assert (tracer(ended, rate).request(parent) is not None) is is_recorded


def test_a_request_is_below_its_parent_or_begins_a_trace(ended: SpanList) -> None:
    """With an id of its own."""
    followed, first = begun(tracer(ended)), begun(tracer(ended), None)

    assert (followed.context.trace_id, followed.parent_id) == (PARENT.trace_id, PARENT.span_id)
    assert followed.context.span_id not in {PARENT.span_id, ""}
    assert (first.parent_id, first.kind) == ("", SpanKind.SERVER)


def test_a_span_below_another_one_has_it_as_parent(ended: SpanList) -> None:
    """Whether it is known as a span or by its context only."""
    made = tracer(ended)
    above = begun(made)
    inner, remote = above.below("inner"), made.below(PARENT, "remote", SpanKind.CLIENT)

    assert (inner.parent_id, inner.context.trace_id) == (above.context.span_id, PARENT.trace_id)
    assert (remote.parent_id, remote.kind, remote.name) == (PARENT.span_id, SpanKind.CLIENT, "remote")


def test_a_span_is_passed_on_once_when_it_ends(ended: SpanList) -> None:
    """With everything that was filled in until then."""
    span = begun(tracer(ended))
    span.name, span.attributes["rows"], span.error = "predict", 3, "INTERNAL"
    assert ended.spans == []

    span.end()
    span.end()

    [only] = ended.spans
    assert (only.name, only.attributes, only.error) == ("predict", {"rows": 3}, "INTERNAL")
    assert (only.begin_ns, only.end_ns) == (100, 110)


def test_a_span_never_ends_before_it_began(ended: SpanList) -> None:
    """Clocks of machines step."""
    span = begun(tracer(ended))

    span.end(50)

    assert (ended.spans[0].begin_ns, ended.spans[0].end_ns) == (100, 100)


def test_the_trace_of_a_task_is_that_of_its_request(ended: SpanList) -> None:
    """Log lines name it."""
    assert current_trace_id() == ""
    token = CURRENT.set(begun(tracer(ended)))
    try:
        assert current_trace_id() == PARENT.trace_id
    finally:
        CURRENT.reset(token)


def test_closing_gives_the_rest_its_time(ended: SpanList) -> None:
    """A replica ends within its drain time."""
    tracer(ended).close(1.5)

    assert ended.closed_s == 1.5


def test_without_an_endpoint_there_is_no_tracer() -> None:
    """And OpenTelemetry is not loaded."""
    assert tracer_of(TracingSettings(), TracedProcess("router", "r1")) is None
