"""What one side of an HTTP/2 connection reads: bytes cut into frames, and header blocks put together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from core.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    FRAME,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    LARGEST_FRAME_BYTES,
    PADDED,
    PREFACE,
    PUSH_PROMISE,
    SETTINGS,
    STREAM_MASK,
    WITH_PRIORITY,
    BrokenConnection,
    Fault,
    fragment,
)

LARGEST_BLOCK_BYTES: Final = 256 * 1024
"""The limit for the frames of one header block."""

GOAWAY_BYTES: Final = 8
"""The least payload of GOAWAY: the last stream and the error code."""

Taker = Callable[[int, int, bytes], None]
"""Takes the stream, the flags and the payload of a frame."""


def _check_goaway(stream_id: int, flags: int, payload: bytes) -> None:
    """Check a frame that needs no reaction: the peer closes the connection when it has its answers."""
    del flags
    if stream_id:
        raise BrokenConnection(Fault.PROTOCOL_ERROR, f"GOAWAY for the stream {stream_id}")
    if len(payload) < GOAWAY_BYTES:
        raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")


def _refuse_push(stream_id: int, flags: int, payload: bytes) -> None:
    del stream_id, flags, payload
    raise BrokenConnection(Fault.PROTOCOL_ERROR, "a client cannot push")


UNNEEDED: Final[Mapping[int, Taker]] = MappingProxyType({GOAWAY: _check_goaway, PUSH_PROMISE: _refuse_push})
"""Frames that are only checked."""


class Http2Reader:
    """Hands each frame to its taker; frames of unknown kinds are ignored, as HTTP/2 requires."""

    def __init__(self, takers: dict[int, Taker]) -> None:
        self._takers = {
            **UNNEEDED,
            **takers,
            HEADERS: self._take_headers,
            CONTINUATION: self._take_continuation,
        }
        self._rest = b""
        self._block: tuple[int, int, bytearray] | None = None
        self._at_end_of_turn: Callable[[], None] | None = None
        self.is_established = False

    @abstractmethod
    def _take_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """Take a whole header block, with the flags of its first frame, and SELF_DEPENDENT."""

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
        if self._at_end_of_turn is not None:
            work, self._at_end_of_turn = self._at_end_of_turn, None
            work()

    def _take_preface(self, data: bytes) -> int:
        """Return the number of bytes taken: none until the first frame's head shows SETTINGS (RFC 9113, 3.4)."""
        if not data.startswith(PREFACE):
            if PREFACE.startswith(data):
                return 0
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2")
        if len(data) < len(PREFACE) + HEAD_BYTES:
            return 0
        _, _, kind, flags, _ = FRAME.unpack_from(data, len(PREFACE))
        if kind != SETTINGS or flags & ACK:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "the first frame is not the client's SETTINGS")
        self.is_established = True
        return len(PREFACE)

    def _take_headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if flags & (PADDED | WITH_PRIORITY):
            flags, payload = fragment(stream_id, flags, payload)
        if flags & END_HEADERS:
            self._take_block(stream_id, flags, payload)
        elif stream_id & 1:
            self._block = stream_id, flags, bytearray(payload)
        else:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"a stream with the number {stream_id}")

    def _take_continuation(self, stream_id: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, "headers that continue nothing")
        _, first_flags, block = self._block
        block += payload
        # An empty frame makes no progress: endless frames would be endless work.
        if len(block) > LARGEST_BLOCK_BYTES or not (payload or flags & END_HEADERS):
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, "headers without end")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(stream_id, first_flags, bytes(block))
