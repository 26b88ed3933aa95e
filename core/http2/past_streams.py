"""Streams that are over: which frames may still come for them, and which are an error of the peer (RFC 9113, 5.1).

A peer may go on with a stream that this side has reset, or answered before its end, until it has read so. Those streams
are remembered until the peer has ended them, too. All others were ended by the peer itself, so what it sends for them
is an error. Of many that the peer never ends, the oldest are forgotten, and then whatever comes for a stream as old as
they are is passed over.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from core.http2.frames import END_STREAM, BrokenConnection, Fault

MOST_LEFT: Final = 1000
MOST_GAPS: Final = 100


class PastStreams:
    """The identifiers of one connection's streams, as far as they were opened or passed over.

    While `takes_new` is false, no stream is opened any more: what comes for later ones is passed over, too.
    """

    __slots__ = ("_forgotten_to", "_gaps", "_left", "last_id", "takes_new")

    def __init__(self) -> None:
        self.last_id = 0
        self.takes_new = True
        self._left: dict[int, None] = {}
        self._forgotten_to = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=MOST_GAPS)

    def open(self, stream_id: int) -> None:
        """Take note of a new stream; all lower ones that were never opened cannot be opened any more (5.1.1)."""
        if stream_id > self.last_id + 2:
            self._gaps.append((self.last_id, stream_id))
        self.last_id = stream_id

    def leave(self, stream_id: int) -> None:
        """Take note of a stream that is over here, while the peer may still be sending."""
        self._left[stream_id] = None
        if len(self._left) > MOST_LEFT:
            oldest = next(iter(self._left))
            del self._left[oldest]
            self._forgotten_to = max(self._forgotten_to, oldest)

    def end(self, stream_id: int) -> None:
        """Take note that the peer has ended a stream, too."""
        self._left.pop(stream_id, None)

    def is_idle(self, stream_id: int) -> bool:
        """Whether a stream was never opened and is not closed either (5.1)."""
        return not stream_id & 1 or (stream_id > self.last_id and self.takes_new)

    def require_opened(self, stream_id: int) -> None:
        """Raise BrokenConnection for a stream that is idle."""
        if self.is_idle(stream_id):
            text = f"a frame for the stream {stream_id}, which was never opened"
            raise BrokenConnection(Fault.PROTOCOL_ERROR, text)

    def take_headers(self, stream_id: int, flags: int) -> None:
        """Pass over headers of a stream that the peer may not know to be over.

        Others raise BrokenConnection: with STREAM_CLOSED where the stream was open once, with PROTOCOL_ERROR where a
        later one was opened instead (5.1.1).
        """
        if self.may_go_on(stream_id):
            if flags & END_STREAM:
                self.end(stream_id)
        elif any(low < stream_id < high for low, high in self._gaps):
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"the stream {stream_id} is opened after later ones")
        else:
            raise BrokenConnection(Fault.STREAM_CLOSED, f"headers for the stream {stream_id}, which has ended")

    def take_data(self, stream_id: int, flags: int) -> bool:
        """Whether data of a stream that is over may be passed over; otherwise it is an error of the stream (6.1).

        Raises BrokenConnection for a stream that was never opened.
        """
        self.require_opened(stream_id)
        if not self.may_go_on(stream_id):
            return False
        if flags & END_STREAM:
            self.end(stream_id)
        return True

    def may_go_on(self, stream_id: int) -> bool:
        """Whether the peer may still send for a stream, because it may not know yet that it is over."""
        return stream_id in self._left or stream_id <= self._forgotten_to or stream_id > self.last_id
