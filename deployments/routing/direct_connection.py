"""One persistent connection of a router to a replica, over the direct transport.

Everything here runs on one event loop, that of the router's own ports.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import cast

from core.errors import Code, DeadlineExceeded
from core.routing.direct_frames import (
    LARGEST_PAYLOAD_BYTES,
    LONGEST_WAIT_MS,
    BrokenFrame,
    Frame,
    FrameKind,
    FrameReader,
    header,
)
from core.routing.replica_load import AverageLoad
from core.routing.transport import TIMED_OUT, Answer, Call, ConnectionLost, Endpoint, Waiting
from core.telemetry.metric_names import DROPPED_REQUESTS
from core.telemetry.trace_context import pack
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

ANSWER_GRACE_S = 0.25
"""How much longer than the caller's deadline we wait, so that TensorFlow's own time-out can be told."""

LARGEST_TRACED_BODY_BYTES = LARGEST_PAYLOAD_BYTES - 2**16
"""A larger one leaves no room for a trace context."""

CODES = {int(code): code for code in Code}


class DirectConnection(asyncio.BufferedProtocol):
    """One connection to one replica."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.usable = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = FrameReader(LARGEST_PAYLOAD_BYTES)
        self._pending: dict[int, Waiting] = {}
        self._unsent: list[bytes | bytearray] = []
        self._next_id = 0
        self._average_load = AverageLoad()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def load(self) -> int:
        return len(self._pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        token = self.endpoint.token
        self._transport.write(header(FrameKind.HELLO, len(token)) + token)
        self.usable = True

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
        self._close_if_done()

    def _answered(self, frame: Frame) -> None:
        code = CODES.get(frame.detail)
        if code is None:
            raise BrokenFrame(f"there is no code {frame.detail}")
        waiting = self._pending.pop(frame.call_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(code, frame.payload))

    def _close_if_done(self) -> None:
        if not self.usable and not self._pending:
            self.close()

    def sample_load(self) -> None:
        """Look how many calls are open, for the next report."""
        self._average_load.sample(len(self._pending))

    def report_load(self) -> None:
        """Tell the replica how many calls were open on average since the last report."""
        thousandths = min(LONGEST_WAIT_MS, self._average_load.take_thousandths())
        if self._transport is not None and self.usable:
            self._transport.write(header(FrameKind.LOAD, 0, wait_ms=thousandths))

    @property
    def takes_calls(self) -> bool:
        """A call can be sent now, without waiting."""
        return self.usable and self._transport is not None and self._writable.is_set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._writable.set()
        self._unsent.clear()
        lost, self._pending = self._pending, {}
        for waiting in lost.values():
            if not waiting.done():
                waiting.set_exception(ConnectionLost(f"The connection to replica {self.endpoint.replica} was lost."))
        if not self.closed.done():
            self.closed.set_result(None)
        del exc

    def retire(self) -> None:
        """Take no more calls; close when the last answer has come."""
        self.usable = False
        self._close_if_done()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._flush()
            self._transport.close()

    async def call(self, call: Call, model: str = "") -> Answer:
        """Send a call and wait for its answer; `model` is for the count of calls that are given up unsent.

        Raises ConnectionLost and DeadlineExceeded. When the waiting task is cancelled the call is withdrawn.
        """
        if not self._writable.is_set():
            call = await self._when_writable(call, model)
        if self._transport is None or not self.usable:
            raise ConnectionLost(f"The connection to replica {self.endpoint.replica} is closed.")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer] = loop.create_future()
        call_id = self.begin(call, waiting)
        timer = None
        if call.timeout_s is not None:
            timer = loop.call_later(call.timeout_s + ANSWER_GRACE_S, self.expire, call_id)
        try:
            return await waiting
        except asyncio.CancelledError:
            self.withdraw(call_id)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def begin(self, call: Call, waiting: Waiting) -> int:
        """Send a call while `takes_calls`; gives its id, for `expire` and `withdraw`."""
        call_id = self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        self._pending[call_id] = waiting
        self._send(call_id, call)
        return call_id

    async def _when_writable(self, call: Call, model: str) -> Call:
        """Wait until the replica reads what was sent before; the wait is taken off the caller's time."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(call.timeout_s):
                while not self._writable.is_set():
                    await self._writable.wait()
        except TimeoutError:
            METRICS.count(DROPPED_REQUESTS, model, "expired")
            raise DeadlineExceeded(TIMED_OUT) from None
        except asyncio.CancelledError:
            METRICS.count(DROPPED_REQUESTS, model, "cancelled")
            raise
        if call.timeout_s is None:
            return call
        return replace(call, timeout_s=call.timeout_s - (loop.time() - began_s))

    def _send(self, call_id: int, call: Call) -> None:
        wait_ms = 0
        if call.timeout_s is not None:
            wait_ms = min(LONGEST_WAIT_MS, max(1, int(call.timeout_s * 1000)))
        if call.trace is not None and len(call.body) < LARGEST_TRACED_BODY_BYTES:
            trailer = pack(call.trace)
            length, trailing = len(call.body) + len(trailer), len(trailer)
            fields = {"call_id": call_id, "detail": int(call.method), "wait_ms": wait_ms, "trailer_bytes": trailing}
            self._write(header(FrameKind.CALL, length, **fields), call.body, trailer)
            return
        head = header(FrameKind.CALL, len(call.body), call_id=call_id, detail=call.method, wait_ms=wait_ms)
        self._write(head, call.body)

    def _write(self, *parts: bytes | bytearray) -> None:
        """Send at once when nothing else is open, otherwise together with what else this turn of the loop sends.

        A system call costs about as much as everything else that is done for a tiny request.
        """
        if len(self._pending) > 1 or self._unsent:
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._flush)
            self._unsent += parts
        elif self._transport is not None:
            self._transport.writelines(parts)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.writelines(unsent)

    def expire(self, call_id: int) -> None:
        """Return up a call whose time is up."""
        waiting = self._pending.get(call_id)
        self.withdraw(call_id)
        if waiting is not None and not waiting.done():
            waiting.set_exception(DeadlineExceeded(TIMED_OUT))

    def withdraw(self, call_id: int) -> None:
        """Tell the replica that nobody waits for a call any more."""
        if self._pending.pop(call_id, None) is not None and self._transport is not None:
            self._write(header(FrameKind.CANCEL, 0, call_id=call_id))
            self._close_if_done()
