"""The server's side of one HTTP/2 connection (RFC 9113): bytes in, calls out, bytes to send; no sockets.

Theory of operation. `receive` takes bytes from the peer, frame by frame. Each stream that the peer opens gets a
`Receiver` from `open_stream`, which takes the stream's data and its end. Frames to be sent are collected in
`sending.unsent`, which the owner of the connection writes after each turn.

The connection's receive window is widened again as soon as half of it is used; what is kept is bounded by the windows
of streams (`core.http2.receive_windows`), and what the peer costs otherwise by `core.http2.budget`.

An error of the peer that leaves the connection's state unknown raises BrokenConnection; one that concerns a single
stream resets that. Frames for a stream that this side has ended are passed over as long as the peer may not know so
(`past_streams`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from core.http2.budget import (
    CLOSELY_COUNTED_BLOCK_BYTES,
    CLOSELY_COUNTED_FIELDS,
    DEFAULT_LIMITS,
    WORK_OF_A_FIELD,
    Budget,
    ConnectionLimits,
)
from core.http2.frames import (
    ACK,
    DATA,
    END_STREAM,
    INITIAL_WINDOW,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SELF_DEPENDENT,
    SETTINGS,
    STREAM_MASK,
    WINDOW_UPDATE,
    BrokenConnection,
    Fault,
    Setting,
    frame,
    goaway,
    number,
    priority_fault,
    read_parameters,
    reset,
    settings,
    unpadded,
    window_update,
)
from core.http2.grpc_heads import LARGEST_HEAD_BYTES, CallHead, HeadReader
from core.http2.past_streams import PastStreams
from core.http2.progress import Unfinished
from core.http2.reading import Http2Reader
from core.http2.receive_windows import CONNECTION_WINDOW, ReceiveWindows
from core.http2.sending import Sending
from core.http2.streams import NOBODY, STREAM, Receiver, Stream

LEAST_DATA_BYTES: Final = 64
"""A frame of DATA with less, which does not end a stream, counts as a control frame."""
LEAVING: Final = b"leaving."
"""The eight bytes of the ping whose answer shows that the peer has read our GOAWAY."""


OpenStream = Callable[[Stream, CallHead], Receiver]


class Http2Connection(Http2Reader):
    """The state of one connection."""

    def __init__(
        self,
        open_stream: OpenStream,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sending = Sending()
        self._budget = Budget(limits, self.sending.merits, clock)
        super().__init__(
            {
                DATA: self._take_data,
                PRIORITY: self._take_priority,
                RST_STREAM: self._take_reset,
                SETTINGS: self._take_settings,
                PING: self._take_ping,
                WINDOW_UPDATE: self._take_window_update,
            },
            limits.turn,
            self._budget.count_control,
        )
        self._limits = limits
        self._open_stream = open_stream
        self._heads = HeadReader()
        self._streams: dict[int, Stream] = {}
        self._past = PastStreams()
        self._is_leaving = False
        self._windows = ReceiveWindows(limits, self.sending)
        offered = {
            Setting.MAX_CONCURRENT_STREAMS: limits.streams,
            Setting.INITIAL_WINDOW_SIZE: self._windows.initial,
            Setting.MAX_HEADER_LIST_SIZE: LARGEST_HEAD_BYTES,
        }
        self.sending.unsent += (settings(offered), window_update(0, CONNECTION_WINDOW - INITIAL_WINDOW))

    @property
    def has_left(self) -> bool:
        """Whether calls are not taken any more."""
        return not self._past.takes_new

    @property
    def is_idle(self) -> bool:
        """Whether no call is open."""
        return not self._streams

    def _take_block(self, stream_id: int, flags: int, block: bytes) -> None:
        self._work -= self._limits.work_of_a_call
        if len(block) > CLOSELY_COUNTED_BLOCK_BYTES:
            self._count_head(len(block))
        # Always decoded: the table of headers must stay the same at both ends.
        call = self._heads.read(block)
        if self._heads.decoded_fields > CLOSELY_COUNTED_FIELDS:
            self._count_head(WORK_OF_A_FIELD * self._heads.decoded_fields)
            self._heads.decoded_fields = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._opened(stream_id, flags, call)
        elif stream.is_ended:
            self._refuse(stream, Fault.STREAM_CLOSED)
            return
        elif not flags & END_STREAM or not call.is_trailers or flags & SELF_DEPENDENT:
            self._refuse(stream, Fault.PROTOCOL_ERROR)
            return
        if stream is not None and flags & END_STREAM:
            self._end(stream, b"")

    def _count_head(self, work: int) -> None:
        self._work -= work
        self._budget.count_head(work)

    def _opened(self, stream_id: int, flags: int, call: CallHead) -> Stream | None:
        if not stream_id & 1:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"a stream with the number {stream_id}")
        if stream_id <= self._past.last_id:
            self._past.take_headers(stream_id, flags)
            return None
        if not self._past.takes_new:
            return None
        self._past.open(stream_id)
        is_malformed = call.is_malformed or flags & SELF_DEPENDENT
        if is_malformed or len(self._streams) >= self._limits.streams:
            self._reset(stream_id, Fault.PROTOCOL_ERROR if is_malformed else Fault.REFUSED_STREAM, flags)
            self._budget.count_reset()
            return None
        stream = self._streams[stream_id] = Stream(stream_id)
        stream.allowed = self._windows.initial
        stream.is_ended = bool(flags & END_STREAM)
        stream.body_left = call.content_length
        stream.receiver = self._open_stream(stream, call)
        return stream

    def _reset(self, stream_id: int, fault: Fault, flags: int = 0) -> None:
        """Reset a stream whose peer may still be sending, unless `flags` end it."""
        self.sending.unsent.append(reset(stream_id, fault))
        if not flags & END_STREAM:
            self._past.leave(stream_id)

    def _end(self, stream: Stream, payload: bytes) -> None:
        stream.is_ended = True
        if stream.received:
            self._windows.complete(stream)
        if stream.body_left is None or stream.fits(len(payload), is_last=True):
            stream.receiver.data(payload, is_last=True)
        else:
            self._refuse(stream, Fault.PROTOCOL_ERROR)

    def _take_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self._windows.take_of_connection(length)
        if flags & PADDED:
            payload = unpadded(payload, flags)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._take_late_data(stream_id, flags, length)
        elif stream.is_ended:
            self._refuse(stream, Fault.STREAM_CLOSED)
        elif flags & END_STREAM:
            self._end(stream, payload)
        else:
            self._take_part(stream, length, payload)

    def _take_late_data(self, stream_id: int, flags: int, length: int) -> None:
        """Take data of a stream that is over."""
        if not self._past.take_data(stream_id, flags):
            self._reset(stream_id, Fault.STREAM_CLOSED, flags)
            self._budget.count_reset()
        elif length < LEAST_DATA_BYTES:
            self._count_control()

    def _take_part(self, stream: Stream, length: int, payload: bytes) -> None:
        if stream.body_left is not None and not stream.fits(len(payload), is_last=False):
            self._refuse(stream, Fault.PROTOCOL_ERROR)
            return
        self._windows.take(stream, length)
        if len(payload) < LEAST_DATA_BYTES:
            self._count_control()
        stream.receiver.data(payload, is_last=False)

    def _take_priority(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Check a priority, which changes nothing: RFC 9113 has done away with them (5.3.2)."""
        del flags
        self._count_control()
        fault = priority_fault(stream_id, payload)
        if fault is None:
            return
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._refuse(stream, fault)
        elif self._past.is_idle(stream_id):
            # A stream that was never opened cannot be reset.
            raise BrokenConnection(fault, f"a priority of the stream {stream_id} that is not allowed")
        elif not self._past.may_go_on(stream_id):
            self._reset(stream_id, fault)

    def _known(self, stream_id: int) -> Stream | None:
        """Return a stream, None if it is over; raises BrokenConnection where there was none."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._past.require_opened(stream_id)
        return stream

    def _take_reset(self, stream_id: int, flags: int, payload: bytes) -> None:
        del flags
        number(payload)
        stream = self._known(stream_id)
        if stream is None:
            self._past.end(stream_id)
            self._count_control()
        else:
            self._drop(stream)
            self._count_reset()

    def _refuse(self, stream: Stream, fault: Fault) -> None:
        """Reset a stream after an error of the peer that does not concern other streams."""
        self._reset(stream.id, fault)
        self._drop(stream)
        self._count_reset()

    def _count_reset(self) -> None:
        self._work -= self._limits.work_of_a_reset
        self._budget.count_reset()

    def _drop(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None) is not None and stream.received:
            self._windows.forget(stream)
        self.sending.forget(stream)
        receiver, stream.receiver = stream.receiver, NOBODY
        receiver.cancelled()

    def _take_settings(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"SETTINGS for stream {stream_id}")
        self._count_control()
        if flags & ACK:
            if payload:
                raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"SETTINGS acknowledged with {len(payload)} bytes")
            self._windows.acknowledged(self._streams.values())
            return
        sizes = self.sending.take_parameters(read_parameters(payload))
        if sizes:
            self._take_windows(sizes)
        self.sending.unsent.append(frame(SETTINGS, ACK, 0))

    def _take_windows(self, sizes: list[int]) -> None:
        """Take the initial windows of one SETTINGS frame, the last of which stays in force (6.9.2)."""
        before, highest = self.sending.stream_window, max(sizes)
        if highest > sizes[-1]:
            self.sending.stream_window = highest
            self._require_windows()
        self.sending.stream_window = sizes[-1]
        if sizes[-1] > before:
            # Once for all SETTINGS of a turn: it visits all streams.
            self._at_end_of_turn = self._resume_all

    def _require_windows(self) -> None:
        for stream in self._streams.values():
            self.sending.require_window(stream)

    def _resume_all(self) -> None:
        self._require_windows()
        for stream in tuple(self._streams.values()):
            self._resume(stream)

    def _take_ping(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id or len(payload) != len(LEAVING):
            fault = Fault.PROTOCOL_ERROR if stream_id else Fault.FRAME_SIZE_ERROR
            raise BrokenConnection(fault, f"a ping of {len(payload)} bytes for stream {stream_id}")
        self._count_control()
        if not flags & ACK:
            self.sending.unsent.append(frame(PING, ACK, 0, payload))
        elif payload == LEAVING and self._is_leaving:
            self.leave_now()

    def _take_window_update(self, stream_id: int, flags: int, payload: bytes) -> None:
        del flags
        increment = number(payload) & LARGEST_WINDOW
        self._count_control()
        if not stream_id:
            if not increment:
                raise BrokenConnection(Fault.PROTOCOL_ERROR, "a window that is widened by nothing")
            self._went_on(self._streams[one.id] for one in self.sending.widen(increment))
            return
        stream = self._known(stream_id)
        if stream is None:
            return
        stream.credit += increment
        if not increment:
            self._refuse(stream, Fault.PROTOCOL_ERROR)
        elif stream.credit + self.sending.stream_window > LARGEST_WINDOW:
            self._refuse(stream, Fault.FLOW_CONTROL_ERROR)
        else:
            self._resume(stream)

    def _resume(self, stream: Stream) -> None:
        if stream.waiting:
            self.sending.resume(stream)
            if not stream.waiting:
                self._went_on((stream,))

    def _went_on(self, streams: Iterable[Stream]) -> None:
        """End or resume streams of which nothing waits any more."""
        for stream in streams:
            if stream.is_answered:
                self.sending.merits.answers += 1
                self._answered(stream)
            else:
                stream.receiver.sent()

    def unfinished(self) -> dict[Unfinished, int]:
        """Return what the peer has begun to send and must complete, with the number of bytes that have come."""
        found, windows = super().unfinished(), self._windows
        for stream in () if self.has_more else self._streams.values():
            if not stream.is_ended and stream.receiver.is_incomplete and not windows.is_waiting(stream):
                found[STREAM, stream.id] = stream.received
        return found

    def open_stream(self, stream_id: int) -> Stream | None:
        """Return a stream; None if it has ended."""
        return self._streams.get(stream_id)

    def answer(self, stream: Stream, opening: bytes, body: bytes, end: bytes) -> None:
        """Send a whole answer: headers, body, trailers."""
        if stream.id not in self._streams:
            return
        if self.sending.answer(stream, opening, body, end):
            self.sending.merits.answers += 1
            self._answered(stream)
        else:
            self.sending.headers(stream, opening)
            self.send(stream, body, end)

    def begin(self, stream: Stream, opening: bytes, *, is_last: bool = False) -> None:
        """Send the first headers of an answer, or an answer of nothing but headers."""
        if stream.id not in self._streams:
            return
        self.sending.headers(stream, opening, is_last=is_last)
        if is_last:
            self.sending.merits.refusals += 1
            self._answered(stream)

    def send(self, stream: Stream, data: bytes | bytearray, end: bytes | None = None) -> None:
        """Send data, and behind it the trailers that end the answer."""
        if stream.id not in self._streams:
            return
        self.sending.data(stream, data, end)
        if stream.is_answered:
            self.sending.merits.answers += 1
            self._answered(stream)

    def _answered(self, stream: Stream) -> None:
        """Forget a stream; one whose peer is still sending is reset."""
        del self._streams[stream.id]
        if stream.received:
            self._windows.forget(stream)
        stream.receiver = NOBODY
        if not stream.is_ended:
            self._reset(stream.id, Fault.NO_ERROR)

    def leave(self) -> None:
        """Send GOAWAY; streams that the peer has opened before it reads that are still taken."""
        self._is_leaving = True
        self.sending.unsent += (goaway(STREAM_MASK, Fault.NO_ERROR), frame(PING, 0, 0, LEAVING))

    def leave_now(self) -> None:
        """Take no more streams, and say in GOAWAY which one was the last."""
        if self._past.takes_new:
            self._past.takes_new = False
            self.sending.unsent.append(goaway(self._past.last_id, Fault.NO_ERROR))

    def break_off(self, error: BrokenConnection) -> None:
        """Send GOAWAY with the reason why the connection ends."""
        self.sending.unsent.append(goaway(self._past.last_id, error.fault, str(error)))

    def close(self) -> None:
        """Cancel all calls: the connection is gone."""
        for stream in tuple(self._streams.values()):
            self._drop(stream)
