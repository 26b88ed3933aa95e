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
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from core.routing.transport import Answer, Call, Method
from deployments.inference.answering import HARMLESS_BYTES
from deployments.inference.execution import ALWAYS_LONG_S, SHORT_CALL_S, Execution, WaitingTicket
from deployments.system.daemon_threads import DaemonThreads

PATIENCE_S: Final = 0.01
"""After so long in one call a thread loses the lane."""

Reply = Callable[[Answer], None]
Kind = tuple[Method, int]


class ForeignExecution(Execution):
    """Works on the calls of a version whose code may hang; its threads never delay the process's end."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lane = Lane(self._in_lane, self._threads)

    def _threads_of(self, threads: int) -> DaemonThreads:
        return DaemonThreads("run", threads)

    def submit(self, call: Call, reply: Reply) -> WaitingTicket | None:
        """Work on a call in a thread; `reply` is called on this event loop."""
        kind = (call.method, len(call.body).bit_length())
        if len(call.body) > HARMLESS_BYTES or self._expected_s.get(kind, ALWAYS_LONG_S) >= SHORT_CALL_S:
            return self._hand_over(call, kind, reply)
        ticket = WaitingTicket(call)
        self.in_flight += 1

        def finish(answer: Answer) -> None:
            self.in_flight -= 1
            if not ticket.cancelled:
                reply(answer)

        self._lane.put(ticket, kind, finish)
        return ticket

    def _in_lane(self, ticket: WaitingTicket, kind: Kind) -> Answer:
        return self._begin(ticket.call, kind, ticket)

    def close(self) -> None:
        """Take no further calls; those that run are finished."""
        super().close()
        self._lane.close()


class Lane:
    """One thread that works on calls in turn; a thread that a call keeps is replaced, `threads` times at most."""

    def __init__(self, work: Callable[[WaitingTicket, Kind], Answer], threads: int) -> None:
        self._work = work
        self._threads = threads
        self._calls: SimpleQueue[tuple[WaitingTicket, Kind, Reply, asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self._ended: deque[tuple[Reply, Answer]] = deque()
        self._workers: list[_Worker] = []
        self._waiting = 0
        self._is_woken = False
        self._alarm: asyncio.TimerHandle | None = None

    def put(self, ticket: WaitingTicket, kind: Kind, reply: Reply) -> None:
        """Let the thread work on a call; `reply` is called on this event loop."""
        loop = asyncio.get_running_loop()
        self._waiting += 1
        self._calls.put((ticket, kind, reply, loop))
        if self._alarm is None:
            self._look(loop)

    def close(self) -> None:
        """End the threads after the calls that were put."""
        for _ in self._workers:
            self._calls.put(None)

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
            self._workers.append(_Worker(self))
        self._alarm = loop.call_later(PATIENCE_S, self._look, loop)

    def turns(self, worker: _Worker) -> None:
        """Work on calls in this thread until it has lost the lane."""
        while worker.has_lane:
            item = self._calls.get()
            if item is None:
                return
            ticket, kind, reply, loop = item
            worker.since = time.monotonic()
            answer = self._work(ticket, kind)
            worker.since = None
            del item, ticket
            self._ended.append((reply, answer))
            if not self._is_woken:
                self._is_woken = True
                loop.call_soon_threadsafe(self._reply)

    def _reply(self) -> None:
        self._is_woken = False
        ended = self._ended
        while ended:
            reply, answer = ended.popleft()
            self._waiting -= 1
            reply(answer)


class _Worker:
    """A thread of a lane; `since` is when its present call began."""

    def __init__(self, lane: Lane) -> None:
        self.has_lane = True
        self.since: float | None = None
        self.thread = threading.Thread(target=lane.turns, args=(self,), name="lane", daemon=True)
        self.thread.start()

    def is_kept(self) -> bool:
        """Whether one call keeps the thread."""
        since = self.since
        return since is not None and time.monotonic() - since > PATIENCE_S
