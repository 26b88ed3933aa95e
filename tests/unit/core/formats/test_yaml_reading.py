"""Readers of YAML: what each accepts, and the text, line and field of each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ConfigError, Problem
from core.formats.yaml_reading import (
    MISTAKE,
    Reader,
    YamlEntry,
    choice,
    compose,
    decimal,
    each,
    flag,
    mapping,
    section,
    text,
    whole,
)

SIZE = section({"width": whole(1), "name": text})


def read(reader: Reader, content: str) -> tuple[Any, list[Problem]]:
    """Return the value of a text, and the mistakes."""
    node = compose(content, "f.yaml")
    assert node is not None
    problems: list[Problem] = []
    return reader(YamlEntry(node, "top", "f.yaml", problems)), problems


@pytest.mark.parametrize(
    ("reader", "content", "value"),
    [
        (text, "word", "word"),
        (text, "'1'", "1"),
        (text, '""', ""),
        (flag, "true", True),
        (flag, "No", False),
        (flag, "on", True),
        (whole(), "-3", -3),
        (whole(), "1_000", 1000),
        (whole(0, 5), "5", 5),
        (decimal(), "1", 1.0),
        (decimal(0, 1), "0.25", 0.25),
        (decimal(above=0), "1.0e-3", 0.001),
        (choice({"a": 1, "b": 2}), "b", 2),
        (each(whole()), "[1, 2]", (1, 2)),
        (each(text), "[]", ()),
        (mapping(whole()), "{a: 1, b: 2}", {"a": 1, "b": 2}),
        (SIZE, "{width: 2}", {"width": 2}),
        (SIZE, "~", {}),
    ],
)
def test_a_reader_returns_the_value(reader: Reader, content: str, value: Any) -> None:
    """In the type that the reader is for, whichever of YAML's notations is used."""
    found, problems = read(reader, content)

    assert (found, problems) == (value, [])
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (text, "1", "must be a text; was 1"),
        (text, "[a]", "must be a text; was a list"),
        (text, r'"\ud800"', "holds half of a surrogate pair; write the character itself"),
        (flag, "1", "must be true or false; was 1"),
        (whole(), "1.5", "must be a whole number; was 1.5"),
        (whole(), "x", "must be a whole number; was 'x'"),
        (whole(), "{a: 1}", "must be a whole number; was a mapping"),
        (whole(0), "-1", "must be at least 0; was -1"),
        (whole(0, 5), "6", "must be at most 5; was 6"),
        (whole(), f"{2**63}", f"must be at most {2**63 - 1}; was {2**63}"),
        (whole(), "9" * 41, f"must be a whole number; was {'9' * 41}"),
        (whole(), "~", "must be a whole number; was ~"),
        (decimal(), "1e-3", "must be a number; was '1e-3'"),  # a text in YAML 1.1
        (decimal(), ".nan", "must be a number; was .nan"),
        (decimal(), ".inf", "must be a number; was .inf"),
        (decimal(above=0), "0", "must be more than 0; was 0"),
        (decimal(0, 1), "1.5", "must be at most 1; was 1.5"),
        (choice({"a": 1, "b": 2}), "c", "must be one of a, b"),
        (choice({"a": 1}), "[a]", "must be one of a"),
        (each(whole()), "1", "must be a list"),
        (each(whole()), "[1, x]", "must be a whole number; was 'x'"),
        (mapping(whole()), "[1]", "must be a mapping of names to values"),
        (mapping(whole()), "{a: x}", "must be a whole number; was 'x'"),
    ],
)
def test_a_wrong_value_is_a_mistake(reader: Reader, content: str, message: str) -> None:
    """The text says what would be right, and what is there."""
    found, problems = read(reader, content)

    assert found is MISTAKE
    assert [one.message for one in problems] == [message]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{widht: 1}", "f.yaml:1: top.widht: unknown setting; did you mean width?"),
        ("{colour: 1}", "f.yaml:1: top.colour: unknown setting"),
        ("width: 1\nwidth: 2", "f.yaml:2: top.width: is given twice"),
        ("{<<: {width: 1}}", "f.yaml:1: top.<<: merge keys are not read; use defaults"),
        ("? [a]\n: 1", "f.yaml:1: top.?: must be a plain name"),
        ("name: a\nwidth:\n  0", "f.yaml:3: top.width: must be at least 1; was 0"),
    ],
)
def test_a_mistake_in_a_section_has_its_line_and_field(content: str, problem: str) -> None:
    """An editor jumps there."""
    _, problems = read(SIZE, content)

    assert [str(one) for one in problems] == [problem]


def test_all_mistakes_of_a_section_are_reported_and_valid_entries_stay() -> None:
    """Reading goes on after a mistake."""
    found, problems = read(section({"a": whole(), "b": text, "c": flag}), "{a: x, b: 1, c: true}")

    assert found == {"c": True}
    assert [one.field for one in problems] == ["top.a", "top.b"]


def test_elements_of_lists_are_named_by_their_index() -> None:
    """Otherwise nobody finds them."""
    _, problems = read(each(each(whole())), "[[1], [2, x]]")

    assert [one.field for one in problems] == ["top.1.1"]


@pytest.mark.parametrize(("content", "node"), [("# nothing", None), ("---", None)])
def test_a_file_of_comments_has_no_entries(content: str, node: None) -> None:
    """It sets nothing, which is not a mistake."""
    found = compose(content, "f.yaml")

    assert found is node or found.value == ""


@pytest.mark.parametrize(
    ("content", "start"),
    [("", "f.yaml: the file is empty"), ("a: [", "f.yaml:1: not valid YAML: "), ("\x00", "f.yaml: not valid YAML: ")],
)
def test_a_text_that_is_not_yaml_is_a_config_error(content: str, start: str) -> None:
    """With the line where the parser knows it."""
    with pytest.raises(ConfigError) as raised:
        compose(content, "f.yaml")

    assert str(raised.value).startswith(start)
