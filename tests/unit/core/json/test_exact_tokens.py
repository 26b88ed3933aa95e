"""Scalars of a JSON text: their values, where the text goes on, and the offsets of errors."""

from __future__ import annotations

import math
import re

import pytest

from core.errors import InvalidArgument
from core.inference.giving_up import GivenUp, giving_up_when
from core.json.exact_tokens import INVALID_VALUE, NUMBER_TOO_BIG, read_scalar, read_string


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [
        (b"null]", None, 4),
        (b"true", True, 4),
        (b"false,", False, 5),
        (b"-0", 0, 2),
        (b"-0.0", -0.0, 4),
        (b"9223372036854775808 ", 2**63, 19),
        (b"-9223372036854775808", -(2**63), 20),
        (b"18446744073709551616", 2.0**64, 20),
        (b"1e2,", 100.0, 3),
        (b"1E-400", 0.0, 6),
        (b'"a\\n\\u00e9"x', "a\né", 11),
        (b'"\\ud834\\udd1e"', "𝄞", 14),
        (b'"\xff"', "\udcff", 3),
        (b"Inf", math.inf, 3),
        (b"-Infinity", -math.inf, 9),
    ],
)
def test_a_scalar_is_read_with_its_end(text, value, end) -> None:
    """Integers that fit 64 bits are integers, all other numbers are floats."""
    token = read_scalar(text, 0)

    assert (repr(token.value), token.end) == (repr(value), end)


def test_nan_is_read() -> None:
    """With or without a minus, which it does not keep."""
    assert math.isnan(read_scalar(b"NaN", 0).value)
    assert math.isnan(read_scalar(b"-NaN", 0).value)


@pytest.mark.parametrize(
    ("text", "reason", "offset"),
    [
        (b"nul", INVALID_VALUE, 3),
        (b"trap", INVALID_VALUE, 2),
        (b"-", INVALID_VALUE, 1),
        (b"+1", INVALID_VALUE, 0),
        (b"Info", None, None),
        (b"Infini", INVALID_VALUE, 6),
        (b"1.", "Miss fraction part in number.", 2),
        (b"1e", "Miss exponent in number.", 2),
        (b"1e+", "Miss exponent in number.", 3),
        (b"1e309", NUMBER_TOO_BIG, 0),
        (b"0e309", NUMBER_TOO_BIG, 0),
        (b"1" * 400, NUMBER_TOO_BIG, 0),
    ],
)
def test_a_scalar_that_breaks_off_is_refused_at_its_offset(text, reason, offset) -> None:
    """The words and offsets are RapidJSON's; `Info` is an infinity that something follows."""
    if reason is None:
        assert read_scalar(text, 0).end == 3
        return
    with pytest.raises(InvalidArgument, match=f"^{re.escape(f'JSON Parse error: {reason} at offset: {offset}')}$"):
        read_scalar(text, 0)


@pytest.mark.parametrize(
    ("text", "reason", "offset"),
    [
        (b'"abc', "Missing a closing quotation mark in string.", 4),
        (b'"a\\x"', "Invalid escape character in string.", 2),
        (b'"a\nb"', "Invalid escape character in string.", 2),
        (b'"\\u12g4"', "Incorrect hex digit after \\u escape in string.", 1),
        (b'"\\ud834x"', "The surrogate pair in string is invalid.", 1),
    ],
)
def test_a_string_that_cannot_go_on_is_refused_at_its_offset(text, reason, offset) -> None:
    """An escape is refused where it begins."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(f'JSON Parse error: {reason} at offset: {offset}')}$"):
        read_string(text, 0)


def test_a_string_of_nothing_but_escapes_is_given_up() -> None:
    """Millions of them take seconds."""
    with giving_up_when(lambda: True), pytest.raises(GivenUp):
        read_string(rb'"\n\n"', 0)
