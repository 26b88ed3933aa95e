"""One client's connection to a gRPC port without TLS and without options of gRPC's own library.

A call of an inference method goes from here straight to a direct connection, and its answer back in one write. All
others, and those that turn out to need more, are handled as grpc.aio handles them (`deployments.grpc.handled_call`), by
the same functions.
"""

from __future__ import annotations

import asyncio
import math
from typing import ClassVar, Protocol, cast

from core.errors import Code, ServingError
from core.http2.budget import DEFAULT_LIMITS, Http2Limits
from core.http2.connection import Http2Connection
from core.http2.frames import BrokenConnection, Fault
from core.http2.grpc_heads import (
    GOOD_END_BLOCK,
    IDENTITY,
    OPENING_BLOCK,
    CallHead,
    bounded_text,
    refusal_block,
)
from core.http2.grpc_messages import prefix
from core.http2.progress import ProgressLimits, ProgressWatch, Unfinished
from core.http2.streams import NOBODY, STREAM, Receiver, Stream
from deployments.access.guard import Fields
from deployments.access.peer import ELSEWHERE, Peer, peer_of_transport
from deployments.grpc.handled_call import HandledCall
from deployments.grpc.http_refusal import HttpRefusal
from deployments.grpc.services import ShortMethod
from deployments.grpc.unary_call import Handlers, UnaryCall

LARGEST_COPIED_BYTES = 16 * 1024
PREFACE_TIMEOUT_S = 60.0
"""How long a connection may stay open that has not sent the preface of HTTP/2."""
GOAWAY_TIME_S = 1.0
"""How long a client may take to read the GOAWAY that says why its connection is closed."""
LOOK_INTERVAL_S = 10.0
"""How often a connection is searched for requests and answers that make no progress."""
REQUEST_LIMITS = ProgressLimits()
FULL_READ_BYTES = 64 * 1024
"""At least this is read when there is more to be read."""
ANSWER_LIMITS = ProgressLimits(still_s=300.0, grace_s=math.inf)
"""Callers may be busy for minutes before they read on."""


class Calls(Handlers, Protocol):
    """The part of a port that its connections use."""

    connections: set[GrpcProtocol]

    @property
    def short_call(self) -> type[UnaryCall]:
        """The class of inference calls that need no handler."""
        ...

    def refusal(self, path: str, fields: Fields, peer: Peer) -> ServingError | None:
        """Return why a call is refused whatever its message is; None where that is not certain."""
        ...

    def short(self, path: str) -> ShortMethod | None:
        """Return an inference method; None for other methods, and where calls are bounded, logged or traced."""
        ...


