"""Tests of the pictures of values in error texts."""

from __future__ import annotations

import math

import pytest

from core.json.exact_parser import parse_exactly
from core.json.picture import complaint, dump


@pytest.mark.parametrize(
    ("text", "picture"),
    [
        (b"[1,2]", "[1, 2]"),
        (b"{}", "{}"),
        (b"[]", "[]"),
        (b"[[],{}]", "[[], {}]"),
        (b'{"a":[],"b":{"c":null}}', '{\n    "a": [],\n    "b": {\n        "c": null\n    }\n}'),
        (b'[{"a":1}]', '[{\n        "a": 1\n    }]'),
        (b'"\\u001b\\n\\/\\"\xff"', '"\\u001B\\n/\\"\udcff"'),
        (b"[true,false,null]", "[true, false, null]"),
        (b"[1,NaN,2]", "[1, "),
        (b'{"a":NaN}', '{\n    "a": '),
        (b"Infinity", ""),
    ],
)
def test_objects_take_lines_and_lists_take_one(text: bytes, picture: str) -> None:
    """Pictures look as RapidJSON's, which end where NaN would stand."""
    assert dump(parse_exactly(text)) == picture


@pytest.mark.parametrize(
    ("number", "picture"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.0, "0.0"),
        (5.003, "5.003"),
        (123456789012345680000.0, "123456789012345680000.0"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e22, "1.5e22"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (-2.5e-10, "-2.5e-10"),
        (100.25, "100.25"),
    ],
)
def test_doubles_are_placed_as_rapidjson_places_them(number: float, picture: str) -> None:
    """Neither Python's nor C's notation is used."""
    assert dump(number) == picture


def test_a_picture_ends_with_the_token_that_reaches_256_bytes() -> None:
    """Long requests must not flood error texts."""
    assert dump([1] * 1000) == "[1" + ", 1" * 85
    assert dump(["x" * 300, "y"]) == '["' + "x" * 300 + '"'
    assert len(dump([[1] * 3] * 1000)) == 256


def test_a_deep_value_is_pictured_without_recursion() -> None:
    """The limit also bounds the depth."""
    assert dump(parse_exactly(b"[" * 5000 + b"]" * 5000)) == "[" * 256


def test_a_complaint_shows_the_value_and_the_rule() -> None:
    """All texts about values begin alike."""
    assert complaint([math.pi], "is odd") == "JSON Value: [3.141592653589793] is odd"
