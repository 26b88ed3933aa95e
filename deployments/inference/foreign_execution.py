"""Execution of calls of foreign code, which may hang: never on the event loop, and handed over as cheaply as possible.

Calls that are expected to be short share one thread, the lane. The event loop puts them into a queue that the thread
finds filled when it is busy, and takes the answers of all that has ended meanwhile at once; a thread for each call
would fight with the loop for the interpreter. A call that takes long keeps its thread, and another takes the lane.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from core.routing.transport import Answer
from deployments.inference.answering import HARMLESS_BYTES
from deployments.inference.direct_server import Arrival, Reply, Ticket
from deployments.inference.execution import ALWAYS_LONG_S, SHORT_CALL_S, Execution, Kind, WaitingTicket
from deployments.system.daemon_threads import DaemonThreads

PATIENCE_S: Final = 0.01
"""After so long in one call a thread loses the lane."""

UNTOLD_S: Final = 0.0005
"""Answers wait until the thread has no more calls, or that long: each hand-over costs both threads a turn."""


class ForeignExecution(Execution):
    """Works on the calls of a version whose code may hang; its threads never delay the process's end."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lane = Lane(self._in_lane, self._threads)

    def _threads_of(self, threads: int) -> DaemonThreads:
        return DaemonThreads("run", threads)

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many calls are submitted together: all, because none of them keeps the event loop."""
        return len(arrivals)

    def submit_together(self, arrivals: Sequence[Arrival]) -> list[Ticket | None]:
        """Work on calls in threads; their answers come on this event loop."""
        return [self._submit(one) for one in arrivals]

    def _submit(self, arrival: Arrival) -> Ticket | None:
        call, reply = arrival.call, arrival.reply
        kind = (call.method, len(call.body).bit_length())
        if len(call.body) > HARMLESS_BYTES or self._expected_s.get(kind, ALWAYS_LONG_S) >= SHORT_CALL_S:
            return self._hand_over(arrival, kind)
        if not self._has_room(arrival):
            return None
        ticket = WaitingTicket(arrival)
        self.in_flight += 1

        def finish(answer: Answer) -> None:
            self._left()
            if not ticket.cancelled:
                reply(answer)

        self._lane.put(ticket, kind, finish)
        return ticket

    def _in_lane(self, ticket: WaitingTicket, kind: Kind) -> Answer:
        """Work on a small call, whose body takes no time to read."""
        if ticket.is_over():
            return self._begin(ticket.call, kind, ticket)
        self._waited.observe(time.monotonic() - ticket.begins_at)
        return self._measured(ticket.call, kind, ticket.begins_at)

    def close(self) -> None:
        """Take no further calls; those that run are finished."""
        super().close()
        self._lane.close()


class Lane:
    """One thread that works on calls in turn; a thread that a call keeps is replaced, `threads` times at most.

    The thread is woken once for all calls of a turn of the event loop, and the loop once for all answers that came
    while it was busy.
    """

    def __init__(self, work: Callable[[WaitingTicket, Kind], Answer], threads: int) -> None:
        self._work = work
        self._threads = threads
        self._calls: deque[tuple[WaitingTicket, Kind, Reply]] = deque()
        self._ended: deque[tuple[Reply, Answer]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._workers: list[_Worker] = []
        self._waiting = 0
        self._is_idle = False
        self._is_due = False
        self._is_told = False
        self._is_closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, ticket: WaitingTicket, kind: Kind, reply: Reply) -> None:
        """Let the thread work on a call; `reply` is called on this event loop, always the same one."""
        self._waiting += 1
        self._calls.append((ticket, kind, reply))
        if not self._is_due:
            self._is_due = True
            loop = self._loop = self._loop or asyncio.get_running_loop()
            loop.call_soon(self._hand_over, loop)

    def close(self) -> None:
        """End the threads after the calls that were put."""
        self._is_closed = True
        for _ in self._workers:
            self._wake.put(None)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the thread for the calls of this turn."""
        self._is_due = False
        if self._is_idle:
            self._is_idle = False
            self._wake.put(None)
        if self._alarm is None:
            self._look(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replace a thread that is kept, and look again while calls wait."""
        self._alarm = None
        if not self._waiting:
            return
        self._workers = [one for one in self._workers if one.thread.is_alive()]
        lane = self._workers[-1] if self._workers else None
        if lane is None or (lane.is_kept() and len(self._workers) < self._threads):
            if lane is not None:
                lane.has_lane = False
            self._workers.append(_Worker(self, loop))
        self._alarm = loop.call_later(PATIENCE_S, self._look, loop)

    def turns(self, worker: _Worker, loop: asyncio.AbstractEventLoop) -> None:
        """Work on calls in this thread until it has lost the lane."""
        calls, ended = self._calls, self._ended
        told = 0.0
        while worker.has_lane:
            try:
                ticket, kind, reply = calls.popleft()
            except IndexError:
                if not self._sleep(loop):
                    return
                continue
            worker.since = began = time.monotonic()
            answer = self._work(ticket, kind)
            worker.since = None
            ended.append((reply, answer))
            if began - told > UNTOLD_S:
                told = began
                self._tell(loop)
        self._tell(loop)
        if calls:  # what woke this thread was meant for the one that has the lane now
            self._wake.put(None)

    def _sleep(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait for calls; False when there will be none."""
        self._tell(loop)
        self._is_idle = True
        if not self._calls:
            if self._is_closed:
                return False
            self._wake.get()
        return True

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ended and not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop was closed while a call kept this thread
                loop.call_soon_threadsafe(self._reply)

    def _reply(self) -> None:
        self._is_told = False
        ended = self._ended
        while ended:
            reply, answer = ended.popleft()
            self._waiting -= 1
            reply(answer)


class _Worker:
    """A thread of a lane; `since` is when its present call began."""

    def __init__(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        self.has_lane = True
        self.since: float | None = None
        self.thread = threading.Thread(target=lane.turns, args=(self, loop), name="lane", daemon=True)
        self.thread.start()

    def is_kept(self) -> bool:
        """Whether one call keeps the thread."""
        since = self.since
        return since is not None and time.monotonic() - since > PATIENCE_S
