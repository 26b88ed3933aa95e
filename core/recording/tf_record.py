"""TFRecord files: TensorFlow's sequence of byte strings, each guarded by checksums; request logs and warm-up files.

A record is its length (8 bytes), the checksum of those 8 bytes, the data, and the checksum of the data; integers are
little-endian. Checksums are CRC-32C, masked so that the checksum of data which holds checksums stays a good one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import google_crc32c

from core.errors import DataLoss

LENGTH: Final = struct.Struct("<Q")
CHECKSUM: Final = struct.Struct("<I")
HEADER_BYTES: Final = LENGTH.size + CHECKSUM.size
MASK: Final = 0xA282EAD8
CHUNK_BYTES: Final = 1 << 20
"""Most bytes that are asked for at once: memory grows with the bytes of a file, not with the lengths that it claims."""


LONGEST_BYTES: Final = 2**64
"""What a length can say at most."""


class TruncatedRecord(DataLoss):
    """The last record of a file is not whole: its writer was killed, or still writes."""


def framed(data: bytes) -> bytes:
    """Return the bytes that a file holds for one record."""
    length = LENGTH.pack(len(data))
    return b"".join((length, masked_checksum(length), data, masked_checksum(data)))


def records(stream: BinaryIO, longest_bytes: int = LONGEST_BYTES) -> Iterator[bytes]:
    """Read records until the stream ends; raises DataLoss at the first one that is damaged or longer."""
    offset = 0
    while header := _read(stream, HEADER_BYTES):
        length = _length(header, offset)
        if length > longest_bytes:
            raise DataLoss(f"the record at {offset} has {length:,} bytes; at most {longest_bytes:,} are read")
        body = _read(stream, length + CHECKSUM.size)
        if len(body) < length + CHECKSUM.size:
            raise TruncatedRecord(f"truncated record at {offset}")
        data = body[:length]
        if body[length:] != masked_checksum(data):
            raise DataLoss(f"corrupted record at {offset}")
        yield data
        offset += HEADER_BYTES + len(body)


def masked_checksum(data: bytes) -> bytes:
    """Return the four bytes that guard data: its CRC-32C, rotated by 15 bits, plus a constant."""
    checksum = google_crc32c.value(data)
    rotated = checksum >> 15 | checksum << 17
    return CHECKSUM.pack(rotated + MASK & 0xFFFFFFFF)


def _length(header: bytes, offset: int) -> int:
    if len(header) < HEADER_BYTES:
        raise TruncatedRecord(f"truncated record at {offset}")
    length = header[: LENGTH.size]
    if header[LENGTH.size :] != masked_checksum(length):
        raise DataLoss(f"corrupted record at {offset}")
    return int(LENGTH.unpack(length)[0])


def _read(stream: BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end of the stream."""
    chunks: list[bytes] = []
    while count and (chunk := stream.read(min(count, CHUNK_BYTES))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
