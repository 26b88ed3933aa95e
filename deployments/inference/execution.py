"""Execution of calls without batching: short ones on the event loop, long ones in a pool of threads.

Which calls are short is learned: a moving average of the whole call (parse, run, print) per method and body size. A
hand-over to a thread costs more than a tiny model's run, while a long run must not keep other answers waiting. Calls of
a model with loops say nothing about the next one, and TensorFlow watches no deadline in the caller's thread: none of
them is short.

Short calls that came together are worked on in stages: all are read, then all are run, then all are printed. A run of
TensorFlow pushes the code that reads and prints out of the processor's caches, so that tiny calls take half as long
again one by one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from core.config.server_settings import AnswerSettings
from core.errors import Code
from core.inference.call_groups import MOST_IN_GROUP, group_size
from core.inference.giving_up import GivenUp, giving_up_after, giving_up_when, go_on
from core.platforms.platform import Loaded
from core.routing.transport import OVER, TIMED_OUT, Answer, Call, Method
from core.routing.waiting_line import WaitingLine
from core.telemetry.metric_names import DROPPED_REQUESTS, FULL, QUEUE_LENGTH, QUEUE_SECONDS, REFUSED_REQUESTS
from deployments.inference.answering import (
    HARMLESS_BYTES,
    LARGEST_ON_LOOP_BYTES,
    LONGEST_ON_LOOP_S,
    Answering,
    Attempt,
)
from deployments.inference.call_meter import VersionMeter
from deployments.inference.direct_server import Arrival, Reply, Ticket
from deployments.system.daemon_threads import DaemonThreads
from deployments.telemetry.process_metrics import METRICS

Kind = tuple[Method, int]
"""Calls of one kind are expected to take the same time: method, and magnitude of the body's size."""

SHORT_CALL_S = 0.001
"""A call that is expected to take less than this runs on the event loop."""

WITHDRAWN_AS_EXPIRED_S = 0.05
"""A call that is withdrawn when it has less time left than this has expired: its caller noticed a little earlier."""

FALLING = 0.3
RISING = 0.05
ALWAYS_LONG_S = 1.0
"""What a call is expected to take before the first one of its kind was measured."""

SHORTEST_S = 1e-6
"""No call is expected to take less."""


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

    def __init__(self, arrival: Arrival) -> None:
        self.call = call = arrival.call
        self.cancelled = False
        self.begins_at = arrival.since_s
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
            self.call = self.call._replace(body=b"")


class _ShortCall(Attempt):
    """A call that the event loop works on; `spent_s` is how long it did."""

    __slots__ = ("arrival", "at", "kind", "spent_s")

    def __init__(self, answering: Answering, arrival: Arrival, kind: Kind, at: int) -> None:
        super().__init__(answering, arrival.call, arrival.since_s)
        self.arrival = arrival
        self.kind = kind
        self.at = at
        self.spent_s = 0.0

    def run_here(self) -> None:
        """Run the model in this thread."""
        self.run(in_caller_thread=True)


