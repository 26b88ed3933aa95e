"""How much each stream of a connection may send: windows that keep the bytes of unfinished requests bounded.

At first each stream has a wide window, so that a large request never waits. When a request arrives beside others of
which a part is missing, and those take more bytes than a connection may keep, SETTINGS make all windows narrow; while
the peer has not acknowledged that, the connection's window is not renewed. From then on a large request is widened
only while the sum of what wide windows allow stays bounded, and waits otherwise until another one ends. One stream may
always be widened, so that some request can be completed, whatever its size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from core.http2.budget import MIB, Http2Limits
from core.http2.frames import INITIAL_WINDOW, BrokenConnection, Fault, Setting, settings, window_update
from core.http2.sending import Sending
from core.http2.streams import STREAM_WINDOW, Stream

CONNECTION_WINDOW: Final = 16 * MIB
NARROW_WINDOW: Final = INITIAL_WINDOW
SMALL_REQUEST_BYTES: Final = 8 * 1024
"""What a stream with a narrow window may send before that is widened."""


class ReceiveWindows:
    """The windows of a connection and of its streams, for what the peer sends; widens them by frames to be sent.

    `initial` is the window of a new stream. Only streams whose request takes several frames are known here.
    """

    def __init__(self, limits: Http2Limits, sending: Sending) -> None:
        self._limits: Final = limits
        self._sending = sending
        self._room = CONNECTION_WINDOW
        self._renewable = 0
        self._kept = 0
        self._promised = 0
        self._in_work = 0
        self._always: Stream | None = None
        self._waiting: OrderedDict[int, Stream] = OrderedDict()
        self._unacknowledged = 1
        self._is_narrowing = False
        self.initial = STREAM_WINDOW

    def take_of_connection(self, length: int) -> None:
        """Count received data; raises BrokenConnection where that is more than the connection's window."""
        self._room -= length
        self._renewable += length
        if self._room < 0:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._renewable >= CONNECTION_WINDOW // 2 and not self._is_narrowing:
            self._renew()

    def _renew(self) -> None:
        increment, self._renewable = self._renewable, 0
        self._room += increment
        if increment:
            self._sending.unsent.append(window_update(0, increment))

    def take(self, stream: Stream, length: int) -> None:
        """Count received data; raises BrokenConnection where that is more than the stream's window."""
        stream.received += length
        self._kept += length
        left = stream.allowed - stream.received
        if left < 0:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if self.initial > NARROW_WINDOW:
            self._take_wide(stream, left)
        elif left < (STREAM_WINDOW // 2 if stream.promised else NARROW_WINDOW - SMALL_REQUEST_BYTES):
            self._widen(stream)

    def _take_wide(self, stream: Stream, left: int) -> None:
        if self._is_narrowing:
            return
        if self._kept - stream.received > self._limits.unfinished_bytes:
            self._is_narrowing = True
            self._unacknowledged += 1
            self._sending.unsent.append(settings({Setting.INITIAL_WINDOW_SIZE: NARROW_WINDOW}))
        elif left <= STREAM_WINDOW // 2:
            self._allow(stream, stream.received + STREAM_WINDOW)

    def _allow(self, stream: Stream, allowed: int) -> None:
        self._sending.unsent.append(window_update(stream.id, allowed - stream.allowed))
        stream.allowed = allowed

    def acknowledged(self, streams: Iterable[Stream]) -> None:
        """Take note that the peer has applied SETTINGS; `streams` are all that are open."""
        self._unacknowledged -= 1
        if self._unacknowledged or not self._is_narrowing:
            return
        self._is_narrowing, less = False, self.initial - NARROW_WINDOW
        self.initial = NARROW_WINDOW
        for stream in streams:
            stream.allowed -= less
            if stream.received and not stream.is_ended:
                stream.promised = max(stream.received, stream.allowed)
                self._promised += stream.promised
                self._waiting[stream.id] = stream
        self._renew()
        self._widen_waiting()

    def is_waiting(self, stream: Stream) -> bool:
        """Whether a stream may send no more because of others."""
        return self._is_narrowing or stream.id in self._waiting

    def complete(self, stream: Stream) -> None:
        """Take note that all of a request has arrived."""
        self._take_back(stream)
        self._in_work += stream.received
        self._widen_waiting()

    def forget(self, stream: Stream) -> None:
        """Take note that nothing of a request is kept any more."""
        if stream.is_ended:
            self._in_work -= stream.received
        else:
            self._take_back(stream)
        self._widen_waiting()

    def _take_back(self, stream: Stream) -> None:
        self._kept -= stream.received
        self._promised -= stream.promised
        stream.promised = 0
        self._waiting.pop(stream.id, None)
        if self._always is stream:
            self._always = None

    def _widen_waiting(self) -> None:
        while self._waiting and self._widen(next(iter(self._waiting.values()))):
            pass

    def _widen(self, stream: Stream) -> bool:
        promised = stream.received + STREAM_WINDOW
        if not self._may_promise(stream, promised - stream.promised):
            self._waiting[stream.id] = stream
            return False
        self._waiting.pop(stream.id, None)
        self._promised += promised - stream.promised
        stream.promised = promised
        self._allow(stream, promised)
        return True

    def _may_promise(self, stream: Stream, more: int) -> bool:
        if self._in_work > self._limits.work_bytes:
            return False
        if self._promised + more <= self._limits.unfinished_bytes:
            return True
        if self._always is None:
            self._always = stream
        return self._always is stream
