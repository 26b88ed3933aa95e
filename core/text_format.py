"""Parsing of protobuf text files, with every unknown field reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from core.errors import ConfigError, Problem
from core.text_format_positions import DEEPEST, Outline, outline

M = TypeVar("M", bound=Message)
OUR_PACKAGE = "ray_model_server."
ANY = "google.protobuf.Any"


def unknown_fields(place: Outline, message: Descriptor) -> Iterator[tuple[Outline, Descriptor]]:
    """Give every field of the text that its message does not have, in the order of the text."""
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


def parse(text: str, message: M, file: str = "", *, allow_unknown: bool = False) -> tuple[M, Outline]:
    """Parse a text file into the message; raises ConfigError with all unknown fields and the first other mistake.

    The outline that comes with the message knows the lines of the fields. An empty file is a mistake, because a file
    that is just being rewritten looks like that. With `allow_unknown`, unknown fields are left out instead.
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
