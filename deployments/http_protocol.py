"""The REST port's HTTP/1.1: uvicorn's protocol, with the parts that TensorFlow Serving's clients would miss.

Requests see their target whole, with fragment and empty query. What is no HTTP gets the page that TensorFlow Serving's
HTTP library sends, after the answers of earlier requests on the connection. Headers without end are cut off, because
one client must not take the memory of all.
"""

from __future__ import annotations

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.http_answer import REASONS, html_error
from deployments.http_body import LINGER_S

LARGEST_HEAD_BYTES = 1024 * 1024
"""What may come without a header being complete or a piece of a body arriving."""
LONGEST_SPLIT_TARGET_BYTES = 32 * 1024
"""What uvicorn sees of a target; it takes none of 64 KiB, and the application looks at the whole one."""
TARGET = "target"
KEPT = "kept"
"""Tells the application that a client of HTTP/1.0 asked for its connection to stay open."""
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class RestProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _head_bytes = 0
    _in_head = True
    _unanswered = 0
    _refusal: int | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless something before it made no sense."""
        if self._refusal is not None:
            return
        self._head_bytes += len(data)
        super().data_received(_without_upgrade(data) if self._in_head else data)
        if self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Let the application see the target as it was sent."""
        self._end_head()
        if self.url.startswith(b"/"):
            self.scope["state"][TARGET] = self.url
            self.url = self.url[:LONGEST_SPLIT_TARGET_BYTES]
        elif self.parser.get_method() == b"CONNECT":
            # Names a host, which uvicorn takes for no target; the method alone decides the answer.
            self.url = b"/"
        super().on_headers_complete()
        # A target that uvicorn refused by an error gets no answer of the application.
        self._unanswered += 1
        if self.parser.get_http_version() == "1.0" and self.parser.should_keep_alive():
            self.cycle.keep_alive = self.scope["state"][KEPT] = True

    def _end_head(self) -> None:
        self._head_bytes = 0
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next request."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or say now what is wrong with it."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse_if_due(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP."""
        del msg
        self._refuse(400)

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
        # Closing at once would throw away what the client did not read yet.
        self.loop.call_later(LINGER_S, self.transport.close)


def _without_upgrade(data: bytes) -> bytes:
    """Hide the offer of another protocol: the parser would take the body for the first bytes of that protocol."""
    end = data.find(b"\r\n\r\n")
    if data.find(b"pgrade:", 0, end) < 0 and data.find(b"PGRADE:", 0, end) < 0:
        return data
    return UPGRADE.sub(b"\r\nx-upgrade:", data[:end]) + data[end:]
