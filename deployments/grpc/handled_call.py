"""Calls that need a task: any method that has a handler for grpc.aio, unary or streaming.

The handlers are those of the port that grpc.aio serves itself; `CallContext` stands for its context.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NoReturn, Protocol

import grpc

from core.errors import Code, ServingError
from core.http2.connection import Http2Connection
from core.http2.grpc_heads import GOOD_END_BLOCK, OPENING_BLOCK, RETRY_PUSHBACK, CallHead, bounded_text, end_block
from core.http2.grpc_messages import MessageReader, prefix, unpacked
from core.http2.streams import Stream
from deployments.access.peer import Peer

log = logging.getLogger(__name__)

MOST_UNREAD_MESSAGES = 1000
UNPACKED_ON_LOOP_BYTES = 16 * 1024
"""A larger compressed message is unpacked in a thread."""


class Connection(Protocol):
    """The part of a connection that its calls use."""

    http2: Http2Connection
    writable: asyncio.Event
    loop: asyncio.AbstractEventLoop
    peer: Peer

    def flush(self) -> None:
        """Write the frames that wait to be sent."""

    def refuse(self, stream: Stream, code: Code, text: str, retry_after_s: float = 0.0) -> None:
        """Answer with a status and nothing else; `retry_after_s` says when to try again, 0 says nothing of it."""

    def answer(self, stream: Stream, body: bytes | bytearray) -> None:
        """Answer with one message."""


class CallAborted(Exception):
    """A handler ended its call with a status."""

    def __init__(self, code: Code, details: str, retry_after_s: float = 0.0) -> None:
        super().__init__(code, details, retry_after_s)
        self.code = code
        self.details = details
        self.retry_after_s = retry_after_s


class HandledCall:
    """One call with a task of its own; implements `core.http2.streams.Receiver`."""

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        head: CallHead,
        handler: grpc.RpcMethodHandler,
        opened_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._handler = handler
        self._head = head
        self._ends_at_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader = MessageReader()
        self._inbox: asyncio.Queue[tuple[bool, bytes] | None] = asyncio.Queue()
        self._has_sent = asyncio.Event()
        self._has_begun_answer = False
        self._is_over = False
        if head.timeout_s is not None:
            self._ends_at_s = (time.perf_counter() if opened_s is None else opened_s) + head.timeout_s
        self._task = connection.loop.create_task(self._run())
        # After the task, so that a handler counts also a call that arrives with no time left.
        if self._ends_at_s is not None:
            left_s = max(0.0, self._ends_at_s - time.perf_counter())
            self._timer = connection.loop.call_later(left_s, self._expire)

    @property
    def head(self) -> CallHead:
        """The caller's headers."""
        return self._head

    @property
    def peer(self) -> Peer:
        """The other end of the connection."""
        return self._connection.peer

    @property
    def is_incomplete(self) -> bool:
        return not (self._handler.request_streaming and self._reader.is_between_messages)

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None if it has none."""
        return None if self._ends_at_s is None else max(0.0, self._ends_at_s - time.perf_counter())

    def data(self, payload: bytes, *, is_last: bool) -> None:
        try:
            for message in self._reader.take(payload):
                self._inbox.put_nowait(message)
        except ServingError as error:
            self._finish(error.code, str(error))
            return
        if is_last and not self._reader.is_between_messages:
            self._finish(Code.INTERNAL, "The call ended before its message.")
        elif is_last:
            self._inbox.put_nowait(None)
        elif self._inbox.qsize() > MOST_UNREAD_MESSAGES:
            self._finish(Code.RESOURCE_EXHAUSTED, f"{MOST_UNREAD_MESSAGES} messages are waiting to be read.")

    def message(self, body: bytes) -> None:
        """Take the only message of a call, which has been read already."""
        self._inbox.put_nowait((False, body))
        self._inbox.put_nowait(None)

    def cancelled(self) -> None:
        self._end()

    def sent(self) -> None:
        self._has_sent.set()

    def _expire(self) -> None:
        self._finish(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _end(self) -> bool:
        """End timer and task; False if the call was over already."""
        was_over, self._is_over = self._is_over, True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not asyncio.current_task(self._connection.loop):
            self._task.cancel()
        return not was_over

    async def _run(self) -> None:
        try:
            await self._handle()
        except CallAborted as error:
            self._finish(error.code, error.details, error.retry_after_s)
        except ServingError as error:
            self._finish(error.code, str(error), error.retry_after_s)
        except asyncio.CancelledError:
            # Either the call is over, or something that the handler awaited was cancelled.
            self._finish(Code.CANCELLED, "The call was cancelled.")
            raise
        except Exception as error:
            log.exception("call_failed method=%s", self._head.path)
            self._finish(Code.UNKNOWN, f"Unexpected {type(error).__name__}: {error}")

    async def _handle(self) -> None:
        handler, context = self._handler, CallContext(self)
        given = self._requests() if handler.request_streaming else await self._only_request()
        if not handler.response_streaming:
            work = handler.stream_unary if handler.request_streaming else handler.unary_unary
            self._answer(_serialized(handler, await work(given, context)))
            return
        work = handler.stream_stream if handler.request_streaming else handler.unary_stream
        answers = work(given, context)
        if isinstance(answers, AsyncIterator):
            async for one in answers:
                await self.write(one)
        else:
            await answers
        self._finish(Code.OK, "")

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self._inbox.get()) is not None:
            yield _deserialized(self._handler, await self._plain(message))

    async def _only_request(self) -> Any:
        message = await self._inbox.get()
        if message is None:
            raise CallAborted(Code.INTERNAL, "The call has no message.")
        if await self._inbox.get() is not None:
            raise CallAborted(Code.INTERNAL, "The call has more than one message.")
        return _deserialized(self._handler, await self._plain(message))

    async def _plain(self, message: tuple[bool, bytes]) -> bytes:
        is_compressed, body = message
        if not is_compressed:
            return body
        if len(body) <= UNPACKED_ON_LOOP_BYTES:
            return unpacked(body, self._head.encoding)
        return await asyncio.to_thread(unpacked, body, self._head.encoding)

    def _answer(self, body: bytes) -> None:
        if self._end():
            self._connection.answer(self._stream, body)
            self._connection.flush()

    async def write(self, message: Any) -> None:
        """Send one of several messages; waits until the client reads, and its windows have let the message go."""
        connection = self._connection
        await connection.writable.wait()
        if self._is_over:
            return
        self._begin_answer()
        body = _serialized(self._handler, message)
        connection.http2.send(self._stream, prefix(len(body)) + body)
        connection.flush()
        while self._stream.waiting:
            self._has_sent.clear()
            await self._has_sent.wait()

    def _begin_answer(self) -> None:
        if not self._has_begun_answer:
            self._has_begun_answer = True
            self._connection.http2.begin(self._stream, OPENING_BLOCK)

    def _finish(self, code: Code, text: str, retry_after_s: float = 0.0) -> None:
        """End the call with a status."""
        if not self._end():
            return
        http2, stream = self._connection.http2, self._stream
        if code is not Code.OK and not self._has_begun_answer:
            self._connection.refuse(stream, code, text, retry_after_s)
        else:
            self._begin_answer()
            http2.send(stream, b"", GOOD_END_BLOCK if code is Code.OK else end_block(code, bounded_text(text)))
        self._connection.flush()


class CallContext:
    """The part of grpc.aio's context that handlers use."""

    def __init__(self, call: HandledCall) -> None:
        self._call = call

    @property
    def known_peer(self) -> Peer:
        """The other end of the connection; grpc.aio's context has texts about it instead."""
        return self._call.peer

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None if it has none."""
        return self._call.time_remaining()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the caller's metadata."""
        return self._call.head.metadata

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str]] = ()
    ) -> NoReturn:
        """End the call with a status; of the trailers, only when to try again is sent."""
        retry_after_s = int(dict(trailing_metadata).get(RETRY_PUSHBACK, "0")) / 1000
        raise CallAborted(Code(code.value[0]), details, retry_after_s)

    async def write(self, message: Any) -> None:
        """Send one of several messages."""
        await self._call.write(message)


def _serialized(handler: grpc.RpcMethodHandler, message: Any) -> bytes:
    serializer: Callable[[Any], bytes] | None = handler.response_serializer
    body: bytes = message if serializer is None else serializer(message)
    return body


def _deserialized(handler: grpc.RpcMethodHandler, body: bytes) -> Any:
    """Read a request; raises CallAborted."""
    if handler.request_deserializer is None:
        return body
    try:
        return handler.request_deserializer(body)
    except Exception as error:
        raise CallAborted(Code.INTERNAL, f"The request cannot be read: {error}") from error
