"""Batching: requests of one version share runs.

`core.inference.batch_schedule` decides which requests run together and when; this module waits for it. A batch is
formed when an execution slot is free, and is handed over whole to Ray Serve's `@serve.batch`, whose own forming does
not look at slots (decision 0009).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from core.config.model_config import BatchingParameters
from core.errors import DeadlineExceeded, ResourceExhausted
from core.inference.batch_plan import BatchKind, Outputs, kind, rows_of
from core.inference.batch_queue import Limits, size_of
from core.inference.batch_schedule import BatchSchedule
from core.inference.run_plan import RunPlan
from core.routing.transport import TIMED_OUT
from core.telemetry.metric_names import BATCH_QUEUING_LATENCY, DROPPED_REQUESTS, QUEUE_LENGTH, QUEUE_SECONDS
from core.telemetry.trace_context import TraceContext
from deployments.inference.batch_run import BatchedRequest, BatchRun, Pieces, Result, Run
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

MICROS_PER_S = 1e6
SHORTEST_WAIT_S = 0.001
"""Event loops count in milliseconds; a shorter timer would keep them spinning."""

TIMED_OUT_IN_QUEUE = "Run() timeout exceeded while waiting in batching queue"

HandOver = Callable[[Pieces], Coroutine[Any, Any, Sequence[Result]]]
Work = Callable[[Pieces], Awaitable[Sequence[Result]]]
Through = Callable[[Work, int, int], HandOver]


def through_serve(work: Work, limit: int, slots: int) -> HandOver:
    """Run batches in Serve's batch queue: its metrics and its dashboard then show them like any other's."""
    from ray import serve  # noqa: PLC0415 - a child of a version host has no Ray, and batches by itself

    @serve.batch(max_batch_size=limit, batch_wait_timeout_s=0, max_concurrent_batches=slots, batch_size_fn=total_size)
    async def run_batch(formed: list[Pieces]) -> list[Sequence[Result]]:
        return await asyncio.gather(*(work(pieces) for pieces in formed))

    hand_over: HandOver = run_batch
    return hand_over


def by_itself(work: Work, limit: int, slots: int) -> HandOver:  # noqa: ARG001 - what is formed keeps to both
    """Run batches as they are formed, in a process that is no replica of Serve's."""

    async def run_batch(pieces: Pieces) -> Sequence[Result]:
        return await work(pieces)

    return run_batch


def total_size(formed: Sequence[Pieces]) -> int:
    """Count rows; total, because an error here would end Serve's queue."""
    return sum(size_of(piece.rows) for pieces in formed for piece in pieces)


class BatchTraces(Protocol):
    """Follows the traced ones of the requests."""

    def waited(self, trace: TraceContext, waited_s: float) -> None:
        """Note that a request has left its queue."""

    def batch_run(self, run: Run, parameters: BatchingParameters, clock: Callable[[], float]) -> BatchRun:
        """Return the runner of batches."""
        ...


