"""Values inside a simdjson document: which objects may be asked for members, and their copy as plain values."""

from __future__ import annotations

import pytest
import simdjson

from core.json.elements import MOST_MEMBERS, UnsuitableDocumentError, member_names, plain
from core.json.values import JsonObject


def element(text: bytes) -> simdjson.Object | simdjson.Array:
    """Parse a text whose document stays alive with its parser."""
    return simdjson.Parser().parse(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [(b"{}", []), (b'{"b":1,"a":2}', ["b", "a"]), (b'{"\\u00e9":1}', ["é"])],
)
def test_names_come_in_the_order_of_the_document(text, names) -> None:
    """They are read as UTF-8, escapes included."""
    assert member_names(element(text)) == names


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a\\u0000b":1}',
        b"{%b}" % b",".join(b'"m%d":0' % number for number in range(MOST_MEMBERS + 1)),
    ],
    ids=["repeated", "with NUL", "very many"],
)
def test_an_object_that_simdjson_would_search_wrongly_is_left_to_the_exact_way(text) -> None:
    """Its search finds the first of equal names, ends at a NUL, and starts anew for each name."""
    with pytest.raises(UnsuitableDocumentError):
        member_names(element(text))


def test_a_container_is_copied_with_its_order_and_types() -> None:
    """Objects become names and values beside each other, at every depth."""
    copy = plain(element(b'{"a":[1,-2.5,"x",null,true,[]],"b":{"c":18446744073709551615}}'))

    assert isinstance(copy, JsonObject)
    inner = copy.values[1]
    assert (copy.names, copy.values[0]) == (["a", "b"], [1, -2.5, "x", None, True, []])
    assert isinstance(inner, JsonObject)
    assert (inner.names, inner.values) == (["c"], [2**64 - 1])


def test_the_copy_outlives_its_document() -> None:
    """The parser may read the next body."""
    parser = simdjson.Parser()
    copy = plain(parser.parse(b"[[1, 2], [3]]"))

    parser.parse(b"{}")

    assert copy == [[1, 2], [3]]
