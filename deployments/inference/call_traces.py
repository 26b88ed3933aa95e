"""The model server's part of a trace: a call, its wait, its batch and its run.

A batch belongs to the traces of all its requests, so each of them has a `batch` and a `run`, at the same times. The
first one's `batch` links to the requests in it, the others' link to the first one's (decision 0012).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.config.model_config import BatchingParameters
from core.config.server_settings import AnswerSettings
from core.errors import Code
from core.inference.batch_plan import Outputs
from core.inference.run_plan import RunPlan
from core.platforms.platform import Loaded
from core.routing.transport import Answer, Call, Method
from core.telemetry.spans import (
    BATCH_PADDING,
    BATCH_REQUESTS,
    BATCH_ROWS,
    BATCH_SPAN,
    CALL_SPAN,
    CODE,
    METHOD,
    MODEL,
    QUEUE_SPAN,
    ROWS,
    RUN_SPAN,
    SIGNATURE,
    TRANSPORT,
    VERSION,
    SpanKind,
    code_error,
    rows_in,
)
from core.telemetry.trace_context import TraceContext
from core.versions.servable import ServableId
from deployments.inference.batch_run import BatchRun, Pieces, Run, code_of
from deployments.inference.call_meter import CallMeter, VersionMeter
from deployments.inference.direct_server import Arrival, CallTaker, Reply, Ticket
from deployments.inference.execution import Execution, WaitingTicket
from deployments.inference.foreign_execution import ForeignExecution
from deployments.telemetry.run_steps import NOTED_STEPS, RunStep
from deployments.telemetry.tracing import NANOS_PER_S, OpenSpan, Tracer

DIRECT, HANDLE = "direct", "handle"


class Executes(CallTaker, Protocol):
    """An execution: works on the calls of a version."""

    async def call(self, call: Call) -> Answer:
        """Work on a call that came through a Serve handle."""
        ...


class CallTraces:
    """Makes the spans of the calls of one version."""

    def __init__(self, tracer: Tracer, servable: ServableId) -> None:
        self._servable = servable
        self.tracer = tracer

    def begin(self, trace: TraceContext, method: Method, transport: str) -> OpenSpan:
        """Begin the span of a call."""
        span = self.tracer.below(trace, CALL_SPAN, SpanKind.SERVER)
        span.attributes |= {METHOD: method.name, TRANSPORT: transport, CODE: Code.CANCELLED.name}
        span.attributes |= {MODEL: self._servable.name, VERSION: self._servable.version}
        return span

    def waited(self, trace: TraceContext, waited_s: float) -> None:
        """Make the span of a wait that is over now."""
        span = self.tracer.below(trace, QUEUE_SPAN)
        span.begin_ns -= int(waited_s * NANOS_PER_S)
        span.end()

    def execution(
        self, loaded: Loaded, threads: int, answers: AnswerSettings, kind: type[Execution] = Execution
    ) -> Execution:
        """Return an execution without batching, of the given kind."""
        meter = TracedVersionMeter(loaded.served, traces=self)
        traced = TracedForeignExecution if issubclass(kind, ForeignExecution) else TracedExecution
        return traced(loaded, threads, answers, meter=meter, traces=self)

    def batch_run(self, run: Run, parameters: BatchingParameters, clock: Callable[[], float]) -> BatchRun:
        """Return the runner of batches."""
        return TracedBatchRun(run, parameters, clock, self)


def _end(span: OpenSpan, code: Code) -> None:
    span.attributes[CODE] = code.name
    span.error = code_error(code)
    span.end()


class TracedCalls:
    """Wraps an execution, and makes the spans of traced calls."""

    def __init__(self, execution: Executes, traces: CallTraces) -> None:
        self._execution = execution
        self._traces = traces

    def submit(self, call: Call, reply: Reply) -> Ticket | None:
        """Work on a call that came over the direct transport."""
        return self.submit_together((Arrival(call, reply, time.monotonic()),))[0]

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many of the first of these calls should be worked on together."""
        return self._execution.group_size(arrivals)

    def submit_together(self, arrivals: Sequence[Arrival]) -> Sequence[Ticket | None]:
        """Work on calls that came over the direct transport."""
        spans = [self._begin(one) for one in arrivals]
        shown = [one if span is None else _shown(one, span) for one, span in zip(arrivals, spans, strict=True)]
        tickets = self._execution.submit_together(shown)
        return [
            ticket if ticket is None or span is None else _TracedTicket(ticket, span)
            for ticket, span in zip(tickets, spans, strict=True)
        ]

    def drop(self, arrival: Arrival) -> None:
        """Take note of a call whose caller has gone before it was submitted."""
        span = self._begin(arrival)
        if span is not None:
            span.end()
        self._execution.drop(arrival)

    def _begin(self, arrival: Arrival) -> OpenSpan | None:
        """Begin the span of a traced call when it came."""
        if arrival.call.trace is None:
            return None
        span = self._traces.begin(arrival.call.trace, arrival.call.method, DIRECT)
        span.begin_ns -= int((time.monotonic() - arrival.since_s) * NANOS_PER_S)
        return span

    async def call(self, call: Call) -> Answer:
        """Work on a call that came through a Serve handle."""
        if call.trace is None:
            return await self._execution.call(call)
        span = self._traces.begin(call.trace, call.method, HANDLE)
        try:
            answer = await self._execution.call(call._replace(trace=span.context))
            _end(span, answer.code)
        finally:
            span.end()
        return answer


