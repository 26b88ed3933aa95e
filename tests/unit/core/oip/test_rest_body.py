"""Tests of bodies between router and model server: JSON, raw tensors, and the length at the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Internal, InvalidArgument
from core.oip.rest_body import ALL_JSON, LENGTH_BYTES, cut_footer, footer, json_length, split_body


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_body_comes_apart_as_it_was_put_together(json: bytes, raw: bytes) -> None:
    """Only a length of zero says that there is no JSON."""
    body = split_body(json + raw + footer(len(json)))

    assert (bytes(body.json), bytes(body.raw), body.is_raw_request) == (json, raw, not json)


@given(st.binary(max_size=20))
def test_without_a_length_all_is_json(content: bytes) -> None:
    """An empty body is JSON, too, if not good one."""
    body = split_body(content + footer(ALL_JSON))

    assert (bytes(body.json), bytes(body.raw), body.is_raw_request) == (content, b"", False)


def test_nothing_is_copied() -> None:
    """Bodies may be large."""
    whole = bytearray(b"{}raw" + footer(2))
    body = split_body(whole)

    assert np.shares_memory(np.frombuffer(body.raw, np.uint8), np.frombuffer(whole, np.uint8))


def test_a_body_without_its_length_is_a_defect() -> None:
    """Routers always send one."""
    with pytest.raises(Internal, match="lacks the length"):
        split_body(b"123")
    assert len(footer(0)) == LENGTH_BYTES


@pytest.mark.parametrize(
    ("header", "length"),
    [(b"", ALL_JSON), (b"0", 0), (b"10", 10), (b"007", 7), (b" 7 ", 7), (b"\t7", 7), (b"0" * 20 + b"7", 7)],
)
def test_the_header_gives_the_length_of_the_json(header: bytes, length: int) -> None:
    """Without one, all is JSON."""
    assert json_length(header, 10) == length


@pytest.mark.parametrize(
    "header", [b"11", b"-1", b"+1", b"1.0", b"x", b"1 2", b"1,2", b"9" * 5000, "٣".encode(), b"\xff", b" "]
)
def test_f_an_impossible_length_is_refused(header: bytes) -> None:
    """With what is possible."""
    with pytest.raises(InvalidArgument, match="and not a number of bytes from 0 to 10, the size of the body"):
        json_length(header, 10)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_an_answer_stays_whole_when_its_footer_is_cut(kind: type) -> None:
    """The caller's answer is compared with another version's after it was written."""
    body = kind(b"{}raw" + footer(2))

    content, length = cut_footer(body)

    assert (bytes(content), length, bytes(body)) == (b"{}raw", 2, b"{}raw" + footer(2))
