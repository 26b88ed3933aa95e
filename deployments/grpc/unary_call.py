"""A call of an inference method on the short way: from its last frame to a direct connection, without a task."""

from __future__ import annotations

import time
from typing import Protocol

import grpc

from core.access.rights import INFER
from core.errors import Code, ServingError
from core.http2.grpc_heads import CallHead
from core.http2.grpc_messages import LARGEST_MESSAGE_BYTES, PREFIX_BYTES, announced_bytes, only_message
from core.http2.streams import Stream
from core.routing.incoming_body import LARGE_BODY_BYTES, IncomingBody
from core.routing.transport import Answer, Call
from deployments.access.guard import Guard
from deployments.grpc.handled_call import Connection, HandledCall
from deployments.grpc.services import ShortMethod
from deployments.routing.request_router import RequestRouter
from deployments.routing.short_call import Asked, ShortCall

LARGEST_BODY_BYTES = LARGEST_MESSAGE_BYTES + PREFIX_BYTES


class Handlers(Protocol):
    """The part of a port that its calls use."""

    @property
    def router(self) -> RequestRouter:
        """The router that carries inference calls."""
        ...

    @property
    def guard(self) -> Guard:
        """Who decides about callers."""
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

    def flush_soon(self) -> None:
        """Write the frames that wait to be sent, together with those of other calls that are answered now."""


class UnaryCall(ShortCall):
    """One call of an inference method; implements `core.http2.streams.Receiver`."""

    __slots__ = ("_body", "_head", "_opened_s", "_protocol", "_short", "_stream")
    entry_point = "GRPC"
    is_incomplete = True

    def __init__(self, protocol: InferenceConnection, stream: Stream, head: CallHead, short: ShortMethod) -> None:
        super().__init__(protocol.calls.router, short.api, protocol.loop)
        self._protocol = protocol
        self._stream = stream
        self._head = head
        self.fields = head.fields
        self._short = short
        self._opened_s = time.perf_counter()
        self._body: IncomingBody | None = None

    def data(self, payload: bytes, *, is_last: bool) -> None:
        if self._body is None:
            if is_last:
                self._take_whole(payload)
                return
            self._body = IncomingBody(announced_bytes(payload))
        self._body += payload
        if len(self._body) > LARGEST_BODY_BYTES:
            self._body = None
            self._refuse(Code.RESOURCE_EXHAUSTED, f"Messages may have {LARGEST_MESSAGE_BYTES} bytes.")
        elif is_last:
            self._take_whole(self._body.whole())

    def _take_whole(self, content: bytes | bytearray) -> None:
        self._body = None
        try:
            is_compressed, body = only_message(content)
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
        short, at = self._short, 0
        if short.tensor_at is not None and len(body) >= LARGE_BODY_BYTES:
            at = short.tensor_at(body)
        return self.send(asked, Call(short.method, body, timeout_s, tensor_at=at), began_s)

    def _take_the_long_way(self, body: bytes) -> None:
        handler = self._protocol.calls.handler(self._head.path)
        assert handler is not None  # noqa: S101 - a method with a short way has a handler too
        handled = HandledCall(self._protocol, self._stream, self._head, handler, self._opened_s)
        self._stream.receiver = handled
        handled.message(body)

    def _refuse(self, code: Code, text: str, retry_after_s: float = 0.0) -> None:
        self._protocol.refuse(self._stream, code, text, retry_after_s)

    def cancelled(self) -> None:
        self.withdraw()

    def sent(self) -> None:
        """Nothing follows the answer."""

    def ended(self, answer: Answer) -> None:
        if answer.code is Code.OK:
            self._protocol.answer(self._stream, answer.body)
        else:
            self._refuse(answer.code, answer.text, answer.retry_after_s)
        self._protocol.flush_soon()

    def gave_up(self) -> None:
        """The stream is gone already."""


class GuardedCall(UnaryCall):
    """A call of a port with an access file; one that is not let in at once takes the long way, which says why."""

    __slots__ = ()

    def send(self, asked: Asked, call: Call, began_s: float) -> bool:
        """Send the call; False if that is not possible now, or its caller is not let in at once."""
        visitor = self._protocol.calls.guard.quick_visitor(self._head.fields, self._protocol.peer)
        if visitor is None:
            return False
        try:
            visitor.require(INFER.of(asked.name))
        except ServingError:
            return False
        return super().send(asked, call, began_s)
