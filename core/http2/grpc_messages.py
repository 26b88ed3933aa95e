"""gRPC's messages within the body of a request or an answer: a prefix of five bytes before each, perhaps compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from core.errors import Internal, ResourceExhausted

PREFIX_BYTES: Final = 5
LARGEST_MESSAGE_BYTES: Final = 2**31 - 1
WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def prefix(length: int) -> bytes:
    """Return what goes before an uncompressed message."""
    return b"\x00" + length.to_bytes(4, "big")


def only_message(parts: Sequence[bytes | bytearray]) -> tuple[bool, bytes]:
    """Return whether the one message of a whole body is compressed, and the message.

    Raises Internal where there is not exactly one, and ResourceExhausted.
    """
    first = bytes(parts[0]) if parts and len(parts[0]) >= PREFIX_BYTES else b"".join(parts)
    others = parts[1:] if parts and len(parts[0]) >= PREFIX_BYTES else ()
    if len(first) < PREFIX_BYTES:
        raise Internal("The call ended before its message." if first else "The call has no message.")
    length = int.from_bytes(first[1:PREFIX_BYTES], "big")
    require_allowed(length)
    message = b"".join((memoryview(first)[PREFIX_BYTES:], *others)) if others else first[PREFIX_BYTES:]
    if len(message) < length:
        raise Internal("The call ended before its message.")
    if len(message) > length:
        raise Internal("The call has more than one message.")
    return is_compressed(first[0]), message


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
            with memoryview(self._rest) as view:
                flag, message = view[0], bytes(view[PREFIX_BYTES:end])
            del self._rest[:end]
            yield is_compressed(flag), message


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
