"""Tests of the exact JSON parser."""

from __future__ import annotations

import json
import math
import sys
from time import process_time

import pytest

from core.errors import InvalidArgument
from core.json.exact_parser import parse_exactly, parse_whole
from core.json.values import JsonObject

MISS_COMMA_IN_OBJECT = "Missing a comma or '}' after an object member."
MISS_COMMA_IN_ARRAY = "Missing a comma or ']' after an array element."
BAD_HEX = "Incorrect hex digit after \\u escape in string."
BAD_PAIR = "The surrogate pair in string is invalid."
BAD_ESCAPE = "Invalid escape character in string."
TOO_BIG = "Number too big to be stored in double."


@pytest.mark.parametrize(
    ("text", "reason", "offset"),
    [
        (b"  ", "The document is empty.", 2),
        (b"\xef\xbb\xbf", "The document is empty.", 3),
        (b"]", "The document is empty.", 0),
        (b"\0", "The document is empty.", 0),
        (b"abc", "Invalid value.", 0),
        (b"nulx", "Invalid value.", 3),
        (b"tru", "Invalid value.", 3),
        (b"[", "Invalid value.", 1),
        (b"[1,]", "Invalid value.", 3),
        (b"[ ,", "Invalid value.", 2),
        (b'{"a":', "Invalid value.", 5),
        (b'{"a":}', "Invalid value.", 5),
        (b"+1", "Invalid value.", 0),
        (b"-", "Invalid value.", 1),
        (b".5", "Invalid value.", 0),
        (b"Nan", "Invalid value.", 2),
        (b"Infinit", "Invalid value.", 7),
        (b"Infix", "Invalid value.", 4),
        (b"-I", "Invalid value.", 2),
        (b"{", "Missing a name for object member.", 1),
        (b"{1:2}", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a":1', MISS_COMMA_IN_OBJECT, 6),
        (b'{"a":1 "b":2}', MISS_COMMA_IN_OBJECT, 7),
        (b"[1 2]", MISS_COMMA_IN_ARRAY, 3),
        (b"[01]", MISS_COMMA_IN_ARRAY, 2),
        (b"[1", MISS_COMMA_IN_ARRAY, 2),
        (b'["\\u12g4"]', BAD_HEX, 2),
        (b'["\\ud800\\u12"]', BAD_HEX, 2),
        (b'"\\ud800"', BAD_PAIR, 1),
        (b'"\\ud800\\u1234"', BAD_PAIR, 1),
        (b'"a\\x"', BAD_ESCAPE, 2),
        (b'"a\x01"', BAD_ESCAPE, 2),
        (b'"abc', "Missing a closing quotation mark in string.", 4),
        (b'"a\0b"', "Missing a closing quotation mark in string.", 2),
        (b'"\\', BAD_ESCAPE, 1),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1.e5]", "Miss fraction part in number.", 3),
        (b"[1e]", "Miss exponent in number.", 3),
        (b"[1.5E-x]", "Miss exponent in number.", 6),
        (b"[ 1e400]", TOO_BIG, 2),
        (b"0e400", TOO_BIG, 0),
        (b"1e99999999999", TOO_BIG, 0),
        (b"-" + b"9" * 310, TOO_BIG, 0),
        (b"0." + b"0" * 300 + b"1" * 100 + b"e700", TOO_BIG, 0),
        (b"92233720368547758080.01e310", TOO_BIG, 0),
        (b"[1.5e310]", TOO_BIG, 1),
    ],
)
def test_errors_name_reason_and_byte_offset(text: bytes, reason: str, offset: int) -> None:
    """Clients and their tests match these texts."""
    with pytest.raises(InvalidArgument) as caught:
        parse_exactly(text)

    assert str(caught.value) == f"JSON Parse error: {reason} at offset: {offset}"


def test_an_empty_text_has_no_offset() -> None:
    """The very first check is made before the parser runs."""
    with pytest.raises(InvalidArgument, match=r"^JSON Parse error: The document is empty$"):
        parse_exactly(b"")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"01", 0),
        (b"[1] trailing", [1]),
        (b"\xef\xbb\xbf[]", []),
        (b"\t[ 1 ,\r\n 2 ] ", [1, 2]),
        (b'{"a":[true,false,null]}', {"a": [True, False, None]}),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1" + b"0" * 308, 1e308),
        (str(int(sys.float_info.max)).encode(), sys.float_info.max),
        (b"0." + b"0" * 400 + b"1e401", 1.0),
        (b"1.5e309", math.inf),
        (b"1e0000000000012", 1e12),
        (b"1e-99999999999", 0.0),
        (b"1.8e308", math.inf),
        (b"[Inf,-Inf,Infinity,-Infinity]", [math.inf, -math.inf, math.inf, -math.inf]),
        (b'"\xff\xfe"', "\udcff\udcfe"),
        (b'"\\ud83d\\ude00\\n\\u0000\\/"', "\U0001f600\n\0/"),
        (b'"\\udc80"', "\udced\udcb2\udc80"),
        (b'"\x7f"', "\x7f"),
    ],
)
def test_values_that_the_fast_parser_may_refuse_are_read(text: bytes, value: object) -> None:
    """What TensorFlow Serving accepts is more than the standard."""
    assert as_python(parse_exactly(text)) == value