class Batcher:
    """Forms batches on one event loop and runs them in threads."""

    def __init__(
        self,
        run: Run,
        parameters: BatchingParameters,
        *,
        served: tuple[str, str] = ("", ""),
        threads: int = 1,
        through: Through = through_serve,
        clock: Callable[[], float] = time.monotonic,
        traces: BatchTraces | None = None,
    ) -> None:
        self._batch_run = (BatchRun if traces is None else traces.batch_run)(run, parameters, clock)
        self._run = run
        self._traces = traces
        self._parameters = parameters
        self._served = served
        self._clock = clock
        slots = parameters.num_batch_threads or threads
        self._schedule: BatchSchedule[BatchedRequest] = BatchSchedule(Limits.of(parameters), slots)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix=parameters.thread_pool_name)
        self._hand_over = through(self._in_thread, parameters.execution_batch_size, slots)
        self._runs: set[asyncio.Task[None]] = set()
        self._is_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self._queuing_micros = METRICS.histogram(BATCH_QUEUING_LATENCY, "")
        self._queue_seconds = METRICS.histogram(QUEUE_SECONDS, *served)
        METRICS.before_snapshot(lambda: METRICS.set(QUEUE_LENGTH, *served, to=self._schedule.waiting))

    async def run(self, plan: RunPlan, timeout_s: float | None = None, trace: TraceContext | None = None) -> Outputs:
        """Run a request together with others.

        Raises ServingError: the rules of `rows_of` and of a full queue, ResourceExhausted when the time is up before
        the run has begun (DeadlineExceeded when the request gave itself a time), or what the run raised. A cancelled
        caller's request leaves its queue.
        """
        rows, now = rows_of(plan), self._clock()
        loop = asyncio.get_running_loop()
        request = BatchedRequest(plan, math.inf if timeout_s is None else now + timeout_s, loop.create_future(), trace)
        request.pieces = self._schedule.add(request, rows, request.key, self._kind(plan, rows), now)
        self._wake()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._expire, request)
        try:
            return await request.answer
        finally:
            if timer is not None:
                timer.cancel()
            self._leave(request)
            del request  # an error's traceback would keep it, with its tensors

    async def run_alone(self, plan: RunPlan, timeout_s: float | None = None) -> Outputs:
        """Run a request that must not share a run, in a thread of the batches; raises what the run raises."""
        timeout_ms = None if timeout_s is None else max(1, int(timeout_s * 1000))
        run = functools.partial(self._run, plan.feeds, plan.fetches, timeout_ms=timeout_ms)
        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def _kind(self, plan: RunPlan, rows: int) -> BatchKind:
        """Pad rows of different widths, but not those of a request that needs several runs."""
        parameters = self._parameters
        return kind(plan, padded=parameters.pad_variable_length_inputs and rows <= parameters.execution_batch_size)

    def _leave(self, request: BatchedRequest) -> None:
        """Remove the waiting pieces of a request from its queue."""
        withdrawn = [self._schedule.withdraw(request.key, piece) for piece in request.pieces]
        if request.answer.cancelled() and all(withdrawn):
            METRICS.count(DROPPED_REQUESTS, self._served[0], "cancelled")
        request.pieces = []

    def _expire(self, request: BatchedRequest) -> None:
        """Answer a request whose time is up, unless all of it runs: the run then has a time of its own.

        Where the request gave itself that time, nobody else ends the wait for the run.
        """
        if any(piece.is_waiting for piece in request.pieces):
            self._drop_expired(request)
        elif request.plan.timeout_s is not None:
            request.fail(DeadlineExceeded(TIMED_OUT))

    def _drop_expired(self, request: BatchedRequest) -> None:
        if not request.answer.done():
            METRICS.count(DROPPED_REQUESTS, self._served[0], "expired")
            is_own = request.plan.timeout_s is not None
            request.fail(DeadlineExceeded(TIMED_OUT) if is_own else ResourceExhausted(TIMED_OUT_IN_QUEUE))

    def _wake(self) -> None:
        """Look for batches soon: whatever else has arrived by then joins them."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._start_batches)

    def _start_batches(self) -> None:
        self._is_due = False
        now = self._clock()
        while pieces := self._schedule.take(now):
            self._start(pieces, now)
        self._set_alarm(self._schedule.wakes_at() - now)

    def _set_alarm(self, wait_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if wait_s < math.inf:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(SHORTEST_WAIT_S, wait_s), self._start_batches)

    def _start(self, taken: Pieces, now: float) -> None:
        for piece in taken:
            waited_s = now - piece.queued_at
            self._queuing_micros.observe(waited_s * MICROS_PER_S)
            self._queue_seconds.observe(waited_s)
            if self._traces is not None and piece.request.trace is not None:
                self._traces.waited(piece.request.trace, waited_s)
            if piece.request.ends_at <= now:
                self._drop_expired(piece.request)
        pieces = [piece for piece in taken if not piece.request.answer.done()]
        if not pieces:
            self._schedule.finish()
            return
        task = asyncio.get_running_loop().create_task(self._work(pieces))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _work(self, pieces: Pieces) -> None:
        try:
            results = await self._hand_over(pieces)
        except Exception as error:
            log.exception("batch_failed model=%s version=%s", *self._served)
            results = [error] * len(pieces)
        finally:
            self._schedule.finish()
            self._wake()
        for piece, result in zip(pieces, results, strict=True):
            piece.request.settle(piece, result)

    async def _in_thread(self, pieces: Pieces) -> Sequence[Result]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._batch_run.results, pieces)

    def close(self) -> None:
        """Take no further batches; those that run are finished."""
        self._pool.shutdown(wait=False)
