"""Header compression by the sections of RFC 7541: what our gRPC port takes, and what ends a connection."""

from __future__ import annotations

import pytest
from hpack import Encoder

from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.http2_probes import (
    ENDS_CALM,
    ENDS_COMPRESSION,
    GOOD,
    GRPC,
    MALFORMED,
    NOTHING,
    POST,
    Bystander,
    Probe,
    block,
    data,
    headers,
    message,
    opened,
    settings,
    trailers,
)

HEAD = block(*POST, *GRPC)
NO_TABLE, WHOLE_TABLE, TOO_LARGE_TABLE = b"\x20", b"\x3f\xe1\x1f", b"\x3f\xe2\x1f"
TABLE = 1


def called(content: bytes, stream: int = 1) -> bytes:
    """Return a call with this header block."""
    return headers(stream, content) + data(stream, message(), "END_STREAM")


def with_encoder(*sizes: int) -> bytes:
    """Return calls whose blocks use the table, which is set to another size before each."""
    encoder, content = Encoder(), b""
    for number, size in enumerate(sizes):
        encoder.header_table_size = size
        content += called(encoder.encode([*POST, *GRPC, (b"a", b"b" * 40)]), 2 * number + 1)
    return content


LITERALS = b"".join(
    [
        b"\x04" + bytes([len(POST[2][1])]) + POST[2][1],
        b"\x83\x86",
        b"\x41\x01x",
        b"\x0f\x10\x10application/grpc",
        b"\x10\x02te\x08trailers",
    ]
)
"""The head of a call, with a literal of every kind: without indexing, with it, never indexed; names by index and not."""

PROBES = [
    Probe("2.3.2", "entries of the table", with_encoder(4096, 4096, 4096), GOOD),
    Probe("2.3.3", "the last index of the static table", called(HEAD + b"\xbd"), GOOD),
    Probe("2.3.3", "an index beyond the tables", called(HEAD + b"\xfe"), ENDS_COMPRESSION),
    Probe("2.3.3", "an index of an entry that was evicted", called(HEAD + b"\x40\x01a\x01b") + called(NO_TABLE + HEAD + b"\xbe", 3), ENDS_COMPRESSION),
    Probe("3.2", "a block that changes the table, for a stream that is refused", headers(1, block(*POST[1:]) + b"\x40\x01a\x01b", "END_STREAM") + called(HEAD + b"\xbe", 3), MALFORMED),
    Probe("4.2", "a table of another size", with_encoder(4096, 0, 4096, 60, 100), GOOD),
    Probe("4.2", "a table that is too large", called(TOO_LARGE_TABLE + HEAD), ENDS_COMPRESSION),
    Probe("4.2", "the table at its limit", called(WHOLE_TABLE + HEAD), GOOD),
    Probe("4.2", "two sizes at once", called(NO_TABLE + WHOLE_TABLE + HEAD), GOOD),
    Probe("4.2", "a size behind a field", called(HEAD + NO_TABLE), ENDS_COMPRESSION),
    Probe("4.2", "a size alone, in trailers", opened() + data(1, message()) + headers(1, NO_TABLE, "END_STREAM"), GOOD),
    Probe("4.2", "our own table, reduced and grown", settings((TABLE, 0), (TABLE, 4096)) + called(HEAD), GOOD),
    Probe("4.2", "our own table, of any size", settings((TABLE, 2**32 - 1)) + called(HEAD), GOOD),
    Probe("4.4", "an entry larger than the table", called(HEAD + b"\x40\x01a\x7f\xa1\x1f" + b"x" * 4128) + called(HEAD, 3), GOOD),
    Probe("4.4", "the table is empty then", called(HEAD + b"\x40\x01a\x7f\xa1\x1f" + b"x" * 4128) + called(HEAD + b"\xbe", 3), ENDS_COMPRESSION),
    Probe("5.1", "a number that is cut short", called(HEAD + b"\xff"), ENDS_COMPRESSION),
    Probe("5.1", "a number that is too long", called(HEAD + b"\xff" + b"\x80" * 20 + b"\x00"), ENDS_COMPRESSION),
    Probe("5.1", "a number that is too large", called(HEAD + b"\xff\xff\xff\xff\xff\x0f"), ENDS_COMPRESSION),
    Probe("5.2", "a name that is cut short", called(HEAD + b"\x00\x05a"), ENDS_COMPRESSION),
    Probe("5.2", "a value that is cut short", called(HEAD + b"\x00\x01a\x05b"), ENDS_COMPRESSION),
    Probe("5.2", "a value that is missing", called(HEAD + b"\x00\x01a"), ENDS_COMPRESSION),
    Probe("5.2", "Huffman's code", called(HEAD + b"\x00\x81\x1f\x82\xff\xe6"[:3] + b"\x81\x1f"), GOOD),
    Probe("5.2", "padding of more than seven bits", called(HEAD + b"\x00\x01a\x82\x1f\xff"), ENDS_COMPRESSION),
    Probe("5.2", "padding that is not of ones", called(HEAD + b"\x00\x01a\x81\x18"), ENDS_COMPRESSION),
    Probe("5.2", "the end of Huffman's code within a text", called(HEAD + b"\x00\x01a\x84\xff\xff\xff\xff"), ENDS_COMPRESSION),
    Probe("6.1", "index 0", called(HEAD + b"\x80"), ENDS_COMPRESSION),
    Probe("6.2", "literals of every kind", called(LITERALS), GOOD),
    Probe("6.2", "an entry that never is indexed", called(HEAD + b"\x10\x01a\x01b") + called(HEAD + b"\xbe", 3), ENDS_COMPRESSION),
    Probe("7.1", "a block that cannot be decoded, as trailers", opened() + headers(1, b"\x80", "END_STREAM"), ENDS_COMPRESSION),
    Probe("7.1", "a block that cannot be decoded, on a stream that has ended", opened() + trailers() + headers(1, b"\x80"), ENDS_COMPRESSION),
    Probe("7.3", "a small block that becomes huge", called(HEAD + b"\x40\x01a\x7f\xb9\x16" + b"x" * 3000) + called(b"\xbe" * 1000, 3), ENDS_CALM),
    Probe("4.1", "an empty block", headers(1, b"", "END_STREAM"), MALFORMED),
    Probe("4.1", "an empty block, as trailers", opened() + data(1, message()) + headers(1, b"", "END_STREAM"), NOTHING),
]  # fmt: skip


@pytest.mark.parametrize("probe", PROBES, ids=lambda one: one.id)
def test_blocks_are_decoded_as_the_section_says(probed_site: GrpcSite, bystander: Bystander, probe: Probe) -> None:
    """An error leaves two tables that differ, so the connection ends; no other is concerned."""
    probe.run(probed_site)

    assert bystander.ask() == "0"
