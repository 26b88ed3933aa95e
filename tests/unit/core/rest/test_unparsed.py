"""Which bytes a parser may have next, and how line feeds become CRLF for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rest.unparsed import MixedLineEndsError, Place, UnparsedBytes, is_one_request

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
LF_HEAD = HEAD.replace(b"\r\n", b"\n")
MOST = 1000


def of(*parts: bytes) -> UnparsedBytes:
    """Return these bytes, as they arrived."""
    unparsed = UnparsedBytes()
    for part in parts:
        unparsed.add(part)
    return unparsed


@pytest.mark.parametrize("head", [HEAD, LF_HEAD], ids=["CRLF", "LF"])
def test_a_piece_of_a_head_ends_with_it(head: bytes) -> None:
    """What follows is a body, or another request."""
    unparsed = of(head + b"a\nbGET /")

    assert bytes(unparsed.next_piece(Place.START, MOST)) == HEAD
    unparsed.head_ended()
    assert bytes(unparsed.next_piece(Place.BODY, 3)) == b"a\nb"
    assert unparsed.size == len(b"GET /")


@given(
    head=st.sampled_from([HEAD, LF_HEAD]),
    cuts=st.lists(st.integers(1, len(LF_HEAD)), max_size=6),
    most=st.integers(1, 60),
)
def test_a_head_is_read_in_any_pieces(head: bytes, cuts: list[int], most: int) -> None:
    """However the network cuts it, and however little the parser may have at once."""
    unparsed = UnparsedBytes()
    places = sorted({0, *cuts, len(head)})
    got, place = b"", Place.START
    for start, end in pairwise(places):
        unparsed.add(head[start:end] + (b"a\r\n\nb" if end == len(head) else b""))
        while unparsed.size and not got.endswith(b"\r\n\r\n"):
            got += bytes(unparsed.next_piece(place, most))
            place = Place.HEAD

    assert got == HEAD
    assert bytes(unparsed.next_piece(Place.BODY, MOST)) == b"a\r\n\nb"


@pytest.mark.parametrize(("head", "cut"), [(head, cut) for head in (HEAD, LF_HEAD) for cut in range(1, len(head))])
def test_a_head_in_two_reads_is_the_same_head(head: bytes, cut: int) -> None:
    """Wherever the network cuts it: at an end of a line, or in the midst of the last one."""
    unparsed = of(head[:cut])
    first = bytes(unparsed.next_piece(Place.START, MOST))
    unparsed.add(head[cut:] + b"\n\r\n")

    assert first + bytes(unparsed.next_piece(Place.HEAD, MOST)) == HEAD
    assert bytes(unparsed.next_piece(Place.BODY, MOST)) == b"\n\r\n"


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\nA: b\r\n\r\n", b"GET / HTTP/1.1\nA: b\n\r\n", b"GET / HTTP/1.1\nA: b\rc\n\n"],
    ids=["CRLF", "last line", "bare CR"],
)
def test_a_head_that_mixes_ends_of_lines_is_refused(head: bytes) -> None:
    """An intermediary may have seen other fields in it."""
    with pytest.raises(MixedLineEndsError):
        of(head + b"\n\n").next_piece(Place.START, MOST)


def test_lf_in_a_head_with_crlf_stays_for_the_parser_to_refuse() -> None:
    """Nothing of such a head is changed."""
    head = b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n"

    assert bytes(of(head).next_piece(Place.START, MOST)) == head


def test_empty_lines_before_a_request_are_dropped() -> None:
    """Some clients send one after a body."""
    unparsed = of(b"\r\n\r", b"\n", HEAD)

    assert bytes(unparsed.next_piece(Place.START, MOST)) == HEAD
    assert of(b"\r\n").next_piece(Place.START, MOST) == b""


def test_few_empty_lines_are_dropped_at_once() -> None:
    """As many bytes as the parser may have next: a client may send nothing else."""
    unparsed = of(b"\r\n" * 5 + HEAD)

    assert unparsed.next_piece(Place.START, 4) == b""
    assert unparsed.size == 6 + len(HEAD)
    assert unparsed.next_piece(Place.START, 4) == b""
    assert bytes(unparsed.next_piece(Place.START, MOST)) == HEAD


def test_what_is_dropped_is_gone() -> None:
    """Its memory, too."""
    unparsed = of(HEAD)
    unparsed.clear()
    unparsed.add(b"x")

    assert (unparsed.size, bytes(unparsed.next_piece(Place.BODY, MOST))) == (1, b"x")


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        pytest.param(HEAD + b"abc", True, id="request"),
        pytest.param(HEAD + b"a", True, id="first part of a request"),
        pytest.param(HEAD + b"abcG", False, id="request and more"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", True, id="no body"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" * 2, False, id="two requests"),
        pytest.param(HEAD[:-2], False, id="half a head"),
        pytest.param(LF_HEAD + b"\r\n\r\n", False, id="LF"),
        pytest.param(b"POST / HTTP/1.1\r\nA: " + b"b" * MOST + b"\r\n\r\n", False, id="large head"),
        pytest.param(b"POST / HTTP/1.1\r\nX-Content-Length: 9\r\n\r\nabc", False, id="name that ends alike"),
        pytest.param(b"POST / HTTP/1.1\r\nCONTENT-LENGTH:\t 3 \r\n\r\nabc", True, id="blanks and case"),
    ],
)
def test_a_read_that_holds_one_request_is_known(data: bytes, is_one: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """It goes to the parser as it is, because nothing behind it would be parsed too early."""
    assert is_one_request(data, MOST) == is_one
