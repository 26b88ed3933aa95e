"""Answers copies and compares them while the model server has nothing else to do: one at a time, in its own thread.

A copy has its turn when no call is open, and seldom while there is no time to spare. Until then it waits, in a short
queue; one that has waited too long is dropped. A call that comes meanwhile waits for none of this: it shares the
processor with one copy at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from core.comparison.answer_bytes import json_bytes
from core.comparison.answer_difference import LONGEST_REASON, ONLY_OUTPUT, answer_difference
from core.comparison.copy_message import unpacked_copy
from core.comparison.pair_message import packed_report
from core.delivery.pair_report import DROPPED_PAIR, PairReport, PairResult
from core.delivery.split import DEFAULT_TOLERANCE
from core.errors import Code, ServingError
from core.inference.giving_up import GivenUp, giving_up_when
from core.inference.signature import ServedModel
from core.routing.transport import Answer, Call
from deployments.comparison.peer_copies import Reply
from deployments.system.daemon_threads import DaemonThreads
from deployments.telemetry.spare_time import SpareTime

log = logging.getLogger(__name__)

MOST_QUEUED: Final = 32
MOST_QUEUED_BYTES: Final = 128 * 1024 * 1024
LOOK_AGAIN_S: Final = 0.01
"""After so long a copy whose turn has not come looks again."""
REST_RATIO: Final = 50
"""Without time to spare a copy has its turn after a rest that is so many times as long as the last one took."""
QUIET_AFTER_S: Final = 10.0
"""So long after the last copy nobody looks any more whether there is time to spare."""
LONGEST_JSON_BYTES: Final = 2 * 1024 * 1024
"""Longer answers in JSON are not compared: all threads wait while one reads them, calls included.

