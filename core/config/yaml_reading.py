"""YAML read by a description of what may stand in it, so that every mistake has a line and a field.

A reader is a function that takes a place in the file and gives a value. Mistakes are noted on the place's list and the
reader gives `MISTAKE`, so that reading goes on and all of them are reported at once.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from core.errors import ConfigError, Problem

MISTAKE: Final = object()
"""Stands for a value that could not be read; the mistake is already noted."""

HALF_CHARACTER: Final = "holds half of a surrogate pair; write the character itself"

_TAG = "tag:yaml.org,2002:"
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LONGEST_NUMBER = 40
_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "null": "nothing"}


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the file with the path that leads to it."""

    node: yaml.Node
    field: str
    file: str
    problems: list[Problem]

    @property
    def line(self) -> int:
        """Line of the node in the file."""
        return int(self.node.start_mark.line) + 1

    def mistake(self, message: str) -> Any:
        """Note a mistake here; gives MISTAKE."""
        self.problems.append(Problem(_writable(message), self.file, self.line, _writable(self.field)))
        return MISTAKE

    def inner(self, node: yaml.Node, name: str) -> Place:
        """Return the place of a node below this one."""
        return Place(node, f"{self.field}.{name}".lstrip("."), self.file, self.problems)

    def entry(self, name: str) -> Place:
        """Return the place of an entry of a mapping, or this one's when it has no such entry."""
        pairs = self.node.value if isinstance(self.node, yaml.MappingNode) else []
        node = next((node for key, node in pairs if key.value == name), self.node)
        return self.inner(node, name)

    @property
    def kind(self) -> str:
        """YAML's type of a plain value: `int`, `float`, `bool`, `str`, `null`; empty for lists and mappings."""
        return str(self.node.tag).removeprefix(_TAG) if isinstance(self.node, yaml.ScalarNode) else ""


Reader = Callable[[Place], Any]


def compose(text: str, file: str) -> yaml.Node | None:
    """Parse YAML into nodes; None for a file of comments only. Raises ConfigError, also for an empty file.

    An empty file is a mistake, because a file that is just being rewritten looks like that.
    """
    if not text:
        raise ConfigError((Problem("the file is empty", file),))
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigError((Problem(f"not valid YAML: {error.problem}", file, line),)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError((Problem(f"not valid YAML: {str(error).splitlines()[0]}", file),)) from None


def text(place: Place) -> Any:
    """Read a text."""
    if place.kind != "str":
        return _expected(place, "str")
    return place.mistake(HALF_CHARACTER) if _has_half_characters(place.node.value) else place.node.value


def flag(place: Place) -> Any:
    """Read true or false."""
    value = _TRUTH.get(place.node.value.lower()) if place.kind == "bool" else None
    return value if value is not None else _expected(place, "bool")


def whole(least: int | None = None, most: int = 2**63 - 1) -> Reader:
    """Return a reader of whole numbers within bounds."""

    def read(place: Place) -> Any:
        number = _number(place) if place.kind == "int" else None
        if number is None:
            return _expected(place, "int")
        return _bounded(place, int(number), least, most)

    return read


def decimal(least: float | None = None, most: float = math.inf, *, above: float | None = None) -> Reader:
    """Return a reader of finite numbers within bounds; `above` is a bound that itself is not allowed."""

    def read(place: Place) -> Any:
        number = _number(place) if place.kind in ("int", "float") else None
        if number is None or not math.isfinite(number):
            return _expected(place, "float")
        if above is not None and number <= above:
            return place.mistake(f"must be more than {above}; was {place.node.value}")
        return _bounded(place, float(number), least, most)

    return read


def choice(values: Mapping[str, Any]) -> Reader:
    """Return a reader of one of several words."""

    def read(place: Place) -> Any:
        word = place.node.value if isinstance(place.node, yaml.ScalarNode) else ""
        return values[word] if word in values else place.mistake(f"must be one of {', '.join(values)}")

    return read


def each(reader: Reader) -> Reader:
    """Return a reader of lists; it gives a tuple."""

    def read(place: Place) -> Any:
        if not isinstance(place.node, yaml.SequenceNode):
            return place.mistake("must be a list")
        values = [reader(place.inner(node, str(index))) for index, node in enumerate(place.node.value)]
        return MISTAKE if MISTAKE in values else tuple(values)

    return read


def mapping(reader: Reader) -> Reader:
    """Return a reader of mappings whose names are free; it gives a dict."""

    def read(place: Place) -> Any:
        entries = named_places(place)
        if entries is None:
            return MISTAKE
        values = {name: reader(inner) for name, inner in entries.items()}
        return MISTAKE if MISTAKE in values.values() else values

    return read


def section(readers: Mapping[str, Reader]) -> Reader:
    """Return a reader of mappings with fixed names; it gives a dict of those that are there and right."""

    def read(place: Place) -> Any:
        values = {name: readers[name](inner) for name, inner in known_places(place, readers).items()}
        return {name: value for name, value in values.items() if value is not MISTAKE}

    return read


def known_places(place: Place, names: Mapping[str, Any]) -> Mapping[str, Place]:
    """Return the entries of a mapping by name; unknown names are mistakes."""
    entries = named_places(place) or {}
    for name, inner in entries.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            inner.mistake("unknown setting" + (f"; did you mean {near[0]}?" if near else ""))
    return {name: inner for name, inner in entries.items() if name in names}


def named_places(place: Place) -> dict[str, Place] | None:
    """Return the entries of a mapping by name; names that are not texts, or come twice, are mistakes."""
    if place.kind == "null":
        return {}
    if not isinstance(place.node, yaml.MappingNode):
        place.mistake("must be a mapping of names to values")
        return None
    entries: dict[str, Place] = {}
    for key, node in place.node.value:
        at_key = place.inner(key, str(key.value) if isinstance(key, yaml.ScalarNode) else "?")
        if not isinstance(key, yaml.ScalarNode):
            at_key.mistake("must be a plain name")
        elif key.tag == f"{_TAG}merge":
            at_key.mistake("merge keys are not read; use defaults")
        elif key.value in entries:
            at_key.mistake("is given twice")
        elif _has_half_characters(key.value):
            at_key.mistake(HALF_CHARACTER)
        else:
            entries[key.value] = place.inner(node, key.value)
    return entries


def _has_half_characters(value: str) -> bool:
    r"""Whether a text holds what `"\ud800"` means: no message and no file can hold it."""
    return _writable(value) != value


def _writable(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _expected(place: Place, kind: str) -> Any:
    return place.mistake(f"must be {_NAMES[kind]}; was {_shown(place)}")


def _shown(place: Place) -> str:
    if isinstance(place.node, yaml.ScalarNode):
        return f"{place.node.value[:100]!r}" if place.kind == "str" else str(place.node.value)[:100] or _NAMES["null"]
    return "a list" if isinstance(place.node, yaml.SequenceNode) else "a mapping"


def _number(place: Place) -> float | None:
    convert = float if place.kind == "float" else int
    if len(place.node.value) > _LONGEST_NUMBER:
        return None
    try:
        return convert(place.node.value.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return None


def _bounded(place: Place, number: float, least: float | None, most: float) -> Any:
    if least is not None and number < least:
        return place.mistake(f"must be at least {least}; was {place.node.value}")
    return number if number <= most else place.mistake(f"must be at most {most}; was {place.node.value}")
