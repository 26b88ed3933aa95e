"""Where the fields of a protobuf text file stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.text_format import DEEPEST, Outline, outline


def described(place: Outline) -> list[object]:
    """Return names, lines and columns as nested lists."""
    return [(one.name, one.line, one.column, described(one)) for one in place.fields]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a: 1", [("a", 1, 1, [])]),
        ("a: 1\n  b { c: 'x' }", [("a", 1, 1, []), ("b", 2, 3, [("c", 2, 7, [])])]),
        ("a: <b: 1; c: 2,>", [("a", 1, 1, [("b", 1, 5, []), ("c", 1, 11, [])])]),
        ("# a: 1\nb: - inf c: true", [("b", 2, 1, []), ("c", 2, 10, [])]),
        ("""a: "x { b: 1 }" 'y' b: "\\"c: 1" """, [("a", 1, 1, []), ("b", 1, 21, [])]),
        ("a: [x, y] b: 1", [("a", 1, 1, []), ("b", 1, 11, [])]),
        ("a: [{b: 1},\n {c: 2}]", [("a", 1, 1, [("b", 1, 6, [])]), ("a", 2, 2, [("c", 2, 3, [])])]),
        ("no field here", []),
        ("a: 1 } b: 2", [("a", 1, 1, [])]),
        ("{ a: 1", []),
        ("a: 1 ? b: 2", [("a", 1, 1, [])]),
        ("a { b: 1 > c: 1", [("a", 1, 1, [("b", 1, 5, [])])]),
        ("]: 1 a: 2", [("a", 1, 6, [])]),
    ],
)
def test_fields_are_found_where_they_stand(text: str, fields: list[object]) -> None:
    """Names count as fields when a value follows; the scan ends where the text stops making sense."""
    assert described(outline(text)[0]) == fields


def test_places_are_found_by_path() -> None:
    """The line of a missing field is that of the nearest field around it."""
    place, _ = outline("a {\n b {\n c: 1 } }\na { }")

    assert place.line_of("a", "b", "c") == 3
    assert place.line_of("a", "b", "x") == 2
    assert place.has("a", "b", "c")
    assert not place.has("x", "b", "c")
    assert len(place.each("a")) == 2


def test_depth_is_bounded() -> None:
    """A file of opening braces costs no more than the deepest sensible one."""
    assert outline("a{" * 100_000)[1] == DEEPEST + 1


@given(st.text(alphabet="ab{}<>[]:,;'\"\\# \n-1", max_size=200))
def test_any_text_can_be_scanned(text: str) -> None:
    """The scan never fails."""
    outline(text)
