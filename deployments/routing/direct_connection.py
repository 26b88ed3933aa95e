"""One persistent connection of a router to a replica, over the direct transport.

Everything here runs on one event loop, that of the router's own ports. `begin` is the one primitive: it sends a call
without a task or a future. A task awaits its answer by `deployments.routing.awaited_call`.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import cast

from core.errors import Code, DeadlineExceeded
from core.routing.call_trailer import packed_trailer
from core.routing.direct_frames import (
    LARGEST_PAYLOAD_BYTES,
    LONGEST_WAIT_MS,
    BrokenFrame,
    Frame,
    FrameKind,
    FrameReader,
    frame_header,
)
from core.routing.replica_load import AverageLoad
from core.routing.transport import TIMED_OUT, Answer, Call, ConnectionLost, Endpoint, Waiting
from deployments.system.tcp_peer import SilenceWatch

log = logging.getLogger(__name__)

ANSWER_GRACE_S = 0.25
"""How much longer than the caller's deadline an answer is awaited, so that TensorFlow's own time-out can arrive."""

LOOK_S = 0.01
"""Between two looks for calls that have expired, so that thousands that do so one by one are looked through seldom; a
call ends so much too late at most."""

LARGEST_TRACED_BODY_BYTES = LARGEST_PAYLOAD_BYTES - 2**16
"""A larger one leaves no room for a trace context."""

MOST_UNSENT_BYTES = 4 * 1024 * 1024
"""Calls are held back above this: enough for some images, which would otherwise wait for each other one by one.

