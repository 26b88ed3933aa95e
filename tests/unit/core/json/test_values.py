"""Documents as values: members in order, binary values, and the names of types in error texts."""

from __future__ import annotations

import pytest

from core.json.values import JsonObject, base64_bytes, is_base64, type_name


def test_members_keep_order_and_repetitions_and_the_first_value_counts() -> None:
    """As in RapidJSON."""
    value = JsonObject(["a", "b", "a"], [1, 2, 3])

    assert list(value.members()) == [("a", 1), ("b", 2), ("a", 3)]
    assert value.first_values() == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (JsonObject(["b64"], ["aGk="]), True),
        (JsonObject(["b64"], [1]), False),
        (JsonObject(["b64", "b64"], ["aGk=", "aGk="]), False),
        (JsonObject(["B64"], ["aGk="]), False),
        (["b64"], False),
    ],
    ids=["binary", "number", "repeated", "upper case", "list"],
)
def test_a_binary_value_has_one_member_b64_that_is_a_string(value, expected) -> None:
    """Nothing else is decoded."""
    assert is_base64(value) is expected


def test_a_binary_value_is_decoded() -> None:
    """The standard alphabet."""
    assert base64_bytes(JsonObject(["b64"], ["aGk="])) == b"hi"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "Null"),
        (True, "True"),
        (False, "False"),
        (1, "Number"),
        (1.0, "Number"),
        ("", "String"),
        ([], "Array"),
        (JsonObject([], []), "Object"),
    ],
)
def test_types_are_named_as_rapidjson_names_them(value, name) -> None:
    """Both truth values have a type of their own."""
    assert type_name(value) == name
