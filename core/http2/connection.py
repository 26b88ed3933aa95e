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
from collections.abc import Callable
from typing import Final

from core.http2.answering import AnsweringConnection
from core.http2.budget import (
    CLOSELY_COUNTED_BLOCK_BYTES,
    CLOSELY_COUNTED_FIELDS,
    DEFAULT_LIMITS,
    WORK_OF_A_FIELD,
    Http2Limits,
)
from core.http2.frames import (
    ACK,
    DATA,
    END_STREAM,
    INITIAL_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SELF_DEPENDENT,
    STREAM_MASK,
    BrokenConnection,
    Fault,
    Setting,
    frame,
    goaway,
    number,
    priority_fault,
    settings,
    unpadded,
    window_update,
)
from core.http2.grpc_heads import LARGEST_HEAD_BYTES, CallHead, HeadReader
from core.http2.receive_windows import CONNECTION_WINDOW
from core.http2.streams import Receiver, Stream

LEAST_DATA_BYTES: Final = 64
"""A frame of DATA with less, which does not end a stream, counts as a control frame."""
LEAVING: Final = b"leaving."
"""The eight bytes of the ping whose answer shows that the peer has read our GOAWAY."""


OpenStream = Callable[[Stream, CallHead], Receiver]


class Http2Connection(AnsweringConnection):
    """The state of one connection."""

    def __init__(
        self,
        open_stream: OpenStream,
        limits: Http2Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        takers = {
            DATA: self._take_data,
            PRIORITY: self._take_priority,
            RST_STREAM: self._take_reset,
            PING: self._take_ping,
        }
        super().__init__(takers, limits, clock)
        self._open_stream = open_stream
        self._heads = HeadReader()
        self._is_leaving = False
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

    def _end(self, stream: Stream, payload: bytes) -> None:
        stream.is_ended = True
        if stream.received:
            self._windows.complete(stream)
        if stream.body_left is None or stream.fits(len(payload), is_last=True):
            self._calls.take(stream, payload)
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

    def _take_ping(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id or len(payload) != len(LEAVING):
            fault = Fault.PROTOCOL_ERROR if stream_id else Fault.FRAME_SIZE_ERROR
            raise BrokenConnection(fault, f"a ping of {len(payload)} bytes for stream {stream_id}")
        self._count_control()
        if not flags & ACK:
            self.sending.unsent.append(frame(PING, ACK, 0, payload))
        elif payload == LEAVING and self._is_leaving:
            self.leave_now()

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
