"""Execution of calls without batching: short ones on the event loop, long ones in a pool of threads.

Which calls are short is learned: a moving average of the whole call (parse, run, print) per method and body size. A
hand-over to a thread costs more than a tiny model's run, while a long run must not keep other answers waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from core.config.server_settings import AnswerSettings
from core.errors import Code
from core.inference.giving_up import GivenUp, giving_up_after, giving_up_when, go_on
from core.platforms.platform import Loaded
from core.routing.transport import OVER, TIMED_OUT, Answer, Call, Method
from core.telemetry.metric_names import DROPPED_REQUESTS, QUEUE_LENGTH, QUEUE_SECONDS
from deployments.inference.answering import HARMLESS_BYTES, LARGEST_ON_LOOP_BYTES, LONGEST_ON_LOOP_S, Answering
from deployments.inference.call_meter import VersionMeter
from deployments.system.daemon_threads import DaemonThreads
from deployments.telemetry.process_metrics import METRICS

SHORT_CALL_S = 0.001
"""A call that is expected to take less than this runs on the event loop."""

WITHDRAWN_AS_EXPIRED_S = 0.05
"""A call that is withdrawn when it has less time left than this has expired: its caller noticed a little earlier."""

FALLING = 0.3
RISING = 0.05
ALWAYS_LONG_S = 1.0
"""What a call is expected to take before the first one of its kind was measured."""


def expectation(before_s: float, took_s: float) -> float:
    """Return the new expectation after one call: it falls fast and rises slowly, unless the call was certainly long.

    A thread that has to wait for a busy core looks slow for a moment; taken at its word, it would send tiny calls to
    the pool just when there is no time for hand-overs.
    """
    if took_s > LONGEST_ON_LOOP_S:
        return took_s
    return before_s + (FALLING if took_s < before_s else RISING) * (took_s - before_s)


class WaitingTicket:
    """A call that waits for a thread or runs in one."""

    __slots__ = ("begins_at", "call", "cancelled", "ends_at", "future")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.cancelled = False
        self.begins_at = time.monotonic()
        self.ends_at = None if call.timeout_s is None else self.begins_at + call.timeout_s
        self.future: Future[None] | None = None

    def is_over(self) -> bool:
        """Whether the caller has gone or its time is up."""
        return self.cancelled or (self.ends_at is not None and time.monotonic() >= self.ends_at)

    @property
    def left_s(self) -> float | None:
        """The rest of the caller's time; None without a deadline."""
        return None if self.ends_at is None else self.ends_at - time.monotonic()

    def cancel(self) -> None:
        self.cancelled = True
        if self.future is not None and self.future.cancel():
            # The pool keeps what waits in its queue until a thread comes to it, which may take as long as a run.
            self.call = replace(self.call, body=b"")


class Execution:
    """Works on the calls of one loaded version."""

    def __init__(
        self,
        loaded: Loaded,
        threads: int,
        answers: AnswerSettings | None = None,
        *,
        meter: VersionMeter | None = None,
    ) -> None:
        self._loaded = loaded
        self._threads = threads
        self.answering = Answering(loaded, answers, meter)
        served = (loaded.served.name, str(loaded.served.version))
        self._waited = METRICS.histogram(QUEUE_SECONDS, *served)
        METRICS.before_snapshot(lambda: METRICS.set(QUEUE_LENGTH, *served, to=self._waiting))
        self._pool = self._threads_of(threads)
        self._expected_s: dict[tuple[Method, int], float] = {}
        self.in_flight = 0
        """Calls that wait for a thread or run in one."""

    def _threads_of(self, threads: int) -> ThreadPoolExecutor | DaemonThreads:
        return ThreadPoolExecutor(threads, thread_name_prefix="run")

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> WaitingTicket | None:
        """Work on a call; `reply` is called on this event loop, before return if the call is short.

        A call whose caller has gone or whose time is up before its work begins is dropped.
        """
        size = len(call.body)
        kind = (call.method, size.bit_length())
        if self._expected_s.get(kind, ALWAYS_LONG_S) < SHORT_CALL_S and size <= LARGEST_ON_LOOP_BYTES:
            answer = self._answer_soon(call, kind)
            if answer is not None:
                reply(answer)
                return None
        return self._hand_over(call, kind, reply)

    def _hand_over(self, call: Call, kind: tuple[Method, int], reply: Callable[[Answer], None]) -> WaitingTicket:
        """Let a thread work on a call."""
        loop = asyncio.get_running_loop()
        ticket = WaitingTicket(call)
        self.in_flight += 1

        def work() -> None:
            answer = self._begin(ticket.call, kind, ticket)
            loop.call_soon_threadsafe(finish, answer)

        def finish(answer: Answer) -> None:
            self.in_flight -= 1
            ticket.call = OVER  # ticket and future know each other, and would keep it
            if not ticket.cancelled:
                reply(answer)

        def done(future: Future[None]) -> None:
            if future.cancelled():
                self.in_flight -= 1
                self._count_dropped(ticket)

        ticket.future = self._pool.submit(work)
        ticket.future.add_done_callback(done)
        return ticket

    def _answer_soon(self, call: Call, kind: tuple[Method, int]) -> Answer | None:
        """Work on a call on the event loop; None if its body takes so long to read that others would have to wait."""
        if len(call.body) <= HARMLESS_BYTES:
            return self._measured(call, kind, in_caller_thread=True)
        with suppress(GivenUp), giving_up_after(LONGEST_ON_LOOP_S):
            return self._measured(call, kind, in_caller_thread=True)
        return None

    @property
    def _waiting(self) -> int:
        return max(0, self.in_flight - self._threads)

    def _count_dropped(self, ticket: WaitingTicket) -> None:
        left_s = ticket.left_s
        reason = "expired" if left_s is not None and left_s < WITHDRAWN_AS_EXPIRED_S else "cancelled"
        METRICS.count(DROPPED_REQUESTS, self._loaded.served.name, reason)

    def _begin(self, call: Call, kind: tuple[Method, int], ticket: WaitingTicket) -> Answer:
        left_s = ticket.left_s
        self._waited.observe(time.monotonic() - ticket.begins_at)
        if ticket.cancelled:
            self._count_dropped(ticket)
            return Answer.error(Code.CANCELLED, "The caller has gone.")
        try:
            with giving_up_when(ticket.is_over):
                go_on()
                return self._measured(Call(call.method, call.body, left_s, call.trace), kind, since_s=ticket.begins_at)
        except GivenUp:
            self._count_dropped(ticket)
            return Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT)

    def _measured(
        self, call: Call, kind: tuple[Method, int], *, in_caller_thread: bool = False, since_s: float | None = None
    ) -> Answer:
        began = time.perf_counter()
        try:
            return self.answering.at_once(call, in_caller_thread=in_caller_thread, since_s=since_s)
        finally:
            took_s = time.perf_counter() - began
            self._expected_s[kind] = expectation(self._expected_s.get(kind, took_s), took_s)

    async def call(self, call: Call) -> Answer:
        """Work on a call that came through a Serve handle."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer] = loop.create_future()

        def reply(answer: Answer) -> None:
            if not waiting.done():
                waiting.set_result(answer)

        ticket = self.submit(call, reply)
        try:
            return await waiting
        except asyncio.CancelledError:
            if ticket is not None:
                ticket.cancel()
            raise

    def close(self) -> None:
        """Take no further calls; those that run are finished."""
        if isinstance(self._pool, DaemonThreads):
            self._pool.close()
        else:
            self._pool.shutdown(wait=False, cancel_futures=True)