class GrpcProtocol(asyncio.Protocol):
    """Reads frames, begins calls, writes answers."""

    limits: ClassVar[Http2Limits] = DEFAULT_LIMITS

    def __init__(self, calls: Calls, loop: asyncio.AbstractEventLoop) -> None:
        self.calls = calls
        self._is_ruled = calls.guard.is_ruled
        self.loop = loop
        self.http2 = Http2Connection(self._open_stream, self.limits)
        self.writable = asyncio.Event()
        self.writable.set()
        self._transport: asyncio.Transport | None = None
        self.peer = ELSEWHERE
        """The other end."""
        self._ends_when_idle = False
        self._timer: asyncio.TimerHandle | None = None
        self._made_s = 0.0
        self._was_full = False
        self._goes_on = False
        self._is_flush_due = False
        self._requests = ProgressWatch(REQUEST_LIMITS)
        self._answers = ProgressWatch(ANSWER_LIMITS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = peer_of_transport(transport)
        self.calls.connections.add(self)
        self._made_s = self.loop.time()
        self._look_later()
        self.flush()

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(min(LOOK_INTERVAL_S, PREFACE_TIMEOUT_S), self._look)

    def _look(self) -> None:
        """End what makes no progress."""
        now_s = self.loop.time()
        if not self.http2.is_established and now_s - self._made_s >= PREFACE_TIMEOUT_S:
            self.abort()
            return
        try:
            self._end_requests(now_s)
        except BrokenConnection as error:
            self._break_off(error)
            return
        if self._answers.overdue(self._unread(), now_s):
            self.abort()
        else:
            self._look_later()

    def _end_requests(self, now_s: float) -> None:
        # A client that does not read its answers is not read from, and cannot complete anything.
        unfinished = self.http2.unfinished() if self.writable.is_set() else {}
        for kind, number in self._requests.overdue(unfinished, now_s):
            stream = self.http2.open_stream(number) if kind == STREAM else None
            if stream is None:
                raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, f"a {kind} that is not completed")
            receiver = stream.receiver
            self.refuse(stream, Code.DEADLINE_EXCEEDED, "The request was not completed: too little of it arrives.")
            receiver.cancelled()
        self.flush()

    def _unread(self) -> dict[Unfinished, int]:
        """Return what the client must read, with a number that changes when it does."""
        sending, unread = self.http2.sending, {}
        if sending.waiting_bytes:
            unread["answers", 0] = sending.merits.sent_bytes
        if self._transport is not None and not self.writable.is_set():
            unread["socket", 0] = self._transport.get_write_buffer_size()
        return unread

    def data_received(self, data: bytes) -> None:
        # libuv reads a connection again, up to 32 times, before it looks at others, if its buffer was full.
        is_same_turn, self._was_full = self._was_full, len(data) >= FULL_READ_BYTES
        try:
            self.http2.receive(data, is_new_turn=not is_same_turn)
        except BrokenConnection as error:
            self._break_off(error)
            return
        self.flush()
        if self.http2.has_more:
            self._end_turn()

    def _end_turn(self) -> None:
        """Let other connections have their turns."""
        if self._goes_on or self._transport is None or self._transport.is_closing():
            return
        self._goes_on = True
        self._transport.pause_reading()
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if not self.writable.is_set():
            return
        self._was_full = False
        self.data_received(b"")
        self._resume_reading()

    def _resume_reading(self) -> None:
        """Read on, unless something must be written or taken first."""
        if self._goes_on or not self.writable.is_set():
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _break_off(self, error: BrokenConnection) -> None:
        """Close the connection of a client that violated the protocol; its calls are cancelled.

        What it still sends is not read, but the socket stays open for a moment: closed with unread data, it would send
        a reset, which can overtake the reason.
        """
        self.http2.break_off(error)
        self.flush()
        transport, self._transport = self._transport, None
        self.http2.close()
        self._stop_timer()
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            transport.write_eof()
            self._timer = self.loop.call_later(GOAWAY_TIME_S, transport.abort)

    def _stop_timer(self) -> None:
        # A timer that is not cancelled keeps its connection in memory.
        if self._timer is not None:
            self._timer.cancel()

    def flush(self) -> None:
        """Write the frames that wait to be sent."""
        sending = self.http2.sending
        if sending.unsent and self._transport is not None:
            unsent, sending.unsent = sending.unsent, []
            self._transport.writelines(unsent)
        if self._ends_when_idle and self.http2.is_idle and self.http2.has_left:
            self._close()

    def flush_soon(self) -> None:
        """Write at once if no other call is open, otherwise together with what else this turn of the loop answers.

        A system call costs about as much as everything else that is done for a tiny request.
        """
        if self.http2.is_idle:
            self.flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self.loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        self.flush()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its answers."""
        self.writable.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable.set()
        if self.http2.has_more:
            self._end_turn()
        else:
            self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._stop_timer()
        self.writable.set()
        self.calls.connections.discard(self)
        self.http2.close()

    def leave(self) -> None:
        """Ask the client to open no more calls, and close when it has its answers."""
        self._ends_when_idle = True
        self.http2.leave()
        self.flush()

    def leave_now(self) -> None:
        """Take no more calls, whether the client has read that or not."""
        self._ends_when_idle = True
        self.http2.leave_now()
        self.flush()

    def _close(self) -> None:
        """Close when everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _open_stream(self, stream: Stream, head: CallHead) -> Receiver:
        if head.http_status:
            return HttpRefusal(self.http2, stream, head)
        if head.problem:
            return self._refused(stream, head.code, head.problem)
        short = self.calls.short(head.path)
        if short is not None and head.encoding == IDENTITY:
            kept_out = self._kept_out(stream, head) if self._is_ruled else None
            return kept_out or self.calls.short_call(self, stream, head, short)
        handler = self.calls.handler(head.path)
        if handler is None:
            return self._refused(stream, Code.UNIMPLEMENTED, f"Method not found: {head.path}")
        return self._kept_out(stream, head) or HandledCall(self, stream, head, handler)

    def _kept_out(self, stream: Stream, head: CallHead) -> Receiver | None:
        """Refuse a call that its path and its caller forbid before its message takes memory; None for all others."""
        error = self.calls.refusal(head.path, head.fields, self.peer) if self._is_ruled else None
        return None if error is None else self._refused(stream, error.code, str(error))

    def _refused(self, stream: Stream, code: Code, text: str) -> Receiver:
        self.refuse(stream, code, text)
        return NOBODY

    def refuse(self, stream: Stream, code: Code, text: str, retry_after_s: float = 0.0) -> None:
        """Answer with a status and nothing else; only such a call may be repeated by a client's retry policy."""
        self.http2.begin(stream, refusal_block(code, bounded_text(text), retry_after_s), is_last=True)

    def answer(self, stream: Stream, body: bytes | bytearray) -> None:
        """Answer with one message."""
        before = prefix(len(body))
        if len(body) <= LARGEST_COPIED_BYTES:
            self.http2.answer(stream, OPENING_BLOCK, before + body, GOOD_END_BLOCK)
            return
        self.http2.begin(stream, OPENING_BLOCK)
        self.http2.send(stream, before)
        self.http2.send(stream, body, GOOD_END_BLOCK)
