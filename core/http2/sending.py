"""The sending side of an HTTP/2 connection: frames as far as the peer's windows allow, the rest when they widen.

`unsent` is written by the owner of the connection after each turn. Streams that wait for the connection's window are
sent round-robin, a frame each. Those that wait for their own window are not among them: an update of it, or new
SETTINGS, resumes them, so that a WINDOW_UPDATE never visits all streams.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from core.http2.budget import Merits
from core.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    BrokenConnection,
    Fault,
    Setting,
    frame,
    head,
)

NO_TABLE: Final = b"\x20"
"""Begins a header block: from now on our blocks use a table of size 0."""
TABLE_BYTES: Final = 4096
"""The initial size of that table."""


class SendingStream:
    """The direction of a stream from us to the peer.

    `credit` is what the stream may send beyond the initial window, less what it has sent.
    """

    __slots__ = ("credit", "end", "id", "is_answered", "waiting")

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.credit = 0
        self.waiting: deque[memoryview] = deque()
        self.end: bytes | None = None
        self.is_answered = False


class Sending:
    """The frames to be sent on one connection, and the windows that bound them.

    `waiting_bytes`: what waits for the peer's windows, of all streams.
    """

    def __init__(self) -> None:
        self.unsent: list[bytes | memoryview] = []
        self.waiting_bytes = 0
        self.merits = Merits()
        self.stream_window = INITIAL_WINDOW
        self.largest_frame = LARGEST_FRAME_BYTES
        self._table_bytes = TABLE_BYTES
        self._owes_table_size = False
        self._window = INITIAL_WINDOW
        self._turns: OrderedDict[int, SendingStream] = OrderedDict()

    def answer(self, stream: SendingStream, opening: bytes, body: bytes, end: bytes) -> bool:
        """Send a whole answer in one piece; False, and nothing is sent, where windows or frames are too small."""
        size = len(body)
        if size > self.largest_frame or size > self._window or size > self.stream_window + stream.credit:
            return False
        self._window -= size
        stream.credit -= size
        stream.is_answered = True
        number = stream.id
        if self._owes_table_size:
            opening = self._with_table_size(opening)
        before = head(len(opening), HEADERS, END_HEADERS, number) + opening + head(size, DATA, 0, number)
        after = head(len(end), HEADERS, END_HEADERS | END_STREAM, number) + end
        self.unsent.append(before + body + after)
        return True

    def headers(self, stream: SendingStream, block: bytes, *, is_last: bool = False) -> None:
        """Send a header block of one frame: the first one of an answer, or all of it."""
        stream.is_answered = is_last
        if self._owes_table_size:
            block = self._with_table_size(block)
        flags = END_HEADERS | END_STREAM if is_last else END_HEADERS
        self.unsent.append(frame(HEADERS, flags, stream.id, block))

    def take_parameters(self, parameters: Iterable[tuple[int, int]]) -> list[int]:
        """Take the peer's limits for frames and our table of headers; return its initial windows, in their order."""
        windows = []
        for key, value in parameters:
            if key == Setting.INITIAL_WINDOW_SIZE:
                windows.append(value)
            elif key == Setting.MAX_FRAME_SIZE:
                self.largest_frame = value
            elif key == Setting.HEADER_TABLE_SIZE:
                self.bound_table(value)
        return windows

    def bound_table(self, size: int) -> None:
        """Take the peer's limit for our table of headers, which we do not use.

        A reduced table must be confirmed by the next header block (RFC 7541, 4.2).
        """
        self._owes_table_size |= size < self._table_bytes

    def _with_table_size(self, block: bytes) -> bytes:
        self._owes_table_size, self._table_bytes = False, 0
        return NO_TABLE + block

    def data(self, stream: SendingStream, data: bytes | bytearray, end: bytes | None = None) -> None:
        """Send data, and behind it the trailers that end the answer; what the windows do not allow yet waits.

        An answer with an empty `end` has no trailers: an empty frame of data ends it.
        """
        if data:
            stream.waiting.append(memoryview(data))
            self.waiting_bytes += len(data)
        stream.end = end
        self.resume(stream)

    def resume(self, stream: SendingStream) -> None:
        """Send what the windows of a stream and of the connection allow now."""
        if stream.id not in self._turns:
            while self._send_some(stream):
                pass

    def _send_some(self, stream: SendingStream) -> bool:
        """Send a frame of what waits, and the end behind the last one; True if there is more to be sent."""
        if stream.waiting and not self._send_frame(stream):
            return False
        if stream.waiting:
            return True
        if stream.end:
            self.headers(stream, stream.end, is_last=True)
        elif stream.end is not None:
            stream.is_answered = True
            self.unsent.append(frame(DATA, END_STREAM, stream.id))
        return False

    def _send_frame(self, stream: SendingStream) -> bool:
        """Send a frame of what waits; False where a window does not allow it."""
        data, room = stream.waiting[0], self.stream_window + stream.credit
        size = min(len(data), self.largest_frame, self._window, room)
        if size <= 0:
            if room > 0:
                self._turns[stream.id] = stream
            return False
        self._window -= size
        stream.credit -= size
        self.waiting_bytes -= size
        self.merits.sent_bytes += size
        self.unsent += (head(size, DATA, 0, stream.id), data[:size])
        if size < len(data):
            stream.waiting[0] = data[size:]
        else:
            stream.waiting.popleft()
        return True

    def require_window(self, stream: SendingStream) -> None:
        """Raise BrokenConnection where a stream's window is larger than windows may be."""
        if self.stream_window + stream.credit > LARGEST_WINDOW:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "a window larger than windows may be")

    def widen(self, increment: int) -> list[SendingStream]:
        """Widen the connection's window; return the streams that have sent all that waited. Raises BrokenConnection."""
        self._window += increment
        if self._window > LARGEST_WINDOW:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "a window larger than windows may be")
        done = []
        while self._turns and self._window > 0:
            _, stream = self._turns.popitem(last=False)
            if self._send_some(stream):
                self._turns[stream.id] = stream
            elif not stream.waiting:
                done.append(stream)
        return done

    def forget(self, stream: SendingStream) -> None:
        """Drop the data of a stream that waits."""
        self._turns.pop(stream.id, None)
        self.waiting_bytes -= sum(map(len, stream.waiting))
        stream.waiting.clear()
        stream.end = None
