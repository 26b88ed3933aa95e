"""A call of an inference method on the short way: from its last frame to a direct connection, without a task."""

from __future__ import annotations

import time
from typing import Protocol

import grpc

from core.errors import Code, ServingError
from core.http2.grpc_heads import CallHead
from core.http2.grpc_messages import LARGEST_MESSAGE_BYTES, PREFIX_BYTES, only_message
from core.http2.streams import Stream
from core.routing.transport import Answer, Call
from deployments.grpc.api import ShortMethod
from deployments.grpc.handled_call import Connection, HandledCall
from deployments.routing.request_router import RequestRouter
from deployments.routing.short_call import ShortCall

LARGEST_BODY_BYTES = LARGEST_MESSAGE_BYTES + PREFIX_BYTES
SMALL_PART_BYTES = 1024
"""Smaller parts of a body are put together, because an object of its own takes 33 bytes more than its content."""


class Handlers(Protocol):
    """The part of a port that its calls use."""

    @property
    def router(self) -> RequestRouter:
        """The router that carries inference calls."""
        ...

    def handler(self, path: str) -> grpc.RpcMethodHandler | None:
        """Return the handler of a method."""
        ...


class InferenceConnection(Connection, Protocol):
    """The part of a connection that inference calls use."""

    @property
    def calls(self) -> Handlers:
        """The port."""
        ...


class UnaryCall(ShortCall):
    """One call of an inference method; implements `core.http2.streams.Receiver`."""

    __slots__ = ("_bytes", "_head", "_opened_s", "_parts", "_protocol", "_short", "_stream")
    entry_point = "GRPC"
    is_incomplete = True

    def __init__(self, protocol: InferenceConnection, stream: Stream, head: CallHead, short: ShortMethod) -> None:
        super().__init__(protocol.calls.router, short.api, protocol.loop)
        self._protocol = protocol
        self._stream = stream
        self._head = head
        self._short = short
        self._opened_s = time.perf_counter()
        self._parts: list[bytes | bytearray] = []
        self._bytes = 0

    def data(self, payload: bytes, *, is_last: bool) -> None:
        if payload:
            self._bytes += len(payload)
            if len(payload) < SMALL_PART_BYTES and self._parts:
                self._add_small(payload)
            else:
                self._parts.append(payload)
        if self._bytes > LARGEST_BODY_BYTES:
            self._parts.clear()
            self._refuse(Code.RESOURCE_EXHAUSTED, f"Messages may have {LARGEST_MESSAGE_BYTES} bytes.")
        elif is_last:
            self._take_whole()

    def _add_small(self, payload: bytes) -> None:
        # The first part, which has the length of the message, stays as it is.
        last = self._parts[-1]
        if isinstance(last, bytearray):
            last += payload
        else:
            self._parts.append(bytearray(payload))

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
            asked = self._short.asked(body)
        except ServingError:
            return False
        return self.send(asked, Call(self._short.method, body, timeout_s), began_s)

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
