"""gRPC's messages within the body of a request or an answer: a prefix of five bytes before each, perhaps compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, cast

from core.errors import Internal, ResourceExhausted

PREFIX_BYTES: Final = 5
LARGEST_MESSAGE_BYTES: Final = 2**31 - 1
LARGE_MESSAGE_BYTES: Final = 64 * 1024
"""A larger message is handed on in the memory that it came into."""
WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def prefix(length: int) -> bytes:
    """Return what goes before an uncompressed message."""
    return b"\x00" + length.to_bytes(4, "big")


def announced_bytes(first: bytes) -> int:
    """Return how long a body is by its first part, prefix included; 0 if that does not say it."""
    if len(first) < PREFIX_BYTES:
        return 0
    return PREFIX_BYTES + int.from_bytes(first[1:PREFIX_BYTES], "big")


def only_message(body: bytes | bytearray) -> tuple[bool, bytes]:
    """Return whether the one message of a whole body is compressed, and the message: that of a bytearray in place.

    Raises Internal where there is not exactly one, and ResourceExhausted.
    """
    if len(body) < PREFIX_BYTES:
        raise Internal("The call ended before its message." if body else "The call has no message.")
    flag, length = body[0], int.from_bytes(body[1:PREFIX_BYTES], "big")
    require_allowed(length)
    if len(body) - PREFIX_BYTES != length:
        is_short = len(body) - PREFIX_BYTES < length
        raise Internal("The call ended before its message." if is_short else "The call has more than one message.")
    if isinstance(body, bytes):
        return is_compressed(flag), body[PREFIX_BYTES:]
    # Gives up the bytes at its front without moving the others.
    del body[:PREFIX_BYTES]
    return is_compressed(flag), cast(bytes, body)


def is_compressed(flag: int) -> bool:
    """Whether the first byte of a message's prefix says that it is compressed; raises Internal for odd ones."""
    if flag > 1:
        raise Internal(f"A message begins with the byte {flag}; it must be 0 (plain) or 1 (compressed).")
    return flag == 1


def require_allowed(length: int) -> None:
    """Raise ResourceExhausted for a message that is too long, before its bytes are kept."""
    if length > LARGEST_MESSAGE_BYTES:
        raise ResourceExhausted(f"Messages may have {LARGEST_MESSAGE_BYTES} bytes; this one has {length}.")


class MessageReader:
    """Cuts a body that arrives in parts into messages; for calls that may have any number of them."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def is_between_messages(self) -> bool:
        """Whether no part of an incomplete message has arrived."""
        return not self._rest

    def take(self, payload: bytes) -> Iterator[tuple[bool, bytes]]:
        """Yield the messages that are complete now, and whether they are compressed; raises ResourceExhausted."""
        self._rest += payload
        while len(self._rest) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(self._rest[1:PREFIX_BYTES], "big")
            require_allowed(end - PREFIX_BYTES)
            if len(self._rest) < end:
                return
            if len(self._rest) == end > LARGE_MESSAGE_BYTES:
                message, self._rest = self._rest, bytearray()
                yield only_message(message)
                return
            with memoryview(self._rest) as view:
                flag, content = view[0], bytes(view[PREFIX_BYTES:end])
            del self._rest[:end]
            yield is_compressed(flag), content


def unpacked(message: bytes, encoding: str) -> bytes:
    """Decompress a message; raises Internal and ResourceExhausted."""
    bits = WINDOW_BITS.get(encoding)
    if bits is None:
        raise Internal("A message is said to be compressed, but the header grpc-encoding does not say how.")
    unpacker = zlib.decompressobj(bits)
    try:
        content = unpacker.decompress(message, LARGEST_MESSAGE_BYTES)
    except zlib.error as error:
        raise Internal(f"The message cannot be decompressed: {error}") from error
    if unpacker.unconsumed_tail:
        raise ResourceExhausted(f"Messages may have {LARGEST_MESSAGE_BYTES} bytes, decompressed.")
    if not unpacker.eof:
        raise Internal("The compressed message is cut short.")
    if unpacker.unused_data:
        raise Internal("The compressed message ends before its last bytes.")
    return content
