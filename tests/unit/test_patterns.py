"""Regular expressions mean the same on every Python that is supported."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from re import _constants as codes  # type: ignore[attr-defined]  # of the standard library, and not in its stubs
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from core.json.exact_parser import parse_exactly
from tests.support.project import ROOT

ONE_CHARACTER = {codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN}


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield the patterns of all modules of core, with their names."""
    for file in sorted((ROOT / "core").rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for attribute, value in vars(importlib.import_module(name)).items():
            if isinstance(value, re.Pattern):
                yield f"{name}.{attribute}", value


def takes_halves(part: Any) -> bool:
    """Whether a possessive repetition is of something that may go back, and is not atomic."""
    if isinstance(part, parser.SubPattern) or (isinstance(part, list) and part and isinstance(part[0], tuple)):
        for code, argument in part:
            if code is codes.POSSESSIVE_REPEAT:
                items = list(argument[2])
                if len(items) != 1 or items[0][0] not in ONE_CHARACTER | {codes.ATOMIC_GROUP}:
                    alternatives = items[0][1][1] if len(items) == 1 and items[0][0] is codes.BRANCH else [items]
                    if not all(map(_is_atomic, alternatives)):
                        return True
            if takes_halves(argument):
                return True
        return False
    return isinstance(part, tuple | list) and any(map(takes_halves, part))


def _is_atomic(alternative: Any) -> bool:
    return len(alternative) == 1 and (
        alternative[0][0] in ONE_CHARACTER | {codes.ATOMIC_GROUP, codes.POSSESSIVE_REPEAT}
    )


def parsed(pattern: re.Pattern[Any]) -> Any:
    return parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else 0)


def test_what_is_repeated_without_going_back_is_atomic() -> None:
    """Before CPython 3.11.5, `(?:ab|c)*+` matches the `a` of an `ab` that is not there (gh-106052)."""
    found = dict(patterns())
    assert "core.json.exact_parser.RUN" in found
    assert [name for name, pattern in found.items() if takes_halves(parsed(pattern))] == []


@pytest.mark.parametrize("pattern", [rb"(?:ab|c)*+", rb"x(?:a?b){2,5}+", rb"((?:ab)++|d)"])
def test_such_a_pattern_is_found(pattern: bytes) -> None:
    """Wherever it stands."""
    assert takes_halves(parsed(re.compile(pattern)))


def test_a_run_of_numbers_ends_before_one_that_does_not_belong_to_it() -> None:
    """As the number that ends the list does, which has no comma."""
    numbers = list(range(100))

    assert parse_exactly(str([*numbers, 1.25]).encode()) == [*numbers, 1.25]
    assert parse_exactly(str([*numbers, [1.25]]).encode()) == [*numbers, [1.25]]
