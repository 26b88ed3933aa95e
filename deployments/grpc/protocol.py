"""One client's connection to a gRPC port without TLS and without options of gRPC's own library.

A call of an inference method goes from here straight to a direct connection, and its answer back in one write. All
others, and those that turn out to need more, are handled as grpc.aio handles them (`deployments.grpc.handled_call`), by
the same functions.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import grpc

from core.errors import Code, ServingError
from core.grpc.model_spec import peek
from core.http2.connection import Http2Connection
from core.http2.frames import BrokenConnection
from core.http2.grpc_heads import (
    GOOD_END_BLOCK,
    HTTP_REFUSAL,
    IDENTITY,
    OPENING_BLOCK,
    CallHead,
    bounded_text,
    http_refusal_block,
    refusal_block,
)
from core.http2.grpc_messages import LARGEST_MESSAGE_BYTES, PREFIX_BYTES, only_message, prefix
from core.http2.streams import NOBODY, Receiver, Stream
from core.routing.transport import Answer, Call
from deployments.grpc.api import ShortMethod
from deployments.grpc.handled_call import HandledCall
from deployments.routing.request_router import RequestRouter
from deployments.routing.short_call import ShortCall

LARGEST_BODY_BYTES = LARGEST_MESSAGE_BYTES + PREFIX_BYTES
LARGEST_COPIED_BYTES = 16 * 1024
PREFACE_TIMEOUT_S = 60.0
"""How long a connection may stay open that has not sent the preface of HTTP/2."""
GOAWAY_TIME_S = 5.0
"""How long a client may take to read the GOAWAY that says why its connection is closed."""


class Calls(Protocol):
    """The part of a port that its connections use."""

    connections: set[GrpcProtocol]

    @property
    def router(self) -> RequestRouter:
        """The router that carries inference calls."""
        ...

    def short(self, path: str) -> ShortMethod | None:
        """Return an inference method; None for other methods, and where calls are bounded, logged or traced."""
        ...

    def handler(self, path: str) -> grpc.RpcMethodHandler | None:
        """Return the handler of a method."""
        ...


class GrpcProtocol(asyncio.Protocol):
    """Reads frames, begins calls, writes answers."""

    def __init__(self, calls: Calls, loop: asyncio.AbstractEventLoop) -> None:
        self.calls = calls
        self.loop = loop
        self.http2 = Http2Connection(self._open_stream)
        self.writable = asyncio.Event()
        self.writable.set()
        self._transport: asyncio.Transport | None = None
        self._ends_when_idle = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.calls.connections.add(self)
        self._timer = self.loop.call_later(PREFACE_TIMEOUT_S, self._abort_without_preface)
        self.flush()

    def _abort_without_preface(self) -> None:
        if not self.http2.is_established:
            self.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self.http2.receive(data)
        except BrokenConnection as error:
            self._break_off(error)
        else:
            self.flush()

    def _break_off(self, error: BrokenConnection) -> None:
        """Close the connection of a client that violated the protocol; its calls are cancelled."""
        self.http2.break_off(error)
        self.flush()
        self.close()
        self.http2.close()
        self._stop_timer()
        self._timer = self.loop.call_later(GOAWAY_TIME_S, self.abort)

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
            self.close()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its answers."""
        self.writable.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

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

    def close(self) -> None:
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
            return UnaryCall(self, stream, head, short)
        handler = self.calls.handler(head.path)
        if handler is None:
            return self._refused(stream, Code.UNIMPLEMENTED, f"Method not found: {head.path}")
        return HandledCall(self, stream, head, handler)

    def _refused(self, stream: Stream, code: Code, text: str) -> Receiver:
        self.refuse(stream, code, text)
        return NOBODY

    def refuse(self, stream: Stream, code: Code, text: str) -> None:
        """Answer with a status and nothing else; only such a call may be repeated by a client's retry policy."""
        self.http2.begin(stream, refusal_block(code, bounded_text(text)), is_last=True)

    def answer(self, stream: Stream, body: bytes | bytearray) -> None:
        """Answer with one message."""
        before = prefix(len(body))
        if len(body) <= LARGEST_COPIED_BYTES:
            self.http2.answer(stream, OPENING_BLOCK, before + body, GOOD_END_BLOCK)
            return
        self.http2.begin(stream, OPENING_BLOCK)
        self.http2.send(stream, before)
        self.http2.send(stream, body, GOOD_END_BLOCK)


