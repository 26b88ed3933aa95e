"""Parses protobuf text files, with the lines of their fields; reports every unknown field at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from core.errors import ConfigError, Problem

M = TypeVar("M", bound=Message)
OUR_PACKAGE = "ray_model_server."
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
    """Parse a text file into the message; raises ConfigError with every mistake of its form.

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
        rest = parse_rest(text, message, file)
        known = {problem.line for problem in unknown} | (set() if rest.left_out else {first.line})
        found = [*([] if first.line in known and unknown else [first]), *rest.problems]
        further = dict.fromkeys(problem for problem in found if problem is first or problem.line not in known)
        raise ConfigError(tuple(sorted((*unknown, *further), key=lambda problem: problem.line or 0))) from None
    return message, places


def checked_message(
    text: str, message: M, file: str, check: Callable[[M, Outline], Iterable[Problem]]
) -> tuple[M, Outline]:
    """Parse a text file and check its content; raises ConfigError with every mistake of form and of content."""
    try:
        parse_text_message(text, message, file)
    except ConfigError as error:
        rest = parse_rest(text, message, file)
        raise ConfigError((*error.problems, *rest.others(check(message, rest.places)))) from None
    problems = tuple(check(message, outline(text)[0]))
    if problems:
        raise ConfigError(problems)
    return message, outline(text)[0]


@dataclass(frozen=True, slots=True)
class Remnant:
    """What can be read of a text with mistakes: the outline of it, and every mistake of its form."""

    places: Outline
    problems: tuple[Problem, ...]
    left_out: frozenset[str]
    """The names of what was left out, and of what is around it."""

    def others(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield mistakes of content, without what only seems to be missing because it was left out."""
        return (one for one in problems if one.field.rpartition(".")[2] not in self.left_out)


def parse_rest(text: str, message: Message, file: str = "") -> Remnant:
    """Parse what is right of a text into the message, so that everything is checked at once.

    A field with a mistake is left out with all that is inside it, and the others keep their lines.
    """
    kind = cast(Descriptor, message.DESCRIPTOR)
    problems: list[Problem] = []
    left_out: set[str] = set()
    for _ in range(MOST_LEFT_OUT):
        message.Clear()
        try:
            text_format.Parse(text, message, allow_unknown_field=True)
            break
        except (text_format.ParseError, ValueError, RecursionError) as error:
            place, detail = _place_and_detail(error, text)
            problems.append(_problem(kind, file, place, detail))
            found = _field_at(text, place)
            if found is None:
                message.Clear()
                break
            left_out.update(found.names)
            text = found.blanked(text)
    return Remnant(outline(text)[0], tuple(problems), frozenset(left_out))


@dataclass(frozen=True, slots=True)
class _FieldText:
    """The names of a field and of those around it, and where it begins and ends in the text."""

    names: tuple[str, ...]
    start: int
    end: int

    def blanked(self, text: str) -> str:
        """Return the text without the field; lines and columns of the rest stay."""
        blank = re.sub(r"[^\n]", " ", text[self.start : self.end])
        return text[: self.start] + blank + text[self.end :]


def _field_at(text: str, place: Outline) -> _FieldText | None:
    """Return the innermost field that begins at a place or before it; None where the marks do not fit together."""
    tokens = list(_tokens(text))
    before = [index for index, one in enumerate(tokens) if (one.line, one.column) <= (place.line, place.column)]
    for index in reversed(before):
        token = tokens[index]
        follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind == "name" and follows in {":", "{", "<"} and (index == 0 or tokens[index - 1].text != ":"):
            end = _end_of_value(tokens, index + 1)
            return None if end is None else _FieldText((*_around(tokens[:index]), token.text), token.start, end)
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
    name, plain = (text.replace(OUR_PACKAGE, "") for text in (kind.full_name, detail))
    parse_error = f"Error parsing text-format {name}: {place.line}:{place.column}: {plain}"
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
_OPENING = {**_CLOSING, "[": "]"}
MOST_LEFT_OUT = 100
"""Mistakes of form that are reported at once; each takes another reading."""


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