def _shown(arrival: Arrival, span: OpenSpan) -> Arrival:
    """Return a call below its span, which ends with the answer."""
    reply = arrival.reply

    def ended(answer: Answer) -> None:
        _end(span, answer.code)
        reply(answer)

    return Arrival(arrival.call._replace(trace=span.context), ended, arrival.since_s)


class _TracedTicket:
    """A traced call that is being worked on."""

    __slots__ = ("_span", "_ticket")

    def __init__(self, ticket: Ticket, span: OpenSpan) -> None:
        self._ticket = ticket
        self._span = span

    def cancel(self) -> None:
        self._ticket.cancel()
        self._span.end()


class TracedExecution(Execution):
    """Works on calls, and makes the spans of the waits of traced ones."""

    def __init__(self, *arguments: Any, traces: CallTraces, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._traces = traces

    def _begin(self, call: Call, kind: tuple[Method, int], ticket: WaitingTicket) -> Answer:
        if call.trace is None:
            return super()._begin(call, kind, ticket)
        self._traces.waited(call.trace, time.monotonic() - ticket.begins_at)
        try:
            return super()._begin(call, kind, ticket)
        finally:
            NOTED_STEPS.set(None)  # a call that was given up has neither run nor ended


class TracedForeignExecution(TracedExecution, ForeignExecution):
    """The same for foreign code."""

    def _in_lane(self, ticket: WaitingTicket, kind: tuple[Method, int]) -> Answer:
        return self._begin(ticket.call, kind, ticket)


class TracedVersionMeter(VersionMeter):
    """Counts the calls of a version that is not batched, and makes the spans of their runs."""

    def __init__(self, *arguments: Any, traces: CallTraces, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._traces = traces

    def begin(self, call: Call) -> CallMeter:
        """Begin to time a call."""
        if call.trace is None:
            return super().begin(call)
        return _TracedMeter(self, call.method, self._traces.tracer, call.trace)


class _TracedMeter(CallMeter):
    __slots__ = ("_span", "_steps", "_trace", "_tracer")

    def __init__(self, version: VersionMeter, method: Method, tracer: Tracer, trace: TraceContext) -> None:
        super().__init__(version, method)
        self._tracer = tracer
        self._trace = trace
        self._span: OpenSpan | None = None
        self._steps: list[RunStep] = []

    def planned(self, plan: RunPlan) -> None:
        super().planned(plan)
        NOTED_STEPS.set(self._steps)
        self._span = self._tracer.below(self._trace, RUN_SPAN)
        self._span.attributes |= {SIGNATURE: plan.signature, ROWS: rows_in(plan.feeds)}

    def ran(self) -> None:
        super().ran()
        self._end_run("")

    def ended(self, code: Code) -> None:
        super().ended(code)
        self._end_run(code.name)

    def _end_run(self, error: str) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        NOTED_STEPS.set(None)
        _show_steps(span, self._steps)
        span.error = error
        span.end()


def _show_steps(run: OpenSpan, steps: Sequence[RunStep]) -> None:
    """Make the spans of the steps of a run."""
    for step in steps:
        span = run.below(step.name)
        span.begin_ns = step.begin_ns
        span.error = step.error
        span.end(step.end_ns)


@dataclass(frozen=True, slots=True)
class _RunTimes:
    """When TensorFlow ran a batch, and of how many rows."""

    begin_ns: int
    end_ns: int
    rows: int
    steps: Sequence[RunStep]


_RAN: ContextVar[_RunTimes | None] = ContextVar("run_times", default=None)


class TracedBatchRun(BatchRun):
    """Runs batches, and makes the spans of those with traced requests."""

    def __init__(
        self, run: Run, parameters: BatchingParameters, clock: Callable[[], float], traces: CallTraces
    ) -> None:
        super().__init__(self._noted(run), parameters, clock)
        self._tracer = traces.tracer

    def _noted(self, run: Run) -> Run:
        def noted(feeds: Mapping[str, np.ndarray], fetches: Sequence[str], *, timeout_ms: int | None = None) -> Outputs:
            begin_ns, steps = self._tracer.clock_ns(), list[RunStep]()
            NOTED_STEPS.set(steps)
            try:
                return run(feeds, fetches, timeout_ms=timeout_ms)
            finally:
                NOTED_STEPS.set(None)
                _RAN.set(_RunTimes(begin_ns, self._tracer.clock_ns(), rows_in(feeds), steps))

        return noted

    def _run_together(self, pieces: Pieces) -> list[Outputs]:
        traces = [piece.request.trace for piece in pieces]
        spans = [self._tracer.below(trace, BATCH_SPAN) for trace in traces if trace is not None]
        if not spans:
            return super()._run_together(pieces)
        self._describe(spans, pieces)
        _RAN.set(None)
        error = ""
        try:
            return super()._run_together(pieces)
        except Exception as failure:
            error = code_of(failure).name
            raise
        finally:
            self._end(spans, sum(piece.rows for piece in pieces), error)

    def _describe(self, spans: Sequence[OpenSpan], pieces: Pieces) -> None:
        """Describe the batch in its spans, and link them to each other."""
        traced = [piece for piece in pieces if piece.request.trace is not None]
        rows = sum(piece.rows for piece in pieces)
        for span, piece in zip(spans, traced, strict=True):
            span.attributes |= {BATCH_ROWS: rows, BATCH_REQUESTS: len(pieces)}
            span.attributes |= {ROWS: piece.rows, SIGNATURE: piece.request.plan.signature}
            span.links = (spans[0].context,)
        spans[0].links = tuple(piece.request.trace for piece in traced if piece.request.trace is not None)

    def _end(self, spans: Sequence[OpenSpan], rows: int, error: str) -> None:
        ran = _RAN.get()
        for span in spans:
            if ran is not None:
                span.attributes[BATCH_PADDING] = ran.rows - rows
                self._end_run(span, ran, error)
            span.error = error
            span.end()

    @staticmethod
    def _end_run(batch: OpenSpan, ran: _RunTimes, error: str) -> None:
        run = batch.below(RUN_SPAN)
        run.begin_ns = ran.begin_ns
        run.attributes[ROWS] = ran.rows
        _show_steps(run, ran.steps)
        run.error = error
        run.end(ran.end_ns)
