"""What the headers of a call say, and the header blocks of answers."""

from __future__ import annotations

import random
from urllib.parse import unquote

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.http2 import grpc_heads
from core.http2.frames import BrokenConnection, Fault
from core.http2.grpc_heads import (
    LARGEST_HEAD_BYTES,
    MOST_KNOWN_BLOCKS,
    OPENING_BLOCK,
    HeadReader,
    bounded_text,
    end_block,
    header_block,
    http_refusal_block,
    read_head,
    refusal_block,
)
from tests.support.doors.raw_http2 import PREDICT, head_block, head_fields


def decoded(block: bytes) -> list[tuple[str, str]]:
    """Decode a block as a client does."""
    return [(str(name), str(value)) for name, value in Decoder().decode(block)]


def test_a_call_says_what_it_wants() -> None:
    """Path, time, encoding, and the caller's own headers."""
    fields = head_fields(
        PREDICT, (b"grpc-timeout", b"250m"), (b"grpc-encoding", b"gzip"), (b"a-bin", b"/w"), (b"b", b"\xff")
    )

    head = read_head(tuple(fields))

    assert (head.path, head.timeout_s, head.encoding) == (PREDICT, 0.25, "gzip")
    assert (head.code, head.problem, head.http_status, head.is_malformed) == (Code.OK, "", 0, False)
    assert head.metadata[-2:] == (("a-bin", "/w"), ("b", "\xff"))
    assert not any(name.startswith(":") for name, _ in head.metadata)
    assert not head.is_trailers


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9), (b"0n", 0)],
)
def test_times_have_units(timeout: bytes, seconds: float) -> None:
    """The six of gRPC."""
    assert read_head(tuple(head_fields(PREDICT, (b"grpc-timeout", timeout)))).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "timeout", [b"", b"1", b"S", b"-1S", b"1.5S", b"1s", b"123456789S", b"1S1", "\u0661S".encode()]
)
def test_a_time_that_cannot_be_read_is_told(timeout: bytes) -> None:
    """A call that would wait for ever instead would surprise its caller."""
    head = read_head(tuple(head_fields(PREDICT, (b"grpc-timeout", timeout))))

    assert head.code is Code.INTERNAL
    assert "grpc-timeout" in head.problem


def test_an_unknown_encoding_is_told_with_the_known_ones() -> None:
    """As gRPC's description of compression asks for."""
    head = read_head(tuple(head_fields(PREDICT, (b"grpc-encoding", b"snappy"))))

    assert head.code is Code.UNIMPLEMENTED
    assert "gzip" in head.problem


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/grpc", 0),
        (b"application/grpc+proto", 0),
        (b"Application/GRPC;charset=x", 0),
        (b"application/grpc-web", 415),
        (b"application/json", 415),
        (b"", 415),
    ],
)
def test_what_is_no_grpc_gets_a_status_of_http(kind: bytes, status: int) -> None:
    """Its client could not read any other."""
    pseudo = head_fields()[:4]

    assert read_head((*pseudo, (b"content-type", kind))).http_status == status
    assert read_head(tuple(head_fields(method=b"GET"))).http_status == 405


SCHEME, PATH, METHOD = (b":scheme", b"http"), (b":path", b"/x"), (b":method", b"POST")


@pytest.mark.parametrize(
    "fields",
    [
        (SCHEME, PATH),
        (METHOD, PATH),
        (METHOD, SCHEME),
        (METHOD, SCHEME, (b":path", b"")),
        (METHOD, METHOD, SCHEME, PATH),
        (METHOD, SCHEME, PATH, (b":status", b"200")),
        (METHOD, SCHEME, PATH, (b":odd", b"")),
        (METHOD, SCHEME, (b"a", b""), PATH),
        (METHOD, SCHEME, PATH, (b"Content-Type", b"application/grpc")),
        (METHOD, SCHEME, PATH, (b"connection", b"close")),
        (METHOD, SCHEME, PATH, (b"transfer-encoding", b"chunked")),
    ],
)
def test_what_http2_forbids_is_malformed(fields) -> None:
    """RFC 9113, 8.2 and 8.3."""
    assert read_head(fields).is_malformed


def test_trailers_have_no_pseudo_headers() -> None:
    """That tells them from a request."""
    assert read_head(((b"a", b"b"),)).is_trailers
    assert not read_head(((b"a", b"b"), PATH)).is_trailers


def test_headers_that_are_too_large_are_refused() -> None:
    """The call alone; they are not kept."""
    head = read_head(tuple(head_fields(PREDICT, (b"a", b"x" * LARGEST_HEAD_BYTES))))

    assert head.code is Code.RESOURCE_EXHAUSTED
    assert head.fields == ()


@given(
    heads=st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.sampled_from(["1S", "2S", "3S"]), st.booleans())),
    sizes=st.dictionaries(st.integers(0, 20), st.sampled_from([0, 60, 200, 4096])),
    seed=st.integers(),
)
def test_blocks_mean_what_they_say_whatever_came_before(heads, sizes, seed) -> None:
    """What is remembered of a block is forgotten when the table of headers changes, and when it may grow."""
    encoder, reader, chance = Encoder(), HeadReader(), random.Random(seed)
    for number, (path, timeout, is_indexed) in enumerate(heads):
        encoder.header_table_size = sizes.get(number, encoder.header_table_size)
        fields = head_fields(path, (b"grpc-timeout", timeout.encode()), (b"x", b"y" * chance.choice([1, 90])))
        block = encoder.encode([(*one, not is_indexed) for one in fields] if number % 2 else fields)

        head = reader.read(block)

        assert head.path == path
        assert head.timeout_s == float(timeout[0])
        assert head.fields == tuple(fields)