STAGES = (_ShortCall.read, _ShortCall.run_here, _ShortCall.write)


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
        self._may_loop = loaded.served.may_loop
        served = (loaded.served.name, str(loaded.served.version))
        self._waited = METRICS.histogram(QUEUE_SECONDS, *served)
        METRICS.before_snapshot(lambda: METRICS.set(QUEUE_LENGTH, *served, to=self._waiting))
        self._pool = self._threads_of(threads)
        self._expected_s: dict[Kind, float] = {}
        self.in_flight = 0
        """Calls that wait for a thread or run in one."""
        self.line = WaitingLine()
        """Who may wait for a thread."""

    def _threads_of(self, threads: int) -> ThreadPoolExecutor | DaemonThreads:
        return ThreadPoolExecutor(threads, thread_name_prefix="run")

    def submit(self, call: Call, reply: Reply) -> Ticket | None:
        """Work on a call; `reply` is called on this event loop, before return if the call is short."""
        return self.submit_together((Arrival(call, reply, time.monotonic()),))[0]

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many of the first of these calls should be worked on together."""
        return group_size(self._here_s(one.call, _kind(one.call)) for one in arrivals[: MOST_IN_GROUP + 1])

    def submit_together(self, arrivals: Sequence[Arrival]) -> list[Ticket | None]:
        """Work on calls: long ones in threads, short ones here in stages; the short ones are answered before return.

        A call whose caller has gone or whose time is up before its work begins is dropped.
        """
        tickets: list[Ticket | None] = [None] * len(arrivals)
        here: list[_ShortCall] = []
        now_s = time.monotonic()
        for at, arrival in enumerate(arrivals):
            kind = _kind(arrival.call)
            if arrival.is_late(now_s):
                self._drop_late(arrival)
            elif self._here_s(arrival.call, kind):
                here.append(_ShortCall(self.answering, arrival, kind, at))
            else:
                tickets[at] = self._hand_over(arrival, kind)
        for stage in STAGES:
            self._take(stage, here)
        for one in here:
            tickets[one.at] = self._end(one)
        return tickets

    def _here_s(self, call: Call, kind: Kind) -> float:
        """Return how long the event loop is expected to work on a call; 0 for one that is left to a thread."""
        if self._may_loop:
            return 0.0
        expected_s = self._expected_s.get(kind, ALWAYS_LONG_S)
        if expected_s < SHORT_CALL_S and len(call.body) <= LARGEST_ON_LOOP_BYTES:
            return max(expected_s, SHORTEST_S)
        return 0.0

    @staticmethod
    def _take(stage: Callable[[_ShortCall], None], calls: Sequence[_ShortCall]) -> None:
        """Take a stage of all calls; those that it does not come to in time are left without an answer.

        What was run is printed in any case: nothing may run twice, as a graph may count its runs or draw at random.
        """
        is_last = stage is STAGES[-1]
        began_s = at_s = time.perf_counter()
        for one in calls:
            if is_last or len(one.call.body) <= HARMLESS_BYTES:
                stage(one)
            else:
                with suppress(GivenUp), giving_up_after(LONGEST_ON_LOOP_S):
                    stage(one)
            now_s = time.perf_counter()
            one.spent_s += now_s - at_s
            at_s = now_s
            if now_s - began_s > LONGEST_ON_LOOP_S and not is_last:
                break

    def _end(self, one: _ShortCall) -> Ticket | None:
        """Reply; a call that would have kept others waiting begins anew in a thread."""
        answer = one.answer
        if answer is not None or one.spent_s > LONGEST_ON_LOOP_S:
            self._learn(one.kind, one.spent_s)
        if answer is None:
            return self._hand_over(one.arrival, one.kind)
        one.arrival.reply(answer)
        return None

    def drop(self, arrival: Arrival) -> None:
        """Count a call whose caller has gone before it was submitted."""
        self._count_dropped(WaitingTicket(arrival))

    def _drop_late(self, arrival: Arrival) -> None:
        self.drop(arrival)
        arrival.reply(Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT))

    def _has_room(self, arrival: Arrival) -> bool:
        """Whether a call may wait for a thread; otherwise it is refused."""
        ahead = self.in_flight - self._threads
        if ahead < 0:
            return True
        timeout_s = arrival.call.timeout_s
        left_s = None if timeout_s is None else timeout_s - (time.monotonic() - arrival.since_s)
        refused = self.line.refusal(ahead, left_s)
        if refused is not None:
            METRICS.count(REFUSED_REQUESTS, self._loaded.served.name, FULL)
            arrival.reply(Answer.of(refused))
        return refused is None

    def _left(self) -> None:
        """Count a call that has ended."""
        self.in_flight -= 1
        self.line.ended(self._waiting, time.monotonic())

    def _hand_over(self, arrival: Arrival, kind: Kind) -> WaitingTicket | None:
        """Let a thread work on a call; None for one that was refused because too many wait."""
        if not self._has_room(arrival):
            return None
        loop = asyncio.get_running_loop()
        ticket, reply = WaitingTicket(arrival), arrival.reply
        self.in_flight += 1

        def work() -> None:
            answer = self._begin(ticket.call, kind, ticket)
            loop.call_soon_threadsafe(finish, answer)

        def finish(answer: Answer) -> None:
            self._left()
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

    @property
    def _waiting(self) -> int:
        return max(0, self.in_flight - self._threads)

    def _count_dropped(self, ticket: WaitingTicket) -> None:
        left_s = ticket.left_s
        reason = "expired" if left_s is not None and left_s < WITHDRAWN_AS_EXPIRED_S else "cancelled"
        METRICS.count(DROPPED_REQUESTS, self._loaded.served.name, reason)

    def _begin(self, call: Call, kind: Kind, ticket: WaitingTicket) -> Answer:
        self._waited.observe(time.monotonic() - ticket.begins_at)
        if ticket.cancelled:
            self._count_dropped(ticket)
            return Answer.error(Code.CANCELLED, "The caller has gone.")
        try:
            with giving_up_when(ticket.is_over):
                go_on()
                return self._measured(call, kind, ticket.begins_at)
        except GivenUp:
            self._count_dropped(ticket)
            return Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT)

    def _measured(self, call: Call, kind: Kind, since_s: float) -> Answer:
        began_s = time.perf_counter()
        try:
            return self.answering.at_once(call, since_s=since_s)
        finally:
            self._learn(kind, time.perf_counter() - began_s)

    def _learn(self, kind: Kind, took_s: float) -> None:
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


def _kind(call: Call) -> Kind:
    return call.method, len(call.body).bit_length()
