"""HTTP/2's frames (RFC 9113), as far as a gRPC server needs them: constants, headers of frames, and their checks."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.errors import InvalidArgument

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME: Final = struct.Struct(">BHBBI")
"""Length of the payload in 24 bits, type, flags, stream."""
HEAD_BYTES: Final = FRAME.size
LARGEST_FRAME_BYTES: Final = 16384
"""The limit of a frame as long as SETTINGS do not change it."""
LARGEST_WINDOW: Final = 2**31 - 1
STREAM_MASK: Final = 2**31 - 1
INITIAL_WINDOW: Final = 65535
PRIORITY_BYTES: Final = 5

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20
SELF_DEPENDENT: Final = 0x100
"""Beyond the 8 bits of a frame's flags: set by `fragment` where the priority of HEADERS names its own stream."""

_SETTING: Final = struct.Struct(">HI")
_U32: Final = struct.Struct(">I")


class Setting(enum.IntEnum):
    """The parameters of SETTINGS."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Fault(enum.IntEnum):
    """Error codes: why a stream or a connection ends early."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


_ANYTHING: Final = (0, 2**32 - 1, Fault.NO_ERROR)
_ALLOWED: Final[Mapping[int, tuple[int, int, Fault]]] = MappingProxyType(
    {
        Setting.ENABLE_PUSH: (0, 1, Fault.PROTOCOL_ERROR),
        Setting.INITIAL_WINDOW_SIZE: (0, LARGEST_WINDOW, Fault.FLOW_CONTROL_ERROR),
        Setting.MAX_FRAME_SIZE: (LARGEST_FRAME_BYTES, 2**24 - 1, Fault.PROTOCOL_ERROR),
    }
)
"""The least and the largest value of a setting, and the fault of others (RFC 9113, 6.5.2)."""


class BrokenConnection(InvalidArgument):
    """The peer violated the protocol: the connection must be closed, with this fault."""

    def __init__(self, fault: Fault, text: str) -> None:
        Exception.__init__(self, fault, text)

    @property
    def fault(self) -> Fault:
        """The error code for GOAWAY."""
        fault: Fault = self.args[0]
        return fault

    def __str__(self) -> str:
        return str(self.args[1])


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame; the payload must fit into one."""
    return head(len(payload), kind, flags, stream_id) + payload


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Return the 9 bytes that go before a payload."""
    return FRAME.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings(values: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_parameters(payload: bytes) -> tuple[tuple[int, int], ...]:
    """Read the payload of SETTINGS, each value judged in the order in which they stand (RFC 9113, 6.5.3).

    A later value does not heal an earlier one. Raises BrokenConnection.
    """
    if len(payload) % _SETTING.size:
        raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    given = tuple(_SETTING.iter_unpack(payload))
    for key, value in given:
        lowest, highest, fault = _ALLOWED.get(key, _ANYTHING)
        if not lowest <= value <= highest:
            raise BrokenConnection(fault, f"the setting {Setting(key).name} with the value {value}")
    return given


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE for a stream, or (stream 0) for the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, _U32.pack(increment))


def reset(stream_id: int, fault: Fault) -> bytes:
    """Return the RST_STREAM that ends one stream."""
    return frame(RST_STREAM, 0, stream_id, _U32.pack(fault))


def goaway(last_stream_id: int, fault: Fault, text: str = "") -> bytes:
    """Return a GOAWAY: streams above the last one are not answered."""
    return frame(GOAWAY, 0, 0, _U32.pack(last_stream_id) + _U32.pack(fault) + text.encode(errors="replace")[:1024])


def number(payload: bytes) -> int:
    """Read the 31 bits of a WINDOW_UPDATE, or the 32 of a RST_STREAM; raises BrokenConnection."""
    if len(payload) != _U32.size:
        raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"{len(payload)} bytes where there must be {_U32.size}")
    value: int = _U32.unpack(payload)[0]
    return value


def unpadded(payload: bytes, flags: int) -> bytes:
    """Return the payload of DATA without padding (RFC 9113, 6.1); raises BrokenConnection."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise BrokenConnection(Fault.FRAME_SIZE_ERROR, "padding without its length")
    if payload[0] >= len(payload):
        raise BrokenConnection(Fault.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def fragment(stream_id: int, flags: int, payload: bytes) -> tuple[int, bytes]:
    """Return the flags of HEADERS and its part of a header block, without padding and priority (RFC 9113, 6.2).

    Raises BrokenConnection. The flag SELF_DEPENDENT is added where the priority makes the stream depend on itself.
    """
    start = 1 if flags & PADDED else 0
    before = start + PRIORITY_BYTES if flags & WITH_PRIORITY else start
    if len(payload) < before:
        raise BrokenConnection(Fault.FRAME_SIZE_ERROR, "headers without the padding or the priority that they promise")
    padding = payload[0] if start else 0
    if padding > len(payload) - before:
        raise BrokenConnection(Fault.PROTOCOL_ERROR, "more padding than payload")
    if before > start and depends_on(payload[start:before]) == stream_id:
        flags |= SELF_DEPENDENT
    return flags, payload[before : len(payload) - padding]


def depends_on(priority: bytes) -> int:
    """Return the stream that a priority (5 bytes) makes its own stream depend on."""
    stream_id: int = _U32.unpack_from(priority)[0] & STREAM_MASK
    return stream_id


def priority_fault(stream_id: int, payload: bytes) -> Fault | None:
    """Return the fault of a PRIORITY frame that concerns its stream (RFC 9113, 6.3; RFC 7540, 5.3.1).

    Raises BrokenConnection for one of no stream.
    """
    if not stream_id:
        raise BrokenConnection(Fault.PROTOCOL_ERROR, "a priority of no stream")
    if len(payload) != PRIORITY_BYTES:
        return Fault.FRAME_SIZE_ERROR
    return Fault.PROTOCOL_ERROR if depends_on(payload) == stream_id else None
