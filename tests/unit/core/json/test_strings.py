"""Tests of quoting and base64."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.json.exact_parser import parse_exactly
from core.json.strings import decode_base64, is_text, quote, raw_bytes, text_of


@given(st.binary())
@example(bytes(range(256)))
@example(b"\xed\xa0\x80\xc3")
def test_quoted_bytes_read_back_the_same(raw: bytes) -> None:
    """Whatever a model puts out, clients get its bytes."""
    assert raw_bytes(str(parse_exactly(quote(raw)))) == raw


@given(st.binary())
@example(bytes(range(256)))
@example(b"\xed\xa0\x80\xc3")
def test_any_bytes_survive_as_text(raw: bytes) -> None:
    """Strings inside the server lose nothing."""
    assert raw_bytes(text_of(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "quoted"),
    [
        (b"a/b", b'"a/b"'),
        (b'"\\', rb'"\"\\"'),
        (b"\b\f\n\r\t\x1f\0", rb'"\b\f\n\r\t\u001F\u0000"'),
        (b"\xff", b'"\xff"'),
    ],
)
def test_escapes_are_short_where_they_can_be(raw: bytes, quoted: bytes) -> None:
    """Other control characters get upper-case hexadecimal digits, the slash nothing."""
    assert quote(raw) == quoted


@pytest.mark.parametrize(
    "text",
    ["aGVsbG8=", "aGVsbG8", " aGVs\nbG8 =", "aGVsbG8=\n", "aGVsbG8."],
    ids=["padded", "bare", "spaced", "newline", "dot"],
)
def test_base64_padding_and_white_space_are_optional(text: str) -> None:
    """Both of the usual encoders are understood."""
    assert decode_base64(text) == b"hello"


@pytest.mark.parametrize(
    "text", ["a", "aGVsbG8==", "aGVs*G8=", "aGVs=", "aG=sbG8", "aGVsbG-_", "é", "aGVs====", "===="]
)
def test_bad_base64_is_refused(text: str) -> None:
    """Only the standard alphabet counts, and padding must be right if it is there."""
    with pytest.raises(InvalidArgument, match=r"^Unable to base64 decode$"):
        decode_base64(text)


def test_strings_are_text_or_not() -> None:
    """Bytes that are not UTF-8, and halves of surrogate pairs, are none."""
    assert is_text("grüße 🙂\0")
    assert not is_text(text_of(b"a\xff"))
    assert not is_text("\ud800")