def test_a_block_that_did_not_fit_is_not_remembered_past_a_larger_table() -> None:
    """Its headers enter the table then, at the other end too."""
    reader, entry = HeadReader(), b"\x40\x01a\x01b"
    start, indexed = head_block(), b"\xbe"
    reader.read(b"\x20" + start)
    reader.read(start + entry)
    reader.read(b"\x3f\xe1\x1f" + start)

    assert reader.read(start + entry).fields[-1] == (b"a", b"b")
    assert reader.read(start + indexed).fields[-1] == (b"a", b"b")


def test_a_block_that_is_known_is_not_decoded_again(monkeypatch) -> None:
    """That is most of what headers cost."""
    reader = HeadReader()
    first = reader.read(head_block())

    assert reader.read(head_block()) is first


def test_few_and_small_blocks_are_remembered() -> None:
    """Clients choose them, so they must not fill the memory."""
    reader = HeadReader()
    for number in range(MOST_KNOWN_BLOCKS + 10):
        assert reader.read(head_block(f"/{number}")).path == f"/{number}"
    assert len(reader._known) == 10

    for block in (head_block("/" + "x" * 2000), head_block() + b"\x90" * 100):
        assert reader.read(block) is not reader.read(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x40\x7f\xff\xff\x01a",
        b"\x40\x81\xff\x01a",
        b"\x3f\xe2\x1f",
        b"\x82\x20",
        b"\x00\x01a\x7f\x81\xff\xff\x7f",
    ],
    ids=["index 0", "unknown index", "huge index", "cut name", "bad Huffman code", "table too large", "late update", "cut value"],
)  # fmt: skip
def test_what_cannot_be_decoded_ends_the_connection(block: bytes) -> None:
    """Both ends no longer have the same table."""
    with pytest.raises(BrokenConnection) as caught:
        HeadReader().read(block)

    assert caught.value.fault is Fault.COMPRESSION_ERROR


def test_a_small_block_that_becomes_huge_ends_the_connection() -> None:
    """A byte can name a header of four thousand."""
    reader, large = HeadReader(), b"x" * 3000
    reader.read(b"\x40\x01a\x7f" + bytes([0xB9, 0x16]) + large)

    with pytest.raises(BrokenConnection):
        reader.read(b"\xbe" * 1000)


@given(st.binary(max_size=200))
def test_random_blocks_never_raise_anything_else(block: bytes) -> None:
    """Nor do they if one was read before."""
    reader = HeadReader()
    for _ in range(2):
        try:
            reader.read(block)
        except BrokenConnection:
            return


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=20_000)), max_size=5))
def test_blocks_are_read_as_they_were_written(fields: list[tuple[bytes, bytes]]) -> None:
    """Whatever the lengths."""
    assert [tuple(one) for one in Decoder(2**20).decode(header_block(fields), raw=True)] == fields


@given(st.text())
def test_texts_of_errors_arrive_whole(text: str) -> None:
    """Percent-encoded where need be; within, nothing that a header may not hold."""
    fields = dict(decoded(end_block(5, text)))

    sent = fields.get("grpc-message", "")
    assert unquote(sent) == text.encode("utf-8", "replace").decode()
    assert sent == sent.strip(" ")
    assert all(" " <= one <= "~" for one in sent)


def test_answers_are_what_grpc_describes() -> None:
    """A refusal is headers and trailers in one."""
    assert decoded(OPENING_BLOCK)[0] == (":status", "200")
    assert decoded(refusal_block(12, "a\nb")) == [
        *decoded(OPENING_BLOCK),
        ("grpc-status", "12"),
        ("grpc-message", "a%0Ab"),
    ]
    assert decoded(end_block(0, "")) == [("grpc-status", "0")]
    assert decoded(http_refusal_block(415))[0] == (":status", "415")
    assert decoded(grpc_heads.GOOD_END_BLOCK) == [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x" * 3000, "x" * 1024 + "...TRUNCATED", id="case_F22"),
        pytest.param("x" * 1025, "x" * 1024 + "...TRUNCATED", id="one byte too long"),
        pytest.param("x" * 1024, "x" * 1024, id="just fits"),
        pytest.param("", "", id="empty"),
        pytest.param("x" * 1023 + "ß", "x" * 1023 + "...TRUNCATED", id="a character at the cut"),
        pytest.param("\ud800", "?", id="not text"),
    ],
)
def test_a_long_text_is_cut(text, expected) -> None:
    """The limit counts bytes, and a character is never cut in two."""
    assert bounded_text(text) == expected


@given(st.text("aß☃𝄞", min_size=300, max_size=400))
def test_a_cut_text_is_text(text) -> None:
    """What is sent is always valid UTF-8 of bounded length, and starts like the whole."""
    sent = bounded_text(text)

    assert len(sent.encode()) <= 1024 + len("...TRUNCATED")
    assert text.startswith(sent.removesuffix("...TRUNCATED"))


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"9" * 5000, b"\xb2"])
def test_a_content_length_that_is_not_a_number_makes_a_request_malformed(value: bytes) -> None:
    """It is never read as one."""
    assert read_head((*head_fields(), (b"content-length", value))).is_malformed