class HttpRefusal:
    """The answer to a request that is not gRPC; implements `core.http2.streams.Receiver`.

    It is sent when the request has ended, so that all of the request is judged, unless the client may wait for it.
    """

    __slots__ = ("_head", "_http2", "_stream")

    def __init__(self, http2: Http2Connection, stream: Stream, head: CallHead) -> None:
        self._http2 = http2
        self._stream = stream
        self._head = head
        if head.awaits_answer and not stream.is_ended:
            self._answer()

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Drop the body."""
        del payload
        if is_last:
            self._answer()

    def _answer(self) -> None:
        self._http2.begin(self._stream, http_refusal_block(self._head.http_status), is_last=self._head.is_bodiless)
        self._http2.send(self._stream, HTTP_REFUSAL, b"")

    def cancelled(self) -> None:
        """Nothing has begun."""

    def sent(self) -> None:
        """Nothing follows the answer."""


class UnaryCall(ShortCall):
    """One call of an inference method; implements `core.http2.streams.Receiver`."""

    __slots__ = ("_bytes", "_head", "_method", "_opened_s", "_parts", "_protocol", "_stream")
    entry_point = "GRPC"

    def __init__(self, protocol: GrpcProtocol, stream: Stream, head: CallHead, short: ShortMethod) -> None:
        super().__init__(protocol.calls.router, short.api, protocol.loop)
        self._protocol = protocol
        self._stream = stream
        self._head = head
        self._method = short.method
        self._opened_s = time.perf_counter()
        self._parts: list[bytes] = []
        self._bytes = 0

    def data(self, payload: bytes, *, is_last: bool) -> None:
        if payload:
            self._parts.append(payload)
            self._bytes += len(payload)
        if self._bytes > LARGEST_BODY_BYTES:
            self._parts.clear()
            self._refuse(Code.RESOURCE_EXHAUSTED, f"Messages may have {LARGEST_MESSAGE_BYTES} bytes.")
        elif is_last:
            self._take_whole()

    def _take_whole(self) -> None:
        parts, self._parts = self._parts, []
        try:
            is_compressed, body = only_message(parts)
        except ServingError as error:
            self._refuse(error.code, str(error))
            return
        if is_compressed:
            self._refuse(Code.INTERNAL, "A message is compressed, and the header grpc-encoding does not say so.")
        elif not self._begin(body):
            self._take_the_long_way(body)

    def _begin(self, body: bytes) -> bool:
        """Send the call; False if that is not possible now, or an error must be reported."""
        began_s, timeout_s = time.perf_counter(), self._head.timeout_s
        if timeout_s is not None:
            timeout_s -= began_s - self._opened_s
            if timeout_s <= 0:
                return False
        try:
            spec = peek(body)
        except ServingError:
            return False
        return self.send(spec, Call(self._method, body, timeout_s), began_s)

    def _take_the_long_way(self, body: bytes) -> None:
        handler = self._protocol.calls.handler(self._head.path)
        assert handler is not None  # noqa: S101 - a method with a short way has a handler too
        handled = HandledCall(self._protocol, self._stream, self._head, handler, self._opened_s)
        self._stream.receiver = handled
        handled.message(body)

    def _refuse(self, code: Code, text: str) -> None:
        self._protocol.refuse(self._stream, code, text)

    def cancelled(self) -> None:
        self.withdraw()

    def sent(self) -> None:
        """Nothing follows the answer."""

    def ended(self, answer: Answer) -> None:
        if answer.code is Code.OK:
            self._protocol.answer(self._stream, answer.body)
        else:
            self._refuse(answer.code, answer.text)
        self._protocol.flush()

    def gave_up(self) -> None:
        """The stream is gone already."""
