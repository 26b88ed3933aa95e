"""What one side of an HTTP/2 connection sends: frames as far as the peer's windows allow, the rest when they widen.

`unsent` belongs to the connection's owner, who writes it after each turn. Streams whose data waits for a window take
turns, a frame each.
"""

from __future__ import annotations

from collections import deque

from core.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    BrokenConnection,
    Fault,
    head,
)


class SendingStream:
    """The direction of a stream from us to the peer."""

    __slots__ = ("end", "id", "is_answered", "send_window", "waiting")

    def __init__(self, stream_id: int, send_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window
        self.waiting: deque[memoryview] = deque()
        self.end: bytes | None = None
        self.is_answered = False


class Sending:
    """The frames to be sent on one connection, and the windows that bound them."""

    def __init__(self) -> None:
        self.unsent: list[bytes | memoryview] = []
        self.stream_window = INITIAL_WINDOW
        self.largest_frame = LARGEST_FRAME_BYTES
        self._window = INITIAL_WINDOW
        self._blocked: dict[int, SendingStream] = {}

    def answer(self, stream: SendingStream, opening: bytes, body: bytes, end: bytes) -> bool:
        """Send a whole answer in one piece; False, and nothing is sent, where windows or frames are too small."""
        size = len(body)
        if size > self.largest_frame or size > self._window or size > stream.send_window or stream.waiting:
            return False
        self._window -= size
        stream.send_window -= size
        stream.is_answered = True
        number = stream.id
        before = head(len(opening), HEADERS, END_HEADERS, number) + opening + head(size, DATA, 0, number)
        after = head(len(end), HEADERS, END_HEADERS | END_STREAM, number) + end
        self.unsent.append(before + body + after)
        return True

    def headers(self, stream: SendingStream, block: bytes, *, is_last: bool = False) -> None:
        """Send a header block of one frame: the first one of an answer, or all of it."""
        stream.is_answered = is_last
        flags = END_HEADERS | END_STREAM if is_last else END_HEADERS
        self.unsent.append(head(len(block), HEADERS, flags, stream.id) + block)

    def data(self, stream: SendingStream, data: bytes | bytearray, end: bytes | None = None) -> None:
        """Send data, and behind it the trailers that end the answer; what the windows do not allow yet waits."""
        if data:
            stream.waiting.append(memoryview(data))
        stream.end = end
        self._send_some(stream)
        while stream.id not in self._blocked and stream.waiting:
            self._send_some(stream)

    def _send_some(self, stream: SendingStream) -> None:
        """Send one frame of what waits, or note that the windows do not allow it."""
        if stream.waiting:
            data = stream.waiting[0]
            size = min(len(data), self.largest_frame, self._window, stream.send_window)
            if size <= 0:
                self._blocked[stream.id] = stream
                return
            self._window -= size
            stream.send_window -= size
            self.unsent += (head(size, DATA, 0, stream.id), data[:size])
            stream.waiting.popleft()
            if size < len(data):
                stream.waiting.appendleft(data[size:])
        if not stream.waiting:
            self._blocked.pop(stream.id, None)
            if stream.end is not None:
                self.headers(stream, stream.end, is_last=True)

    def widen(self, increment: int) -> None:
        """Let the connection send more; raises BrokenConnection."""
        self._window += increment
        if self._window > LARGEST_WINDOW:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "a window larger than windows may be")

    def go_on(self) -> list[SendingStream]:
        """Send what the windows allow now; gives the streams that are answered by that."""
        answered = []
        before = -1
        while self._blocked and self._window > 0 and before != self._window:
            before = self._window
            for stream in tuple(self._blocked.values()):
                self._send_some(stream)
                if stream.is_answered:
                    answered.append(stream)
        return answered

    def forget(self, stream: SendingStream) -> None:
        """Drop what waits."""
        self._blocked.pop(stream.id, None)
        stream.waiting.clear()
        stream.end = None
