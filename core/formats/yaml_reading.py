"""Reads YAML by a description of its allowed content, so that every mistake has a line and a field.

A reader is a function that takes an entry of the file and returns a value. It adds a mistake to the entry's list and
returns `MISTAKE`, so that reading goes on and all mistakes are reported at once.
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
class YamlEntry:
    """A node of the file, with the path that leads to it and the list of mistakes."""

    node: yaml.Node
    field: str
    file: str
    problems: list[Problem]

    @property
    def line(self) -> int:
        """Line of the node in the file."""
        return int(self.node.start_mark.line) + 1

    def mistake(self, message: str) -> Any:
        """Add a mistake at this entry; returns MISTAKE."""
        self.problems.append(Problem(_writable(message), self.file, self.line, _writable(self.field)))
        return MISTAKE

    def inner(self, node: yaml.Node, name: str) -> YamlEntry:
        """Return a node below this one as an entry."""
        return YamlEntry(node, f"{self.field}.{name}".lstrip("."), self.file, self.problems)

    def at(self, name: str) -> YamlEntry:
        """Return the entry of a mapping that has this name, or this entry itself when there is none."""
        pairs = self.node.value if isinstance(self.node, yaml.MappingNode) else []
        node = next((node for key, node in pairs if key.value == name), self.node)
        return self.inner(node, name)

    @property
    def kind(self) -> str:
        """YAML's type of a plain value: `int`, `float`, `bool`, `str`, `null`; empty for lists and mappings."""
        return str(self.node.tag).removeprefix(_TAG) if isinstance(self.node, yaml.ScalarNode) else ""


Reader = Callable[[YamlEntry], Any]


def compose(text: str, file: str) -> yaml.Node | None:
    """Parse YAML into nodes; None for a file of comments only. Raises ConfigError, also for an empty file.

    An empty file is a mistake, because a file that is just being rewritten is empty for a moment.
    """
    if not text:
        raise ConfigError((Problem("the file is empty", file),))
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigError((Problem(f"not valid YAML: {error.problem}", file, line),)) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise ConfigError((Problem(f"not valid YAML: {str(error).splitlines()[0]}", file),)) from None


def text(entry: YamlEntry) -> Any:
    """Read a text."""
    if entry.kind != "str":
        return _expected(entry, "str")
    return entry.mistake(HALF_CHARACTER) if _has_half_characters(entry.node.value) else entry.node.value


def flag(entry: YamlEntry) -> Any:
    """Read true or false."""
    value = _TRUTH.get(entry.node.value.lower()) if entry.kind == "bool" else None
    return value if value is not None else _expected(entry, "bool")


def whole(least: int | None = None, most: int = 2**63 - 1) -> Reader:
    """Return a reader of whole numbers within bounds."""

    def read(entry: YamlEntry) -> Any:
        number = _number(entry) if entry.kind == "int" else None
        if number is None:
            return _expected(entry, "int")
        return _bounded(entry, int(number), least, most)

    return read


def decimal(least: float | None = None, most: float = math.inf, *, above: float | None = None) -> Reader:
    """Return a reader of finite numbers within bounds; `above` is a bound that itself is not allowed."""

    def read(entry: YamlEntry) -> Any:
        number = _number(entry) if entry.kind in ("int", "float") else None
        if number is None or not math.isfinite(number):
            return _expected(entry, "float")
        if above is not None and number <= above:
            return entry.mistake(f"must be more than {above}; was {entry.node.value}")
        return _bounded(entry, float(number), least, most)

    return read


def choice(values: Mapping[str, Any]) -> Reader:
    """Return a reader of one of several words."""

    def read(entry: YamlEntry) -> Any:
        word = entry.node.value if isinstance(entry.node, yaml.ScalarNode) else ""
        return values[word] if word in values else entry.mistake(f"must be one of {', '.join(values)}")

    return read


