"""The REST port's HTTP/1.1: uvicorn's protocol, with the parts that TensorFlow Serving's clients would miss.

The application sees the whole target, with fragment and empty query. Bytes that are not HTTP get the page that
TensorFlow Serving's HTTP library sends, after the answers to earlier requests on the connection.

One client must not take memory or time from all: a request is parsed when the one before it has its answer, and when
the client has taken what was written; what it sends ahead of that is kept as it came, and reading stops (back-pressure)
above a bound. Limits of time are checked by a look at the connection now and then, which costs a request nothing.
"""

from __future__ import annotations

import asyncio

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.rest.connection_limits import ConnectionLimits, ConnectionProgress, Glance, Phase
from core.rest.http_answer import KNOWN_METHODS, REASONS, HttpAnswer, html_error
from core.rest.request_head import head_refusal, syntax_refusal, with_path
from core.rest.unparsed import MixedLineEndsError, Place, UnparsedBytes, is_one_request
from deployments.rest.body import LINGER_S
from deployments.rest.reading_gate import ReadingGate
from deployments.system.tcp_peer import unacknowledged_bytes

LONGEST_SPLIT_TARGET_BYTES = 32 * 1024
"""The part of a target that uvicorn parses: it refuses 64 KiB, and the application reads the whole target itself."""
DROP_S = 0.01
"""How long a connection rests after each read that is dropped, because an earlier one was refused."""
TARGET = "target"
KEPT = "kept"
"""Key in the state of an ASGI scope: a client of HTTP/1.0 asked for its connection to stay open."""
KNOWN_NAMES = frozenset(method.encode() for method in KNOWN_METHODS)


class _RefusedHeadError(Exception):
    """Stops the parser behind a head that is refused."""


