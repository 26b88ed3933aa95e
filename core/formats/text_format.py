"""Parses protobuf text files, with the lines of their fields; reports every unknown field at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from core.errors import PARSE_ERROR, ConfigError, Problem

M = TypeVar("M", bound=Message)
_OUR_PACKAGE = re.compile(r"ray_model_server\.(?:(tensorflow\.)session_file\.)?")
"""What our messages' names have before those that operators know."""

ANY = "google.protobuf.Any"
MARKS = frozenset({"---", "..."})


def unknown_fields(place: Outline, message: Descriptor) -> Iterator[tuple[Outline, Descriptor]]:
    """Yield every field of the text that its message does not have, in the order of the text."""
    waiting = [(place, message)]
    found: list[tuple[Outline, Descriptor]] = []
    while waiting:
        around, kind = waiting.pop()
        for inner in around.fields:
            known = kind.fields_by_name.get(inner.name)
            if known is None:
                found.append((inner, kind))
            elif known.message_type is not None and known.message_type.full_name != ANY:
                waiting.append((inner, known.message_type))
    return iter(sorted(found, key=lambda pair: (pair[0].line, pair[0].column)))


def parse_text_message(text: str, message: M, file: str = "", *, allow_unknown: bool = False) -> tuple[M, Outline]:
    """Parse a text file into the message; raises ConfigError with all unknown fields and the first other mistake.

    The outline that is returned with the message has the lines of the fields. An empty file is a mistake, because a
    file that is just being rewritten is empty for a moment. With `allow_unknown`, unknown fields are left out instead.
    """
    kind = cast(Descriptor, message.DESCRIPTOR)
    if not text:
        raise ConfigError((Problem(f"Invalid protobuf file: '{file}'. The file is empty.", file),))
    places, depth = outline(text)
    if depth > DEEPEST:
        raise ConfigError((_problem(kind, file, Outline(), f"nested more than {DEEPEST} levels deep"),))
    unknown = [
        _problem(kind, file, place, _unknown(place.name, inner)) for place, inner in unknown_fields(places, kind)
    ]
    try:
        text_format.Parse(text, message, allow_unknown_field=allow_unknown)
    except (text_format.ParseError, ValueError, RecursionError) as error:
        first = _problem(kind, file, *_place_and_detail(error, text))
        known = {problem.line for problem in unknown}
        raise ConfigError(tuple(unknown) if first.line in known else (*unknown, first)) from None
    return message, places


def says_nothing(text: str) -> bool:
    """Whether a file holds only blanks and comments; an empty one is a mistake and says nothing either.

    Protobuf text files and YAML have the same comments; YAML's marks of documents say nothing.
    """
    lines = (line.strip() for line in text.split("\n"))
    return all(not line or line.startswith("#") or line in MARKS for line in lines)


def _place_and_detail(error: Exception, text: str) -> tuple[Outline, str]:
    if not isinstance(error, text_format.ParseError) or not error.GetLine():
        return Outline(), str(error)
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    detail = str(error).partition(" : ")[2]
    quoted_line = f"'{text.split(chr(10))[line - 1]}': "
    return Outline("", line, column), detail.removeprefix(quoted_line)


def _unknown(name: str, kind: Descriptor) -> str:
    near = difflib.get_close_matches(name, kind.fields_by_name, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f'Message type "{kind.full_name}" has no field named "{name}".{hint}'


def _problem(kind: Descriptor, file: str, place: Outline, detail: str) -> Problem:
    name, plain = (_OUR_PACKAGE.sub(r"\1", text) for text in (kind.full_name, detail))
    parse_error = f"{PARSE_ERROR}{name}: {place.line}:{place.column}: {plain}"
    return Problem(f"Invalid protobuf file: '{file}'. {parse_error}", file, place.line, place.name)


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


def _tokens(text: str) -> Iterator[tuple[str, str, int, int]]:
    line, line_start, position = 1, 0, 0
    while found := _TOKEN.match(text, position):
        kind, token = found.lastgroup or "", found.group()
        if kind == "space":
            breaks = token.count("\n")
            line += breaks
            line_start = found.start() + token.rindex("\n") + 1 if breaks else line_start
        else:
            yield kind, token, line, found.start() - line_start + 1
        position = found.end()


def outline(text: str) -> tuple[Outline, int]:
    """Return the fields of a text with their positions, and how deep it is nested (at most one level above DEEPEST)."""
    root = Outline()
    scan = _Scan([_Level(root)])
    for token in _tokens(text):
        scan.take(*token)
        if scan.over:
            break
    return root, scan.deepest