def each(reader: Reader) -> Reader:
    """Return a reader of lists, as tuples."""

    def read(entry: YamlEntry) -> Any:
        if not isinstance(entry.node, yaml.SequenceNode):
            return entry.mistake("must be a list")
        values = [reader(entry.inner(node, str(index))) for index, node in enumerate(entry.node.value)]
        return MISTAKE if MISTAKE in values else tuple(values)

    return read


def mapping(reader: Reader) -> Reader:
    """Return a reader of mappings with arbitrary names, as dicts."""

    def read(entry: YamlEntry) -> Any:
        entries = named_entries(entry)
        if entries is None:
            return MISTAKE
        values = {name: reader(inner) for name, inner in entries.items()}
        return MISTAKE if MISTAKE in values.values() else values

    return read


def anything(entry: YamlEntry) -> Any:
    """Read a text, a number, true or false, nothing, or lists and mappings of these."""
    if isinstance(entry.node, yaml.SequenceNode):
        return each(anything)(entry)
    if isinstance(entry.node, yaml.MappingNode):
        return mapping(anything)(entry)
    if entry.kind == "null":
        return None
    readers: dict[str, Reader] = {"bool": flag, "int": whole(-(2**63)), "float": decimal()}
    return readers.get(entry.kind, text)(entry)


def section(readers: Mapping[str, Reader]) -> Reader:
    """Return a reader of mappings with fixed names, as dicts of the valid entries."""

    def read(entry: YamlEntry) -> Any:
        values = {name: readers[name](inner) for name, inner in known_entries(entry, readers).items()}
        return {name: value for name, value in values.items() if value is not MISTAKE}

    return read


def known_entries(entry: YamlEntry, names: Mapping[str, Any]) -> Mapping[str, YamlEntry]:
    """Return the entries of a mapping by name; unknown names are mistakes."""
    entries = named_entries(entry) or {}
    for name, inner in entries.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            inner.mistake("unknown setting" + (f"; did you mean {near[0]}?" if near else ""))
    return {name: inner for name, inner in entries.items() if name in names}


def named_entries(entry: YamlEntry) -> dict[str, YamlEntry] | None:
    """Return the entries of a mapping by name; names that are not texts, or are repeated, are mistakes."""
    if entry.kind == "null":
        return {}
    if not isinstance(entry.node, yaml.MappingNode):
        entry.mistake("must be a mapping of names to values")
        return None
    entries: dict[str, YamlEntry] = {}
    for key, node in entry.node.value:
        at_key = entry.inner(key, str(key.value) if isinstance(key, yaml.ScalarNode) else "?")
        if not isinstance(key, yaml.ScalarNode):
            at_key.mistake("must be a plain name")
        elif key.tag == f"{_TAG}merge":
            at_key.mistake("merge keys are not read; use defaults")
        elif key.value in entries:
            at_key.mistake("is given twice")
        elif _has_half_characters(key.value):
            at_key.mistake(HALF_CHARACTER)
        else:
            entries[key.value] = entry.inner(node, key.value)
    return entries


def _has_half_characters(value: str) -> bool:
    r"""Whether a text holds half of a surrogate pair (`"\ud800"`), which cannot be encoded in a message or a file."""
    return _writable(value) != value


def _writable(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _expected(entry: YamlEntry, kind: str) -> Any:
    return entry.mistake(f"must be {_NAMES[kind]}; was {_shown(entry)}")


def _shown(entry: YamlEntry) -> str:
    if isinstance(entry.node, yaml.ScalarNode):
        return f"{entry.node.value[:100]!r}" if entry.kind == "str" else str(entry.node.value)[:100] or _NAMES["null"]
    return "a list" if isinstance(entry.node, yaml.SequenceNode) else "a mapping"


def _number(entry: YamlEntry) -> float | None:
    convert = float if entry.kind == "float" else int
    if len(entry.node.value) > _LONGEST_NUMBER:
        return None
    try:
        return convert(entry.node.value.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return None


def _bounded(entry: YamlEntry, number: float, least: float | None, most: float) -> Any:
    if least is not None and number < least:
        return entry.mistake(f"must be at least {least}; was {entry.node.value}")
    return number if number <= most else entry.mistake(f"must be at most {most}; was {entry.node.value}")
