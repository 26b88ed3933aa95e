"""Messages within bodies: how they are cut out, and what is said of those that are not whole."""

from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Internal, ResourceExhausted
from core.http2 import grpc_messages
from core.http2.grpc_messages import MessageReader, only_message, prefix, unpacked
from tests.support.doors.raw_http2 import message

CLAIM_4_GIB = b"\x00\xff\xff\xff\xff"


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut bytes into parts."""
    edges = [0, *sorted(min(one, len(data)) for one in at), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("kind", [bytes, bytearray])
@given(body=st.binary(max_size=100), is_compressed=st.booleans())
def test_the_only_message_is_found(kind, body, is_compressed) -> None:
    """In a small body, and in the memory that a large one came into."""
    whole = bytes([is_compressed]) + prefix(len(body))[1:] + body

    assert only_message(kind(whole)) == (is_compressed, body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The call has no message."),
        (b"\x00\x00", "The call ended before its message."),
        (message(b"abc")[:-1], "The call ended before its message."),
        (message(b"abc") + b"d", "The call has more than one message."),
        (message(b"") * 2, "The call has more than one message."),
    ],
)
def test_a_call_has_one_message(body: bytes, text: str) -> None:
    """What is missing or too much is told."""
    with pytest.raises(Internal) as caught:
        only_message(body)

    assert str(caught.value) == text


def test_a_claim_of_four_gibibytes_is_refused() -> None:
    """Before anything of it is kept."""
    with pytest.raises(ResourceExhausted):
        only_message(CLAIM_4_GIB)
    with pytest.raises(ResourceExhausted):
        list(MessageReader().take(CLAIM_4_GIB))


@given(st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(0, 300), max_size=10))
def test_messages_are_found_however_the_body_is_cut(bodies: list[bytes], at: list[int]) -> None:
    """In their order, each once."""
    reader = MessageReader()

    found = [one for part in cut(b"".join(map(message, bodies)), at) for one in reader.take(part)]

    assert found == [(False, body) for body in bodies]
    assert reader.is_between_messages


def test_a_message_that_is_not_whole_is_noticed() -> None:
    """A body that ends there is cut short."""
    reader = MessageReader()

    assert list(reader.take(message(b"one") + b"\x01\x00\x00")) == [(False, b"one")]
    assert not reader.is_between_messages
    assert list(reader.take(b"\x00\x00")) == [(True, b"")]
    assert reader.is_between_messages


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@given(body=st.binary(max_size=1000))
def test_compressed_messages_are_unpacked(encoding: str, pack, body: bytes) -> None:
    """Deflate means zlib's format, as everywhere in HTTP."""
    assert unpacked(pack(body), encoding) == body


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"abc", "identity", "does not say how"),
        (b"nonsense", "gzip", "cannot be decompressed"),
        (gzip.compress(b"abc", mtime=0), "deflate", "cannot be decompressed"),
        (gzip.compress(b"abc", mtime=0)[:-1], "gzip", "cut short"),
        (b"", "gzip", "cut short"),
        (gzip.compress(b"abc", mtime=0) + b"d", "gzip", "ends before its last bytes"),
    ],
)
def test_what_cannot_be_unpacked_is_told(content: bytes, encoding: str, text: str) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(Internal, match=text):
        unpacked(content, encoding)


def test_a_bomb_is_unpacked_no_further_than_messages_go(monkeypatch) -> None:
    """The limit holds for what comes out."""
    monkeypatch.setattr(grpc_messages, "LARGEST_MESSAGE_BYTES", 1000)

    assert len(unpacked(gzip.compress(bytes(1000)), "gzip")) == 1000
    with pytest.raises(ResourceExhausted, match="decompressed"):
        unpacked(gzip.compress(bytes(100_000)), "gzip")
