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
from core.http2.progress import Unfinished

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
    """Hands each frame to its taker; frames of unknown kinds are ignored, as HTTP/2 requires.

    `turn`: the work after which others have their turns; a frame is one unit, and takers subtract more from `_work`.
    `count_control` is called for each frame that carries nothing of a call.
    """

    def __init__(self, takers: dict[int, Taker], turn: int, count_control: Callable[[], None]) -> None:
        self._takers = {
            **{kind: self._counted(check) for kind, check in UNNEEDED.items()},
            **takers,
            HEADERS: self._take_headers,
            CONTINUATION: self._take_continuation,
        }
        self._turn = turn
        self._count_control = count_control
        self._work = 0
        self._rest = b""
        self._begin = 0
        self._frames = 0
        self._block: tuple[int, int, bytearray] | None = None
        self._at_end_of_turn: Callable[[], None] | None = None
        self.is_established = False
        self.has_more = False

    def _counted(self, check: Taker) -> Taker:
        def checked(stream_id: int, flags: int, payload: bytes) -> None:
            check(stream_id, flags, payload)
            self._count_control()

        return checked

    @abstractmethod
    def _take_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """Take a whole header block, with the flags of its first frame, and SELF_DEPENDENT."""

    def receive(self, data: bytes, *, is_new_turn: bool = True) -> None:
        """Take bytes from the peer, until the work of a turn is done; raises BrokenConnection.

        While `has_more`, call it again with no bytes when others have had their turns.
        """
        if is_new_turn:
            self._work = self._turn
        position = 0
        if self._rest or not self.is_established:
            data, position = self._unread(data)
        if self.is_established:
            position = self._take_frames(data, position)
        if self.has_more:
            # Not cut, so that many turns do not copy it many times.
            self._rest, self._begin = data, position
        else:
            self._rest, self._begin = data[position:], 0
        if self._at_end_of_turn is not None:
            work, self._at_end_of_turn = self._at_end_of_turn, None
            work()

    def _take_frames(self, data: bytes, begin: int) -> int:
        """Take the frames that are whole; return where the rest begins."""
        position, size, self.has_more = begin, len(data), False
        while size - position >= HEAD_BYTES:
            high, low, kind, flags, stream_id = FRAME.unpack_from(data, position)
            start, length = position + HEAD_BYTES, high << 16 | low
            if length > LARGEST_FRAME_BYTES:
                raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if start + length > size:
                break
            if self._work <= 0:
                self.has_more = True
                break
            self._work -= 1
            position = start + length
            if self._block is not None and kind != CONTINUATION:
                raise BrokenConnection(Fault.PROTOCOL_ERROR, "headers that do not end")
            taker = self._takers.get(kind, self._take_unknown)
            taker(stream_id & STREAM_MASK, flags, data[start:position])
        self._frames += position > begin
        return position

    def _take_unknown(self, stream_id: int, flags: int, payload: bytes) -> None:
        del stream_id, flags, payload
        self._count_control()

    def _unread(self, data: bytes) -> tuple[bytes, int]:
        """Return what is to be read now, and where it begins."""
        position = 0
        if not data:
            data, position = self._rest, self._begin
        elif self._rest:
            data = self._rest[self._begin :] + data
        return (data, position) if self.is_established else (data, self._take_preface(data))

    def unfinished(self) -> dict[Unfinished, int]:
        """Return the frame and the head of which a part is missing, with the number of their bytes."""
        if self.has_more:
            return {}
        rest, unfinished = len(self._rest) - self._begin, {}
        if rest:
            unfinished["frame", self._frames] = rest
        if self._block is not None:
            unfinished["head", self._block[0]] = len(self._block[2]) + rest
        return unfinished

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
        else:
            self._count_control()