Their bodies are in the router's memory anyway.
"""

CODES = {int(code): code for code in Code}


class SentCall:
    """A call on its connection; implements `core.routing.transport.OpenCall`."""

    __slots__ = ("_connection", "call_id", "ends_at", "waiting")

    def __init__(self, connection: DirectConnection, call_id: int, waiting: Waiting) -> None:
        self._connection = connection
        self.call_id = call_id
        self.waiting = waiting
        self.ends_at = inf
        """When its deadline and the grace after it have passed, by the clock of the event loop."""

    def withdraw(self) -> None:
        self._connection.withdraw(self)

    def expire(self) -> None:
        """End the call because its deadline, and the grace after it, have passed."""
        try:
            self._connection.withdraw(self)
        finally:
            self.fail(DeadlineExceeded(TIMED_OUT))

    def fail(self, error: Exception) -> None:
        """End the call without an answer; an exception of who receives that harms no other call."""
        try:
            if not self.waiting.done():
                self.waiting.set_exception(error)
        except Exception:
            log.exception("direct_failure_not_taken")


class DirectConnection(asyncio.BufferedProtocol):
    """One connection to one replica."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.usable = False
        self.writable = asyncio.Event()
        self.writable.set()
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._reader = FrameReader(LARGEST_PAYLOAD_BYTES)
        self._pending: dict[int, SentCall] = {}
        self._unsent: list[bytes | bytearray] = []
        self._next_id = 0
        self._average_load = AverageLoad()
        self._transport: asyncio.Transport | None = None
        self._silence: SilenceWatch | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looks_at = inf

    @property
    def load(self) -> int:
        """The number of open calls."""
        return len(self._pending)

    @property
    def takes_calls(self) -> bool:
        """A call can be sent now, without waiting."""
        return self.usable and self._transport is not None and self.writable.is_set()

    def begin(self, call: Call, waiting: Waiting) -> SentCall:
        """Send a call while `takes_calls`; `waiting` gets its answer, ConnectionLost or DeadlineExceeded."""
        call_id = self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        sent = self._pending[call_id] = SentCall(self, call_id, waiting)
        if call.timeout_s is not None:
            sent.ends_at = self._loop.time() + call.timeout_s + ANSWER_GRACE_S
            if sent.ends_at < self._looks_at - LOOK_S:
                self._look_at(sent.ends_at)
        self._send(call_id, call)
        return sent

    def _look_at(self, when: float) -> None:
        """Look then for calls that have expired: one timer serves all, as nearly every call is answered in time."""
        if self._look is not None:
            self._look.cancel()
        self._look, self._looks_at = self._loop.call_at(when, self._end_expired), when

    def _end_expired(self) -> None:
        self._look, self._looks_at = None, inf
        now_s = self._loop.time()
        expired = [one for one in self._pending.values() if one.ends_at <= now_s]
        for sent in sorted(expired, key=lambda one: one.ends_at):
            try:
                sent.expire()
            except Exception:  # the others have deadlines, too
                log.exception("direct_call_not_withdrawn replica=%s", self.endpoint.replica)
        next_s = min((one.ends_at for one in self._pending.values()), default=inf)
        if next_s < self._looks_at:
            self._look_at(max(next_s, now_s + LOOK_S))

    def withdraw(self, sent: SentCall) -> None:
        """Cancel a call at the replica: its answer is not awaited any more."""
        if self._pending.pop(sent.call_id, None) is not None and self._transport is not None:
            self._write(frame_header(FrameKind.CANCEL, 0, call_id=sent.call_id))
            self._close_if_done()

    def sample_load(self) -> None:
        """Count the open calls, for the next report."""
        self._average_load.sample(len(self._pending))

    def report_load(self) -> None:
        """Report to the replica how many calls were open on average since the last report."""
        thousandths = min(LONGEST_WAIT_MS, self._average_load.take_thousandths())
        if self._transport is not None and self.usable:
            self._transport.write(frame_header(FrameKind.LOAD, 0, wait_ms=thousandths))

    def retire(self) -> None:
        """Take no more calls; close when the last answer has come."""
        self.usable = False
        self._close_if_done()

    def close(self) -> None:
        """Close when everything is written; open calls end with ConnectionLost."""
        self.usable = False
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _close_if_done(self) -> None:
        if not self.usable and not self._pending:
            self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(MOST_UNSENT_BYTES)
        self._silence = SilenceWatch(transport)
        token = self.endpoint.token
        self._transport.write(frame_header(FrameKind.HELLO, len(token)) + token)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.usable = False
        self.writable.set()
        self._unsent.clear()
        if self._silence is not None:
            self._silence.end()
        if self._look is not None:
            self._look.cancel()
        lost, self._pending = self._pending, {}
        for sent in lost.values():
            sent.fail(ConnectionLost(f"The connection to replica {self.endpoint.replica} was lost."))
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.filled(nbytes):
                self._take(frame)
        except BrokenFrame as error:
            log.warning("direct_connection_broken replica=%s error=%r", self.endpoint.replica, str(error))
            self.usable = False
            if self._transport is not None:
                self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if frame.kind == FrameKind.ANSWER:
            self._answered(frame)
        elif frame.kind == FrameKind.GOAWAY:
            self.usable = False
        else:
            raise BrokenFrame(f"a replica never sends frames of kind {frame.kind}")
        if not self.usable:
            self._close_if_done()

    def _answered(self, frame: Frame) -> None:
        code = CODES.get(frame.detail)
        if code is None:
            raise BrokenFrame(f"there is no code {frame.detail}")
        sent = self._pending.pop(frame.call_id, None)
        if sent is None or sent.waiting.done():
            return
        try:
            sent.waiting.set_result(Answer(code, frame.payload))
        except Exception:  # of who receives it; other calls have answers in the same read
            log.exception("direct_answer_not_taken")

    def _send(self, call_id: int, call: Call) -> None:
        wait_ms = 0
        if call.timeout_s is not None:
            wait_ms = min(LONGEST_WAIT_MS, max(1, int(call.timeout_s * 1000)))
        if (call.trace is not None or call.headers) and len(call.body) < LARGEST_TRACED_BODY_BYTES:
            trailer = packed_trailer(call)
            length, trailing = len(call.body) + len(trailer), len(trailer)
            fields = {"call_id": call_id, "detail": int(call.method), "wait_ms": wait_ms, "trailer_bytes": trailing}
            self._write(frame_header(FrameKind.CALL, length, tensor_at=call.tensor_at, **fields), call.body, trailer)
            return
        size, method = len(call.body), int(call.method)
        head = frame_header(
            FrameKind.CALL, size, call_id=call_id, detail=method, wait_ms=wait_ms, tensor_at=call.tensor_at
        )
        self._write(head, call.body)

    def _write(self, *parts: bytes | bytearray) -> None:
        """Send at once when nothing else is open, otherwise together with what else this turn of the loop sends.

        A system call costs about as much as everything else that is done for a tiny request.
        """
        if len(self._pending) > 1 or self._unsent:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent += parts
        elif self._transport is not None:
            self._transport.writelines(parts)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.writelines(unsent)