It is stable's answer that counts, so that no version chooses by its answers which of them are compared.
"""
MOST_TIMES_LONGER: Final = 4
"""An answer that is longer than so many of the longest ones has another structure."""

_OF_LOAD: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})
"""Codes that a copy may get because it has to wait, which says nothing of the version."""


class CopyAnswering(Protocol):
    """Answers copies without counting or logging them."""

    served: ServedModel

    def answer(self, call: Call) -> tuple[Answer, str]:
        """Answer in this thread; return the answer, and the signature that it is of. May raise GivenUp."""
        ...


class QueuedCopy:
    """A copy that waits for its turn, or has it; implements `deployments.comparison.peer_copies.CopyTicket`."""

    __slots__ = ("body", "ends_at", "is_cancelled", "reply", "size")

    def __init__(self, body: bytes, ends_at: float, reply: Reply) -> None:
        self.body = body
        self.size = len(body)
        self.ends_at = ends_at
        self.reply = reply
        self.is_cancelled = False

    def cancel(self) -> None:
        """Drop the copy; nothing is replied."""
        self.is_cancelled = True
        self.body = b""


class CopyRunner:
    """Works on the copies of one version; all but the work itself is on one event loop.

    `is_busy` says whether a call is open. `warn` is called once, in the thread of the copies, before the first of them.
    """

    def __init__(
        self,
        answering: CopyAnswering,
        is_busy: Callable[[], bool],
        spare: SpareTime | None = None,
        warn: Callable[[], None] | None = None,
    ) -> None:
        self._answering = answering
        self._is_busy = is_busy
        self._warn = warn
        self._spare = spare or SpareTime()
        self._rested_at_s = 0.0
        self._queue: deque[QueuedCopy] = deque()
        self._queued_bytes = 0
        self._is_working = False
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None
        self._thread = DaemonThreads("copies", 1)

    def take(self, call: Call, reply: Reply) -> QueuedCopy | None:
        """Queue a copy; None for one that was dropped because too many wait."""
        loop = asyncio.get_running_loop()
        self._spare.start()
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(QUIET_AFTER_S, self._spare.stop)
        copy = QueuedCopy(call.body, loop.time() + (call.timeout_s or 0.0), reply)
        if len(self._queue) >= MOST_QUEUED or self._queued_bytes + copy.size > MOST_QUEUED_BYTES:
            reply(_answer(DROPPED_PAIR))
            return None
        self._queue.append(copy)
        self._queued_bytes += copy.size
        if self._timer is None and not self._is_working:
            self._look(loop)
        return copy

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the first copy if it is the time for one, otherwise look again soon."""
        self._timer = None
        self._drop_late(loop.time())
        if not self._queue:
            return
        if self._is_busy() or (self._spare.is_short and loop.time() < self._rested_at_s):
            self._timer = loop.call_later(LOOK_AGAIN_S, self._look, loop)
            return
        copy = self._queue.popleft()
        self._queued_bytes -= copy.size
        self._is_working = True
        self._thread.submit(lambda: self._work(copy, loop))

    def _drop_late(self, now_s: float) -> None:
        while self._queue and (self._queue[0].is_cancelled or now_s >= self._queue[0].ends_at):
            copy = self._queue.popleft()
            self._queued_bytes -= copy.size
            if not copy.is_cancelled:
                copy.reply(_answer(DROPPED_PAIR))

    def _work(self, copy: QueuedCopy, loop: asyncio.AbstractEventLoop) -> None:
        """Answer and compare a copy, in the thread for that."""
        began_s = loop.time()
        try:
            warn, self._warn = self._warn, None
            if warn is not None:
                warn()
            with giving_up_when(lambda: copy.is_cancelled):
                answer = _answer(compared(self._answering, copy.body, copy.ends_at - loop.time()))
        except GivenUp:
            answer = _answer(DROPPED_PAIR)
        except Exception as error:
            log.exception("copy_failed")
            answer = Answer.error(Code.INTERNAL, f"{type(error).__name__}: {error}")
        try:
            loop.call_soon_threadsafe(self._end, copy, answer, loop, loop.time() - began_s)
        except RuntimeError:  # the loop was closed
            return

    def _end(self, copy: QueuedCopy, answer: Answer, loop: asyncio.AbstractEventLoop, took_s: float) -> None:
        self._is_working = False
        self._rested_at_s = loop.time() + REST_RATIO * took_s
        if not copy.is_cancelled:
            copy.reply(answer)
        if self._queue and self._timer is None:
            self._timer = loop.call_later(0, self._look, loop)

    def close(self) -> None:
        """Drop what waits, and take no more."""
        for timer in (self._timer, self._quiet):
            if timer is not None:
                timer.cancel()
        self._spare.stop()
        self._queue.clear()
        self._thread.close()


def compared(answering: CopyAnswering, body: bytes, left_s: float) -> PairReport:
    """Answer a copy, and compare that with the answer that its caller got; may raise GivenUp."""
    try:
        copy = unpacked_copy(body)
    except ServingError as error:
        return PairReport(PairResult.DROPPED, reason=str(error)[:LONGEST_REASON])
    method = copy.call.method
    if json_bytes(method, copy.answer) > LONGEST_JSON_BYTES:
        return DROPPED_PAIR
    answer, signature = answering.answer(copy.call._replace(timeout_s=max(0.001, left_s)))
    if answer.code in _OF_LOAD:
        return DROPPED_PAIR
    if answer.code is not Code.OK:
        return PairReport(PairResult.FAILED, reason=f"{answer.code.name}: {answer.text}"[:LONGEST_REASON])
    if (length := json_bytes(method, answer.body)) > MOST_TIMES_LONGER * LONGEST_JSON_BYTES:
        return PairReport(PairResult.STRUCTURAL, reason=f"the answer has {length} bytes of JSON")
    only_output = _only_output(answering.served, signature)
    otherwise = copy.tolerances.get("", DEFAULT_TOLERANCE)
    return answer_difference(method, copy.answer, answer.body, copy.tolerances, only_output, otherwise=otherwise)


def _only_output(served: ServedModel, signature: str) -> str:
    """Return the name of the output of a signature that has one, as answers may leave it out."""
    found = served.signatures.get(signature)
    return next(iter(found.outputs)) if found is not None and len(found.outputs) == 1 else ONLY_OUTPUT


def _answer(report: PairReport) -> Answer:
    return Answer(Code.OK, packed_report(report))
