"""Frames of the direct transport between router and model server: bytes in, frames out, no sockets.

Theory of operation. A frame is a header of 20 bytes and a payload. Header, little endian:

    offset  size  field
    0       4     length of the payload in bytes
    4       4     call id, chosen by the caller, unique among its open calls of this connection
    8       1     kind (`FrameKind`)
    9       1     method of a CALL (`core.routing.transport.Method`), canonical code of an ANSWER, otherwise 0
    10      2     CALL: bytes at the end of the payload that are the trace context, not body; otherwise 0
    12      4     CALL: milliseconds until the caller's deadline, 0 = none; LOAD: thousandths; otherwise 0
    16      4     CALL: where in the payload the memory of a raw tensor begins; otherwise 0

The first frame that a caller sends is HELLO with the token that was published with the address. CALL carries the
request body; ANSWER carries the response body, or the UTF-8 error text when its code is not OK. CANCEL withdraws a
call: no answer is expected any more. GOAWAY comes from the server: it takes no further calls on this connection,
answers those it has, then closes. LOAD goes to a replica whose endpoint asks for it: the average number of calls that
were open on this connection since the last LOAD.

`FrameReader` is made for `asyncio.BufferedProtocol`: small frames are cut from one scratch buffer, and the payload
of a large frame is received straight into its own buffer, so that no body is copied twice. In that buffer the raw
tensor is aligned as runtimes want it, so that they can use it where it is.
"""

from __future__ import annotations

import ctypes
import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from core.errors import InvalidArgument

HEADER = struct.Struct("<IIBBHII")
SCRATCH_BYTES = 256 * 1024
LARGEST_PAYLOAD_BYTES = 2**31 - 1 + 2**16
"""The largest body that clients may send, what is put behind it, and a trace context: a longer frame would end the
connection with all of its calls."""
LONGEST_WAIT_MS = 2**32 - 1
ALIGNMENT_BYTES = 64
"""What TensorFlow's tensors are aligned to (TF_TensorDefaultAlignment), and enough for any other runtime."""

Head: TypeAlias = tuple[int, int, int, int, int, int, int]


class FrameKind(enum.IntEnum):
    """The kinds of frames."""

    HELLO = 1
    CALL = 2
    ANSWER = 3
    CANCEL = 4
    GOAWAY = 5
    LOAD = 6


KINDS = frozenset(FrameKind)


class BrokenFrame(InvalidArgument):
    """The peer violates this protocol; the connection must be closed."""


class Frame(NamedTuple):
    """One frame; the trailer is not a part of `payload`, which is a bytearray of its own where it is large."""

    kind: int
    call_id: int
    detail: int
    wait_ms: int
    payload: bytes | bytearray
    trailer: bytes | bytearray = b""


def frame_header(
    kind: FrameKind,
    payload_bytes: int,
    *,
    call_id: int = 0,
    detail: int = 0,
    wait_ms: int = 0,
    trailer_bytes: int = 0,
    tensor_at: int = 0,
) -> bytes:
    """Return the 20 bytes that go before a payload."""
    return HEADER.pack(payload_bytes, call_id, kind, detail, trailer_bytes, wait_ms, tensor_at)


def aligned_memory(size: int, tensor_at: int) -> bytearray:
    """Return memory in which the byte `tensor_at` is aligned.

    A bytearray gives up bytes at its front and at its end without moving the others.
    """
    memory = bytearray(size + ALIGNMENT_BYTES)
    surplus = -(ctypes.addressof(ctypes.c_char.from_buffer(memory)) + tensor_at) % ALIGNMENT_BYTES
    del memory[:surplus]
    del memory[size:]
    return memory


class FrameReader:
    """Cuts a stream of bytes into frames.

    Use: fill `buffer()` from the socket, call `filled(n)`, take its frames. `largest_payload_bytes` bounds the
    memory that one peer can claim; until `trust()` is called it is small, so that a peer without a token cannot.
    """

    __slots__ = ("_body", "_body_filled", "_end", "_header", "_largest", "_scratch", "_start", "_trailer", "_view")

    def __init__(self, largest_payload_bytes: int) -> None:
        self._scratch = bytearray(SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._start = 0
        self._end = 0
        self._body: bytearray | None = None
        self._trailer = bytearray()
        self._body_filled = 0
        self._header: Head = (0, 0, 0, 0, 0, 0, 0)
        self._largest = largest_payload_bytes

    def trust(self, largest_payload_bytes: int) -> None:
        """Allow larger payloads from now on."""
        self._largest = largest_payload_bytes

    def buffer(self) -> memoryview:
        """Return the memory that the next bytes of the stream belong into; never empty."""
        if self._body is not None:
            of_trailer = self._body_filled - len(self._body)
            return memoryview(self._body)[of_trailer:] if of_trailer < 0 else memoryview(self._trailer)[of_trailer:]
        return self._view[self._end :]

    def filled(self, count: int) -> Iterator[Frame]:
        """Return the frames that `count` new bytes complete; iterating raises BrokenFrame."""
        if self._body is None:
            self._end += count
            return self._frames_in_scratch()
        self._body_filled += count
        is_whole = self._body_filled == len(self._body) + len(self._trailer)
        return iter((self._finished_body(self._body),) if is_whole else ())

    def _frames_in_scratch(self) -> Iterator[Frame]:
        while self._end - self._start >= HEADER.size:
            head = HEADER.unpack_from(self._scratch, self._start)
            length, call_id, kind, detail, trailer, wait_ms, _ = head
            if kind not in KINDS or length > self._largest or trailer > length:
                raise BrokenFrame(self._problem(length, kind, trailer))
            first = self._start + HEADER.size
            last = first + length
            if last > self._end:
                if HEADER.size + length > SCRATCH_BYTES:
                    self._begin_body(head, first)
                    return
                break
            self._start = last
            if trailer:
                body = bytes(self._view[first : last - trailer])
                yield Frame(kind, call_id, detail, wait_ms, body, bytes(self._view[last - trailer : last]))
            else:
                yield Frame(kind, call_id, detail, wait_ms, bytes(self._view[first:last]))
        self._compact()

    def _problem(self, length: int, kind: int, trailer: int) -> str:
        if kind not in KINDS:
            return f"unknown kind of frame {kind}"
        if length > self._largest:
            return f"a frame of {length} bytes is longer than the limit of {self._largest} bytes"
        return f"a trailer of {trailer} bytes does not fit into {length} bytes"

    def _begin_body(self, head: Head, first: int) -> None:
        length, trailing = head[0], head[4]
        body, trailer = aligned_memory(length - trailing, head[-1]), bytearray(trailing)
        present = self._end - first
        of_body = min(present, len(body))
        body[:of_body] = self._view[first : first + of_body]
        trailer[: present - of_body] = self._view[first + of_body : self._end]
        self._body, self._trailer, self._body_filled, self._header = body, trailer, present, head
        self._start = self._end = 0

    def _finished_body(self, body: bytearray) -> Frame:
        _, call_id, kind, detail, _, wait_ms, _ = self._header
        self._body = None
        return Frame(kind, call_id, detail, wait_ms, body, self._trailer)

    def _compact(self) -> None:
        """Move an incomplete frame to the front, so that there is always room for the rest of it."""
        if self._start == 0:
            return
        rest = self._end - self._start
        self._scratch[:rest] = self._scratch[self._start : self._end]
        self._start, self._end = 0, rest
