"""Scalars of a JSON text, read as RapidJSON 1.1 reads them: values, ends, and the texts and offsets of errors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from core.errors import InvalidArgument
from core.inference.giving_up import go_on
from core.json.strings import text_of

INVALID_VALUE = "Invalid value."
NUMBER_TOO_BIG = "Number too big to be stored in double."

NUMBER = re.compile(rb"-?(0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
LARGEST_EXPONENT = 308
EXACT_SIGNIFICAND = 2**53 - 1
SIGNIFICANT_DIGITS = 17
SMALLEST_INT = -(2**63)
LARGEST_INT = 2**64 - 1
LONGEST_INT = 20

UNESCAPED = re.compile(rb'"([^"\\\x00-\x1f]*+)"')
ESCAPE = (
    rb'\\(?:["\\/bfnrt]'
    rb"|u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?![dD][89abAB])[0-9a-fA-F]{4}))"
)
STRING_BODY = re.compile(rb'"((?:[^"\\\x00-\x1f]++|(?>' + ESCAPE + rb"))*+)")
"""An escape is an atomic group for the reason that `core.json.exact_parser.RUN` gives."""
ANY_ESCAPE = re.compile(ESCAPE)
HEX4 = re.compile(rb"[0-9a-fA-F]{4}")

ESCAPED_BYTES: Mapping[bytes, bytes] = MappingProxyType(
    {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"\\": b"\\", b"/": b"/"}
)
WORDS: Mapping[bytes, tuple[bytes, bool | None]] = MappingProxyType(
    {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}
)


def parse_error(reason: str, offset: int) -> InvalidArgument:
    """Say that the text is not JSON; the offset counts bytes."""
    return InvalidArgument(f"JSON Parse error: {reason} at offset: {offset}")


class Token(NamedTuple):
    """A scalar and where the text goes on."""

    value: bool | int | float | str | None
    end: int


def read_scalar(text: bytes, at: int) -> Token:
    """Read the string, word or number that starts at an offset."""
    first = text[at : at + 1]
    if first == b'"':
        return read_string(text, at)
    if first in WORDS:
        return _word(text, at, *WORDS[first])
    return _number(text, at)


def read_string(text: bytes, at: int) -> Token:
    """Read the string that starts at an offset."""
    plain = UNESCAPED.match(text, at)
    if plain is not None:
        return Token(text_of(plain[1]), plain.end())
    match = STRING_BODY.match(text, at)
    end = match.end() if match else at
    if match is None or text[end : end + 1] != b'"':
        raise _string_error(text, end)
    return Token(text_of(ANY_ESCAPE.sub(_unescape, match[1])), end + 1)


def _word(text: bytes, at: int, word: bytes, value: bool | None) -> Token:  # noqa: FBT001
    matched = _matched(text, at, word)
    if matched < at + len(word):
        raise parse_error(INVALID_VALUE, matched)
    return Token(value, matched)


def _matched(text: bytes, at: int, word: bytes) -> int:
    """Return the offset up to which the text follows the word."""
    for expected in word:
        if text[at : at + 1] != bytes((expected,)):
            break
        at += 1
    return at


def _number(text: bytes, at: int) -> Token:
    match = NUMBER.match(text, at)
    if match is None:
        return _not_finite(text, at)
    _check_whole(match[1], at)
    _check_end(text, match)
    if match[2] is None and match[3] is None:
        return Token(_integer(match[0]), match.end())
    if match[3] is not None:
        _check_exponent(match, at)
    return Token(float(match[0]), match.end())


def _check_whole(whole: bytes, at: int) -> None:
    """Refuse more digits than a double can hold, whatever follows them."""
    if len(whole) > LARGEST_EXPONENT and math.isinf(float(whole)):
        raise parse_error(NUMBER_TOO_BIG, at)


def _check_end(text: bytes, match: re.Match[bytes]) -> None:
    """Refuse a number that breaks off after its point or its `e`."""
    end = match.end()
    following = text[end : end + 1]
    if following == b"." and match[2] is None and match[3] is None:
        raise parse_error("Miss fraction part in number.", end + 1)
    if following in (b"e", b"E") and match[3] is None:
        signed = text[end + 1 : end + 2] in (b"+", b"-")
        raise parse_error("Miss exponent in number.", end + 1 + signed)


def _check_exponent(match: re.Match[bytes], at: int) -> None:
    """Refuse exponents by their size alone, even of zero, as RapidJSON does."""
    digits = match[3][1:].lstrip(b"+").lstrip(b"0")
    if digits.startswith(b"-") or len(digits) < 2:
        return
    if len(digits) > 9 or int(digits) > LARGEST_EXPONENT + _fraction_digits(match[1], (match[2] or b".")[1:]):
        raise parse_error(NUMBER_TOO_BIG, at)


def _fraction_digits(whole: bytes, fraction: bytes) -> int:
    """Count the digits of a fraction that RapidJSON takes into its significand; later ones it only skips."""
    significand = int(whole)
    significant = fraction if significand else fraction.lstrip(b"0")
    digits = len(whole) - 1
    skipped = len(fraction) - len(significant)
    for count, digit in enumerate(significant):
        if significand > EXACT_SIGNIFICAND and digits >= SIGNIFICANT_DIGITS:
            return skipped + count
        significand = significand * 10 + digit - ord("0")
        digits += 1
    return len(fraction)


def _integer(digits: bytes) -> int | float:
    if len(digits) > LONGEST_INT:
        return float(digits)
    value = int(digits)
    return value if SMALLEST_INT <= value <= LARGEST_INT else float(value)


def _not_finite(text: bytes, at: int) -> Token:
    """Read NaN, Inf and Infinity, each with or without a minus."""
    negative = text[at : at + 1] == b"-"
    start = at + negative
    nan = _matched(text, start, b"NaN")
    if nan == start + 3:
        return Token(float("nan"), nan)
    end = _matched(text, nan, b"Inf")
    if end < nan + 3:
        raise parse_error(INVALID_VALUE, end)
    if text[end : end + 1] == b"i":
        start, end = end, _matched(text, end, b"inity")
        if end < start + 5:
            raise parse_error(INVALID_VALUE, end)
    return Token(float("-inf" if negative else "inf"), end)


def _unescape(match: re.Match[bytes]) -> bytes:
    go_on()
    escape = match[0]
    if escape[1:2] != b"u":
        return ESCAPED_BYTES[escape[1:2]]
    codepoint = int(escape[2:6], 16)
    if len(escape) > 6:
        codepoint = ((codepoint - 0xD800) << 10) + int(escape[8:12], 16) - 0xDC00 + 0x10000
    return chr(codepoint).encode("utf-8", "surrogatepass")


def _string_error(text: bytes, end: int) -> InvalidArgument:
    """Say why a string cannot go on at an offset."""
    following = text[end : end + 1]
    if following in (b"", b"\0"):
        return parse_error("Missing a closing quotation mark in string.", end)
    if following != b"\\" or text[end + 1 : end + 2] != b"u":
        return parse_error("Invalid escape character in string.", end)
    bad_hex = parse_error("Incorrect hex digit after \\u escape in string.", end)
    if HEX4.match(text, end + 2) is None:
        return bad_hex
    second_is_escape = text[end + 6 : end + 8] == b"\\u"
    if second_is_escape and HEX4.match(text, end + 8) is None:
        return bad_hex
    return parse_error("The surrogate pair in string is invalid.", end)
