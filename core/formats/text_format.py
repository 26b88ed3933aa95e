"""Parses protobuf text files, with the lines of their fields; reports every unknown field at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from core.errors import PARSE_ERROR, ConfigError, Problem
from core.formats.text_outline import DEEPEST, Outline, field_at, outline

M = TypeVar("M", bound=Message)
_OUR_PACKAGE = re.compile(r"ray_model_server\.(?:(tensorflow\.)session_file\.)?")
"""What our messages' names have before those that operators know."""

ANY = "google.protobuf.Any"
MARKS = frozenset({"---", "..."})
MOST_LEFT_OUT = 100
"""Mistakes of form that are reported at once; each takes another reading."""


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


def checked_message(text: str, message: M, file: str, check: Callable[[M, Outline], Iterable[Problem]]) -> M:
    """Parse a text file and check its content; raises ConfigError with every mistake of form and of content."""
    try:
        _, places = parse_text_message(text, message, file)
    except ConfigError as error:
        rest = parse_rest(text, message, file)
        raise ConfigError((*error.problems, *rest.others(check(message, rest.places)))) from None
    problems = tuple(check(message, places))
    if problems:
        raise ConfigError(problems)
    return message


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
            found = field_at(text, place)
            if found is None:
                message.Clear()
                break
            left_out.update(found.names)
            text = found.blanked(text)
    return Remnant(outline(text)[0], tuple(problems), frozenset(left_out))


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
