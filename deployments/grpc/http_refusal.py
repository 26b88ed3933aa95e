"""The answer to a request over HTTP/2 that is not gRPC."""

from __future__ import annotations

from core.http2.connection import Http2Connection
from core.http2.grpc_heads import HTTP_REFUSAL, CallHead, http_refusal_block
from core.http2.streams import Stream


class HttpRefusal:
    """The answer to a request that is not gRPC; implements `core.http2.streams.Receiver`.

    It is sent when the request has ended, so that all of the request is judged, unless the client may wait for it.
    """

    is_incomplete = True
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
