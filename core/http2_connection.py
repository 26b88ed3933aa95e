"""The server's side of one HTTP/2 connection (RFC 9113): bytes in, calls out, bytes to send; no sockets.

Theory of operation. `receive` takes what came from the peer, frame by frame. Each stream that the peer opens gets a
`Receiver` from `open_stream`, which is told of the stream's data and of its end. What is to be sent is collected in
`sending.unsent` and belongs to the connection's owner, who writes it after each turn.

What the peer may send is renewed as soon as half of it is used, because whatever came is kept until its message is
whole; how long messages may be is the owner's business.

A mistake of the peer that leaves the connection's state unknown raises BrokenConnection. Frames for streams that have
ended are ignored, because the peer may have sent them before it knew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from core.grpc_heads import CallHead, HeadReader
from core.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MASK,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    BrokenConnection,
    Fault,
    Setting,
    frame,
    goaway,
    number,
    read_settings,
    reset,
    settings,
    unpadded,
    window_update,
)
from core.http2_sending import Sending, SendingStream

STREAM_WINDOW: Final = 4 * 1024 * 1024
CONNECTION_WINDOW: Final = 16 * 1024 * 1024
MOST_STREAMS: Final = 10_000
LARGEST_HEADERS_BYTES: Final = 64 * 1024
"""What the frames of one header block may hold."""
LEAVING: Final = b"leaving."
"""The eight bytes of the ping that shows when the peer has read that we are leaving."""


class Receiver(Protocol):
    """Takes what comes on one stream."""

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Take a part of the request's body; nothing comes after the last one."""

    def cancelled(self) -> None:
        """Learn that the peer does not want an answer any more."""


class Stream(SendingStream):
    """One call: both directions."""

    __slots__ = ("is_ended", "receiver", "renewable", "room")

    def __init__(self, stream_id: int, send_window: int) -> None:
        super().__init__(stream_id, send_window)
        self.room = STREAM_WINDOW
        self.renewable = 0
        self.is_ended = False
        self.receiver: Receiver | None = None


OpenStream = Callable[[Stream, CallHead], Receiver]


