"""The outline of a protobuf text: its fields with their positions, whether or not it can be parsed.

The library's parser tells only where it stopped; mistakes get lines by this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DEEPEST = 100
"""Levels of nesting that are followed; no configuration needs more, and the library's parser is recursive."""


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<name>[A-Za-z_][\w.\-/]*)
      | (?P<value>[\w.+]+ | -(?:[\w.]+)? | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
      | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE | re.ASCII,
)


_CLOSING = {"{": "}", "<": ">"}
_OPENING = {**_CLOSING, "[": "]"}


class _Token(NamedTuple):
    """A word or mark of the text, and where it is."""

    kind: str
    text: str
    line: int
    column: int
    start: int


@dataclass(slots=True, eq=False)
class Outline:
    """One field of the text, with the fields inside it; the root has no name."""

    name: str = ""
    line: int = 1
    column: int = 1
    fields: list[Outline] = field(default_factory=list, repr=False)

    def first(self, name: str) -> Outline | None:
        """Return the first field of that name, if any."""
        return next((one for one in self.fields if one.name == name), None)

    def each(self, name: str) -> list[Outline]:
        """Return all fields of that name, in the order of the text."""
        return [one for one in self.fields if one.name == name]

    def has(self, *path: str) -> bool:
        """Whether the text has a field at that path."""
        place: Outline | None = self
        for name in path:
            place = place.first(name) if place is not None else None
        return place is not None

    def line_of(self, *path: str) -> int:
        """Return the line of the field at that path, or of the nearest field around it."""
        place = self
        for name in path:
            inner = place.first(name)
            if inner is None:
                break
            place = inner
        return place.line


@dataclass(slots=True)
class _Level:
    """One open message: its field, the mark that closes it, and how many brackets are open inside it."""

    place: Outline
    closing: str = ""
    brackets: int = 0


@dataclass(slots=True)
class _Scan:
    """State of the scan.

    A word becomes a field when a colon or a brace follows it (`pending` until then). Between a colon and its value
    (`value_next`), and in brackets, words are values.
    """

    levels: list[_Level]
    pending: Outline | None = None
    value_next: bool = False
    over: bool = False
    deepest: int = 0

    def take(self, kind: str, text: str, line: int, column: int) -> None:
        level = self.levels[-1]
        if kind == "mark":
            self._mark(level, text, line, column)
        elif kind == "value" or self.value_next or level.brackets:
            self.value_next = self.value_next and text == "-"
        else:
            self.pending = Outline(text, line, column)

    def _mark(self, level: _Level, mark: str, line: int, column: int) -> None:
        if mark in "{<":
            self._open(level, mark, line, column)
        elif mark in "}>":
            self._close(level, mark)
        elif mark == ":":
            self._confirm(level)
        elif mark == "[":
            level.brackets += 1
        elif mark == "]":
            level.brackets = max(level.brackets - 1, 0)
        self.value_next = mark == ":"

    def _confirm(self, level: _Level) -> None:
        if self.pending is not None:
            level.place.fields.append(self.pending)
            self.pending = None

    def _open(self, level: _Level, mark: str, line: int, column: int) -> None:
        self._confirm(level)
        fields = level.place.fields
        if not fields:
            self.over = True
            return
        if level.brackets and fields[-1].fields:
            fields.append(Outline(fields[-1].name, line, column))
        self.levels.append(_Level(fields[-1], _CLOSING[mark]))
        self.deepest = max(self.deepest, len(self.levels) - 1)
        self.over = self.deepest > DEEPEST

    def _close(self, level: _Level, mark: str) -> None:
        if level.closing != mark:
            self.over = True
            return
        self.levels.pop()


def _tokens(text: str) -> Iterator[_Token]:
    line, line_start, position = 1, 0, 0
    while found := _TOKEN.match(text, position):
        kind, token = found.lastgroup or "", found.group()
        if kind == "space":
            breaks = token.count("\n")
            line += breaks
            line_start = found.start() + token.rindex("\n") + 1 if breaks else line_start
        else:
            yield _Token(kind, token, line, found.start() - line_start + 1, found.start())
        position = found.end()


def outline(text: str) -> tuple[Outline, int]:
    """Return the fields of a text with their positions, and how deep it is nested (at most one level above DEEPEST)."""
    root = Outline()
    scan = _Scan([_Level(root)])
    for token in _tokens(text):
        scan.take(token.kind, token.text, token.line, token.column)
        if scan.over:
            break
    return root, scan.deepest


@dataclass(frozen=True, slots=True)
class FieldText:
    """The names of a field and of those around it, and where it begins and ends in the text."""

    names: tuple[str, ...]
    start: int
    end: int

    def blanked(self, text: str) -> str:
        """Return the text without the field; lines and columns of the rest stay."""
        blank = re.sub(r"[^\n]", " ", text[self.start : self.end])
        return text[: self.start] + blank + text[self.end :]


def field_at(text: str, place: Outline) -> FieldText | None:
    """Return the innermost field that begins at a place or before it; None where the marks do not fit together."""
    tokens = list(_tokens(text))
    before = [index for index, one in enumerate(tokens) if (one.line, one.column) <= (place.line, place.column)]
    for index in reversed(before):
        token = tokens[index]
        follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind == "name" and follows in {":", "{", "<"} and (index == 0 or tokens[index - 1].text != ":"):
            end = _end_of_value(tokens, index + 1)
            return None if end is None else FieldText((*_around(tokens[:index]), token.text), token.start, end)
    return None


def _around(tokens: Sequence[_Token]) -> list[str]:
    """Return the names of the messages that are open behind the tokens."""
    names: list[str] = []
    last = ""
    for token in tokens:
        if token.text in _CLOSING:
            names.append(last)
        elif token.text in _CLOSING.values() and names:
            names.pop()
        last = token.text if token.kind == "name" else last
    return names


def _end_of_value(tokens: Sequence[_Token], index: int) -> int | None:
    """Return where the value ends that follows a name; None for one that is not closed."""
    index += tokens[index].text == ":"
    open_marks = 0
    for token in tokens[index:]:
        open_marks += (token.text in _OPENING) - (token.text in _OPENING.values())
        if open_marks < 0:
            return token.start  # there is no value
        if not open_marks and token.text != "-":
            return token.start + len(token.text)
    return None