class RestProtocol(HttpToolsProtocol):
    """One connection of a client."""

    flow: ReadingGate
    limits = ConnectionLimits()
    _fed = 0
    _answers = 0
    _unanswered = 0
    _refusal: int | None = None
    _refused_head = 400
    _is_refused = False
    _in_body = False
    body_left = 0
    """Bytes of the body that were announced and have not come; negative for a body in chunks."""
    most_kept_bytes = HIGH_WATER_LIMIT
    """Reading stops above this until the application has taken what came."""
    _framed_at = 0
    """How much had come with the last piece of a body, or end of a head: what came since is a head, or framing."""
    _pieces = 0
    _tiny_pieces = 0
    _piece = limits.least_piece
    _is_parsing = False
    _later: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to watch the progress of the connection."""
        super().connection_made(transport)
        self.flow = ReadingGate(transport)
        # Versions are judged with the rest of a head: a higher minor one counts as 1.1.
        self.parser.set_dangerous_leniencies(lenient_version=True)
        self._unparsed = UnparsedBytes()
        self._progress = ConnectionProgress(Glance(Phase.IDLE), self.loop.time())
        self._timer = self.loop.call_later(self.limits.look_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was not parsed, and stop to watch."""
        self._timer.cancel()
        if self._later is not None:
            self._later.cancel()
        self._unparsed.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived as far as it is its turn, unless earlier bytes were refused."""
        if self._refusal is not None:
            self._drop_slowly()
            return
        if self._is_usual(data):
            self._feed(data)
            return
        self._unparsed.add(data)
        self._go_on()

    def _drop_slowly(self) -> None:
        """Leave time to others while a client sends on that has not seen its refusal."""
        self.flow.rest(DROP_S, self.loop)

    def _is_usual(self, data: bytes) -> bool:
        """Whether bytes can go to the parser as a whole: a part of a body, or one request."""
        if self._unparsed.size:
            return False
        if self._in_body:
            return len(data) <= self.body_left
        if self._unanswered or self.headers is not None or self.flow.write_paused:
            return False
        return is_one_request(data, self.limits.least_piece)

    def _go_on(self) -> None:
        """Parse until nothing is left, a request waits for its answer, or this turn of the event loop is used up."""
        self._later = None
        if self._is_parsing or self.parser is None:
            return
        self._is_parsing = True
        self._pieces = self._tiny_pieces = 0
        while self._may_parse():
            if self._pieces >= self.limits.turn_pieces:
                self._later = self._next_turn()
                break
            self._feed_next()
        self._is_parsing = False
        if self._unparsed.size > self.limits.held:
            self.flow.shut()
        elif self.flow.is_shut:
            self.flow.open()

    def _next_turn(self) -> asyncio.Handle:
        """Go on soon; after a rest where tiny chunks were all of the work, because they would keep a CPU busy."""
        if 2 * self._tiny_pieces < self.limits.turn_pieces:
            return self.loop.call_soon(self._go_on)
        return self.loop.call_later(self.limits.rest_s, self._go_on)

    def _may_parse(self) -> bool:
        if not self._unparsed.size or self._refusal is not None or self.transport.is_closing():
            return False
        return self._in_body or not (self._unanswered or self.flow.write_paused)

    def _feed_next(self) -> None:
        size = self._unparsed.size
        try:
            piece = self._unparsed.next_piece(*self._place())
        except MixedLineEndsError:
            self._refuse(400)
            return
        if not piece:
            # Empty lines: dropped, and counted as a part of the head before which they stand.
            self._fed += size - self._unparsed.size
        done = self._work_done()
        self._feed(piece)
        is_between = self._in_body or self.headers is None
        if is_between:
            self._unparsed.head_ended()
        if not (is_between and piece):
            self._pieces += self.limits.turn_pieces // self.limits.turn_heads
        if self.headers is not None and len(self.headers) > self.limits.head_fields:
            self._refuse(431)
        self._piece = self.limits.next_piece(self._piece, self._work_done() - done)

    def _work_done(self) -> int:
        return self._pieces + (0 if self.headers is None else len(self.headers))

    def _place(self) -> tuple[Place, int]:
        """Return where the parser stands, and how many bytes it may have at most."""
        if self._in_body:
            return Place.BODY, self.body_left if self.body_left > 0 else self._piece
        return Place.START if self.headers is None else Place.HEAD, self._piece

    def _feed(self, data: bytes | memoryview) -> None:
        self._fed += len(data)
        begins_request = self.headers is None
        try:
            rest = data
            while rest:
                rest = self._rest_after_offer(rest)
        except httptools.HttpParserCallbackError:
            self._refuse(self._refused_head)
        except httptools.HttpParserError:
            self._refuse(syntax_refusal(bytes(data), KNOWN_NAMES) if begins_request else 400)
        if self._fed - self._framed_at > self.limits.head:
            self._refuse(414 if len(self.url) > self.limits.head // 2 else 431)

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
        """Check the head, and keep the target as it was sent for the application."""
        self._framed_at = self._fed
        if self.is_offer():
            return
        self._check_head()
        if self.url.startswith(b"/"):
            self.scope["state"][TARGET] = self.url
            self.url = self.url[:LONGEST_SPLIT_TARGET_BYTES]
        elif self.parser.get_method() == b"CONNECT":
            # The target is a host, which uvicorn refuses; the method alone decides the answer.
            self.url = b"/"
        super().on_headers_complete()
        # Behind `super`: a target that uvicorn refuses by an error is not answered by the application.
        self._unanswered += 1
        self._in_body = True
        # Fields of a trailer are dropped: those of the head decide (RFC 9110 6.5.1).
        self.headers = []
        if self.parser.get_http_version() == "1.0":
            self._serve_http_1_0()

    def _check_head(self) -> None:
        headers: list[tuple[bytes, bytes]] = self.scope["headers"]  # type: ignore[assignment]  # uvicorn's is a list
        refusal = head_refusal(self.url, self.parser.get_method(), self.parser.get_http_version(), headers)
        if refusal is not None:
            self._refused_head = refusal
            raise _RefusedHeadError
        self.url = with_path(self.url)
        lengths = [int(value) for name, value in headers if name == b"content-length"]
        self.body_left = lengths[0] if lengths else -1

    def _serve_http_1_0(self) -> None:
        """Do as clients of HTTP/1.0 expect, which know no interim answers (RFC 9110 10.1.1)."""
        self.cycle.waiting_for_100_continue = False
        if self.parser.should_keep_alive():
            self.cycle.keep_alive = self.scope["state"][KEPT] = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; wakes the application with the first of those that it has not taken."""
        self._framed_at = self._fed
        self.body_left -= len(body)
        self._pieces += 1
        if len(body) <= self.limits.tiny_piece:
            self._tiny_pieces += 1
        cycle = self.cycle
        if cycle.response_complete:
            return
        kept = cycle.body
        kept += body
        if len(kept) == len(body):
            cycle.message_event.set()
        elif len(kept) > self.most_kept_bytes:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if not self.is_offer():
            self._in_body = False
            self._framed_at = self._fed
            super().on_message_complete()
            self.headers = None  # type: ignore[assignment]  # as before the first request

    def on_response_complete(self) -> None:
        """Go on with the next request, or with the refusal that was due after this answer."""
        self._unanswered -= 1
        self._answers += 1
        self.server_state.total_requests += 1
        if self.pipeline or self._unparsed.size or self.flow.read_paused or self._refusal is not None:
            self._follow()

    def _follow(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._unparsed.size:
            self._go_on()
        if self._refusal is not None:
            self._refuse_if_due(self._refusal)

    def resume_writing(self) -> None:
        """Go on with what was not parsed because the client took no answers."""
        super().resume_writing()
        if self._unparsed.size:
            self._go_on()

    def _refuse(self, status: int) -> None:
        if self._refusal is None:
            self._refusal = status
            self._unparsed.clear()
            self._refuse_if_due(status)

    def _refuse_if_due(self, status: int) -> None:
        """Send the page, once, when all requests that were whole have their answers."""
        last_is_broken = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        if self._is_refused or self._unanswered > last_is_broken or self.transport.is_closing():
            return
        self._is_refused = True
        page = self.refusal_page(status)
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS[status].encode())]
        headers = (*self.server_state.default_headers, *page.headers, (b"content-length", b"%d" % len(page.body)))
        lines += [b"%b: %b" % header for header in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(page.body)]))
        self.flow.open()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closing at once would discard what the client has not read yet.
        self.loop.call_later(LINGER_S, self.transport.close)

    def refusal_page(self, status: int) -> HttpAnswer:
        """Return the page of a refusal."""
        return html_error(status)

    def _look(self) -> None:
        """End the connection if it has made no progress for too long."""
        now_s, limits = self.loop.time(), self.limits
        self._timer = self.loop.call_later(limits.look_s, self._look)
        self._progress = self._progress.seen(self._glance(), now_s, limits)
        if self._progress.is_overdue(now_s, limits):
            self._end(self._progress.glance.phase)

    def _end(self, phase: Phase) -> None:
        if phase is Phase.UNREAD or self._refusal is not None:
            self.transport.abort()
        elif phase is Phase.IDLE or (self._in_body and self.cycle.response_complete):
            self.transport.close()
        else:
            self._refuse(408)

    def _glance(self) -> Glance:
        unread = self.transport.get_write_buffer_size()
        if unread:
            # The kernel takes more only when much of what it has was taken: its queue shows that little was.
            unread += unacknowledged_bytes(self.transport.get_extra_info("socket"))
        return Glance(self._phase(unread), self._answers, self._fed, unread)

    def _phase(self, unread: int) -> Phase:
        if unread:
            return Phase.UNREAD
        if self._in_body:
            return Phase.ANSWER if self.pipeline or self.flow.read_paused else Phase.BODY
        if self._unanswered:
            return Phase.ANSWER
        return Phase.IDLE if self.headers is None and not self._unparsed.size else Phase.HEAD