class Http2Connection:
    """The state of one connection."""

    def __init__(self, open_stream: OpenStream) -> None:
        self._open_stream = open_stream
        self._heads = HeadReader()
        self._streams: dict[int, Stream] = {}
        self._rest = b""
        self._last_id = 0
        self._room = CONNECTION_WINDOW
        self._renewable = 0
        self._block: tuple[int, int, bytearray] | None = None
        self._takers: dict[int, Callable[[int, int, bytes], None]] = {
            DATA: self._take_data,
            HEADERS: self._take_headers,
            RST_STREAM: self._take_reset,
            SETTINGS: self._take_settings,
            PUSH_PROMISE: self._take_push_promise,
            PING: self._take_ping,
            WINDOW_UPDATE: self._take_window_update,
            CONTINUATION: self._take_continuation,
        }
        self.is_established = False
        self.has_left = False
        self.sending = Sending()
        told = {
            Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: LARGEST_HEADERS_BYTES,
        }
        self.sending.unsent += (settings(told), window_update(0, CONNECTION_WINDOW - INITIAL_WINDOW))

    @property
    def is_idle(self) -> bool:
        """No call is open."""
        return not self._streams

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; raises BrokenConnection."""
        if self._rest:
            data = self._rest + data
        position = 0 if self.is_established else self._take_preface(data)
        size = len(data) if self.is_established else 0
        while size - position >= HEAD_BYTES:
            high, low, kind, flags, stream_id = FRAME.unpack_from(data, position)
            start, length = position + HEAD_BYTES, high << 16 | low
            if length > LARGEST_FRAME_BYTES:
                raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if start + length > size:
                break
            position = start + length
            if self._block is not None and kind != CONTINUATION:
                raise BrokenConnection(Fault.PROTOCOL_ERROR, "headers that do not end")
            taker = self._takers.get(kind)
            if taker is not None:
                taker(stream_id & STREAM_MASK, flags, data[start:position])
        self._rest = data[position:]

    def _take_preface(self, data: bytes) -> int:
        """Give the number of bytes taken."""
        if data.startswith(PREFACE):
            self.is_established = True
            return len(PREFACE)
        if PREFACE.startswith(data):
            return 0
        raise BrokenConnection(Fault.PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2")

    def _take_headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if flags & (PADDED | WITH_PRIORITY):
            payload = unpadded(payload, flags)
            payload = payload[5:] if flags & WITH_PRIORITY else payload
        if flags & END_HEADERS:
            self._take_block(stream_id, flags, payload)
        else:
            self._block = stream_id, flags, bytearray(payload)

    def _take_continuation(self, stream_id: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "headers that continue nothing")
        _, first_flags, block = self._block
        block += payload
        # An empty frame is no progress: frames without end would be work without end.
        if len(block) > LARGEST_HEADERS_BYTES or not (payload or flags & END_HEADERS):
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, "headers without end")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(stream_id, first_flags, bytes(block))

    def _take_block(self, stream_id: int, flags: int, block: bytes) -> None:
        # Decoded in any case: the table of headers must stay the same at both ends.
        call = self._heads.read(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._opened(stream_id, flags, call)
        elif stream.is_ended or not flags & END_STREAM:
            self._refuse(stream, Fault.PROTOCOL_ERROR)
            return
        if stream is not None and flags & END_STREAM:
            self._end(stream, b"")

    def _opened(self, stream_id: int, flags: int, call: CallHead) -> Stream | None:
        if not stream_id & 1:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"a stream with the number {stream_id}")
        if stream_id <= self._last_id or self.has_left:
            return None
        self._last_id = stream_id
        if len(self._streams) >= MOST_STREAMS:
            self.sending.unsent.append(reset(stream_id, Fault.REFUSED_STREAM))
            return None
        stream = self._streams[stream_id] = Stream(stream_id, self.sending.stream_window)
        stream.is_ended = bool(flags & END_STREAM)
        stream.receiver = self._open_stream(stream, call)
        return stream

    def _end(self, stream: Stream, payload: bytes) -> None:
        stream.is_ended = True
        if stream.receiver is not None:
            stream.receiver.data(payload, is_last=True)

    def _take_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self._use_room(length)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._require_known(stream_id)
        elif stream.is_ended:
            self._refuse(stream, Fault.STREAM_CLOSED)
        elif flags & END_STREAM:
            self._end(stream, unpadded(payload, flags))
        else:
            self._use_room_of(stream, length)
            if stream.receiver is not None:
                stream.receiver.data(unpadded(payload, flags), is_last=False)

    def _use_room(self, length: int) -> None:
        self._room -= length
        self._renewable += length
        if self._room < 0:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._renewable >= CONNECTION_WINDOW // 2:
            self.sending.unsent.append(window_update(0, self._renewable))
            self._room += self._renewable
            self._renewable = 0

    def _use_room_of(self, stream: Stream, length: int) -> None:
        stream.room -= length
        stream.renewable += length
        if stream.room < 0:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if stream.renewable >= STREAM_WINDOW // 2:
            self.sending.unsent.append(window_update(stream.id, stream.renewable))
            stream.room += stream.renewable
            stream.renewable = 0

    def _require_known(self, stream_id: int) -> None:
        """Tell a stream that has ended from one that never was."""
        if not stream_id & 1 or (stream_id > self._last_id and not self.has_left):
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"a frame for the stream {stream_id}, which was never opened")

    def _take_reset(self, stream_id: int, flags: int, payload: bytes) -> None:
        del flags
        number(payload)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._require_known(stream_id)
        else:
            self._drop(stream)

    def _refuse(self, stream: Stream, fault: Fault) -> None:
        """End a stream whose peer made a mistake that concerns no other stream."""
        self.sending.unsent.append(reset(stream.id, fault))
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self.sending.forget(stream)
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.cancelled()

    def _take_push_promise(self, stream_id: int, flags: int, payload: bytes) -> None:
        del stream_id, flags, payload
        raise BrokenConnection(Fault.PROTOCOL_ERROR, "a client cannot push")

    def _take_settings(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id or (flags & ACK and payload):
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "SETTINGS where they do not belong")
        if flags & ACK:
            return
        told, sending = read_settings(payload), self.sending
        sending.largest_frame = told.get(Setting.MAX_FRAME_SIZE, sending.largest_frame)
        change = told.get(Setting.INITIAL_WINDOW_SIZE, sending.stream_window) - sending.stream_window
        sending.stream_window += change
        for stream in self._streams.values():
            stream.send_window += change
        sending.unsent.append(frame(SETTINGS, ACK, 0))
        self._go_on()

    def _take_ping(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id or len(payload) != len(LEAVING):
            raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"a ping of {len(payload)} bytes for stream {stream_id}")
        if not flags & ACK:
            self.sending.unsent.append(frame(PING, ACK, 0, payload))
        elif payload == LEAVING:
            self.leave_now()

    def _take_window_update(self, stream_id: int, flags: int, payload: bytes) -> None:
        del flags
        increment = number(payload) & LARGEST_WINDOW
        if not increment:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "a window that is widened by nothing")
        stream = self._streams.get(stream_id)
        if not stream_id:
            self.sending.widen(increment)
        elif stream is None:
            self._require_known(stream_id)
        else:
            stream.send_window += increment
            if stream.send_window > LARGEST_WINDOW:
                self._refuse(stream, Fault.FLOW_CONTROL_ERROR)
        self._go_on()

    def _go_on(self) -> None:
        for stream in self.sending.go_on():
            self._answered(self._streams[stream.id])

    def answer(self, stream: Stream, opening: bytes, body: bytes, end: bytes) -> None:
        """Send a whole answer: headers, body, trailers."""
        if stream.id not in self._streams:
            return
        if self.sending.answer(stream, opening, body, end):
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
            self._answered(stream)

    def send(self, stream: Stream, data: bytes | bytearray, end: bytes | None = None) -> None:
        """Send data, and behind it the trailers that end the answer."""
        if stream.id not in self._streams:
            return
        self.sending.data(stream, data, end)
        if stream.is_answered:
            self._answered(stream)

    def _answered(self, stream: Stream) -> None:
        """Forget a stream; a peer that is still sending learns that nobody listens any more."""
        del self._streams[stream.id]
        stream.receiver = None
        if not stream.is_ended:
            self.sending.unsent.append(reset(stream.id, Fault.NO_ERROR))

    def leave(self) -> None:
        """Ask the peer to open no more streams; those that are on their way are still taken."""
        self.sending.unsent += (goaway(STREAM_MASK, Fault.NO_ERROR), frame(PING, 0, 0, LEAVING))

    def leave_now(self) -> None:
        """Take no more streams."""
        if not self.has_left:
            self.has_left = True
            self.sending.unsent.append(goaway(self._last_id, Fault.NO_ERROR))

    def break_off(self, error: BrokenConnection) -> None:
        """Tell the peer why the connection ends."""
        self.sending.unsent.append(goaway(self._last_id, error.fault, str(error)))

    def close(self) -> None:
        """Cancel all calls: the connection is gone."""
        for stream in tuple(self._streams.values()):
            self._drop(stream)