@pytest.mark.parametrize("text", [b"NaN", b"-NaN"])
def test_nan_may_carry_a_minus(text: bytes) -> None:
    """A minus in front of NaN is read and has no meaning."""
    assert math.isnan(parse_exactly(text))


@pytest.mark.parametrize(("text", "kind"), [(b"1", int), (b"1.0", float), (b"1e3", float), (b"-0", int)])
def test_the_spelling_decides_between_integer_and_double(text: bytes, kind: type) -> None:
    """Integer tensors take integer tokens only."""
    assert type(parse_exactly(text)) is kind


@pytest.mark.parametrize("text", [b"18446744073709551616", b"-9223372036854775809", b"1" + b"0" * 30])
def test_integers_beyond_64_bits_become_doubles(text: bytes) -> None:
    """Larger integers lose precision instead of failing."""
    value = parse_exactly(text)

    assert isinstance(value, float)
    assert value == float(text)


def test_repeated_members_are_kept_in_order() -> None:
    """The first one counts, but pictures in error texts show all."""
    value = parse_exactly(b'{"a":1,"b":2,"a":3}')

    assert isinstance(value, JsonObject)
    assert list(value.members()) == [("a", 1), ("b", 2), ("a", 3)]
    assert value.first_values() == {"a": 1, "b": 2}


def test_a_long_run_of_numbers_is_read_like_single_ones() -> None:
    """The shortcut for runs must not change values or kinds."""
    numbers = b"1,-0,2.50,1e5,NaN,-Infinity, 7 ,123456789012345678,1234567890123456789"

    run = as_python(parse_exactly(b"[" + numbers * 3 + b",1]"))
    singles = [parse_exactly(number.strip()) for number in (numbers * 3).split(b",")]

    assert [repr(value) for value in run] == [repr(value) for value in [*singles, 1]]


def test_a_long_run_of_lists_is_read_like_single_ones() -> None:
    """Rows of numbers are the usual reason for long bodies."""
    row = b"[1.5, NaN ,-3]"

    run = as_python(parse_exactly(b"[" + (row + b" , ") * 20 + row + b',[],["x"]]'))

    assert repr(run) == repr([[1.5, math.nan, -3]] * 21 + [[], ["x"]])


def test_a_long_run_of_numbers_may_not_end_with_a_comma() -> None:
    """The error is found behind the run as well."""
    text = b"[" + b"1.5," * 40 + b"]"

    with pytest.raises(InvalidArgument, match=f"Invalid value. at offset: {len(text) - 1}$"):
        parse_exactly(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" + b"[]," * 100_000 + b"[]]",
        b'["' + b"\\n" * 100_000 + b'"]',
        b"[" + (b"[" + b"1," * 1000 + b'"x"],') * 200 + b"1]",
        b"[0." + b"1" * 500_000 + b"]",
        b" " * 500_000 + b"1",
    ],
    ids=["deep lists", "deep objects", "empty lists", "escapes", "broken runs", "digits", "blanks"],
)
def test_hostile_texts_cost_linear_time(text: bytes) -> None:
    """No body may occupy a server for longer than its length justifies."""
    start = process_time()

    parse_exactly(text)

    assert process_time() - start < 20


@pytest.mark.parametrize("text", [b"[" * 100_000, b'["' + b"a" * 300_000, b'["' + b"\\n" * 100_000, b"1" * 300_000])
def test_hostile_unfinished_texts_are_refused_in_linear_time(text: bytes) -> None:
    """An error far behind must not make the parser go back and forth."""
    start = process_time()

    with pytest.raises(InvalidArgument):
        parse_exactly(text)

    assert process_time() - start < 20


def as_python(value):
    if isinstance(value, JsonObject):
        return {name: as_python(member) for name, member in value.members()}
    return [as_python(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("depth", [1, 2, 9_999, 10_000, 10_001, 25_000])
@pytest.mark.parametrize("inner", ["", "1, 2", "[1],[2]", " [ 1 ] , [] "])
def test_brackets_that_are_opened_together_hold_what_they_hold(depth: int, inner: str) -> None:
    """Whatever stands in the innermost one."""
    value = parse_exactly(b"[" * depth + inner.encode() + b"]" * depth)

    for _ in range(depth - 1):
        assert isinstance(value, list)
        (value,) = value
    assert value == json.loads(f"[{inner}]")


def test_long_runs_of_numbers_are_taken_in_pieces() -> None:
    """Inside and outside of inner lists."""
    numbers = list(range(25_000))
    text = json.dumps([numbers, [1], numbers[:10_000], *numbers]).encode()

    assert parse_exactly(text) == [numbers, [1], numbers[:10_000], *numbers]


@pytest.mark.parametrize(("text", "offset"), [(b"1 2", 2), (b'{"a":NaN} x', 10), (b"[1]\0", 3), (b"[]]", 2)])
def test_a_whole_text_has_nothing_behind_its_value(text: bytes, offset: int) -> None:
    """But white space; TensorFlow Serving does not look so far."""
    assert parse_whole(text[:offset]) is not None
    assert parse_whole(text[:offset] + b" \n") is not None
    assert parse_exactly(text) is not None
    with pytest.raises(InvalidArgument) as caught:
        parse_whole(text)
    assert str(caught.value) == (
        f"JSON Parse error: The document root must not be followed by other values. at offset: {offset}"
    )
