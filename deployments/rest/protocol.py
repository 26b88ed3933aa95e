"""The REST port's HTTP/1.1: uvicorn's protocol, with the parts that TensorFlow Serving's clients would miss.

The application sees the whole target, with fragment and empty query. Bytes that are not HTTP get the page that
TensorFlow Serving's HTTP library sends, after the answers to earlier requests on the connection. The size of a head is
bounded, because one client must not take the memory of all.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.rest.http_answer import REASONS, html_error
from deployments.rest.body import LINGER_S

LARGEST_HEAD_BYTES = 1024 * 1024
"""The limit of a head, and of the bytes between two pieces of a body."""
LONGEST_SPLIT_TARGET_BYTES = 32 * 1024
"""The part of a target that uvicorn parses: it refuses 64 KiB, and the application reads the whole target itself."""
TARGET = "target"
KEPT = "kept"
"""Key in the state of an ASGI scope: a client of HTTP/1.0 asked for its connection to stay open."""


class RestProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _head_bytes = 0
    _unanswered = 0
    _refusal: int | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless earlier bytes were refused."""
        if self._refusal is not None:
            return
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            rest: bytes | memoryview = data
            while rest:
                rest = self._rest_after_offer(rest)
        except httptools.HttpParserError:
            self._refuse(400)
        if self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(431)

    def _rest_after_offer(self, data: bytes | memoryview) -> bytes | memoryview:
        """Parse to the end, or to the end of a head that offers another protocol; return the bytes after it.

        The parser assumes that protocol for the bytes after it. So such a head is parsed again, without its offer.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            rest = memoryview(data)[offer.args[0] :]
            if self.parser.get_method() == b"CONNECT":
                return b""
            self.parser.feed_data(self._head_without_offer())
            return rest
        return b""

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def is_offer(self) -> bool:
        """Whether the head that was just parsed offers another protocol, and will come again without that."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_headers_complete(self) -> None:
        """Keep the target as it was sent for the application."""
        self._head_bytes = 0
        if self.is_offer():
            return
        if self.url.startswith(b"/"):
            self.scope["state"][TARGET] = self.url
            self.url = self.url[:LONGEST_SPLIT_TARGET_BYTES]
        elif self.parser.get_method() == b"CONNECT":
            # The target is a host, which uvicorn refuses; the method alone decides the answer.
            self.url = b"/"
        super().on_headers_complete()
        # Behind `super`: a target that uvicorn refuses by an error is not answered by the application.
        self._unanswered += 1
        if self.parser.get_http_version() == "1.0" and self.parser.should_keep_alive():
            self.cycle.keep_alive = self.scope["state"][KEPT] = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if not self.is_offer():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or with the refusal that was due after this answer."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse_if_due(self._refusal)

    def _refuse(self, status: int) -> None:
        if self._refusal is None:
            self._refusal = status
            self._refuse_if_due(status)

    def _refuse_if_due(self, status: int) -> None:
        """Send the page when all requests that were whole have their answers."""
        last_is_broken = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        if self._unanswered > last_is_broken or self.transport.is_closing():
            return
        page = html_error(status)
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS[status].encode())]
        headers = (*self.server_state.default_headers, *page.headers, (b"content-length", b"%d" % len(page.body)))
        lines += [b"%b: %b" % header for header in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(page.body)]))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closing at once would discard what the client has not read yet.
        self.loop.call_later(LINGER_S, self.transport.close)
