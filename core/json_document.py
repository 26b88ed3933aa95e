"""Request bodies as JSON documents: simdjson where it can judge, the exact parser for everything else.

simdjson decides only that a text is valid. Whatever it refuses goes to `core.json_parser`, which knows what TensorFlow
Serving accepts beyond standard JSON and how it words its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import simdjson

from core.errors import InvalidArgument
from core.json_dump import complaint
from core.json_parser import parse_exactly
from core.json_values import JsonObject, Value

T = TypeVar("T")
Element: TypeAlias = Any
"""A value inside a simdjson document: a scalar, `simdjson.Array` or `simdjson.Object`; its reader finds out which."""

LARGEST_KEPT_BODY_BYTES = 8 * 1024 * 1024
"""A parser keeps about twelve times the memory of its largest body; after larger ones it is thrown away."""
KEPT_PARSERS = 16

_parsers: list[simdjson.Parser] = []
"""Parsers at rest. A parser works for one document at a time; taking and giving back are atomic list operations."""

REFUSALS = (ValueError, RuntimeError, TypeError)
"""simdjson's errors for bad, big, deep or unusual documents; UnicodeDecodeError is a ValueError."""


def with_object(body: bytes, use: Callable[[Element], T | None]) -> T | None:
    """Apply a function to a valid top-level object; None when there is none, or the function gives up.

    The function must not keep any part of the document. Its own ValueError, RuntimeError, TypeError, KeyError mean that
    it gives up.
    """
    try:
        parser = _parsers.pop()
    except IndexError:
        parser = simdjson.Parser()
    try:
        result = _apply(parser, body, use)
    except (*REFUSALS, KeyError):
        return None
    if len(body) <= LARGEST_KEPT_BODY_BYTES and len(_parsers) < KEPT_PARSERS:
        _parsers.append(parser)
    return result


def parse_object(body: bytes) -> JsonObject:
    """Read a body that must be an object, as values."""
    quick: Value = with_object(body, plain)
    document = parse_exactly(body) if quick is None else quick
    if not isinstance(document, JsonObject):
        raise InvalidArgument(complaint(document, "Is not object"))
    return document


def plain(element: Element) -> Value:
    """Turn a container of simdjson into values."""
    root: list[Element] = [element]
    pending = [root]
    while pending:
        values = pending.pop()
        for index, item in enumerate(values):
            if type(item) is simdjson.Array:
                values[index] = inner = list(item)
                pending.append(inner)
            elif type(item) is simdjson.Object:
                values[index] = opened = JsonObject(list(item.keys()), cast(list[Value], list(item.values())))
                pending.append(opened.values)
    return cast(Value, root[0])


def _apply(parser: simdjson.Parser, body: bytes, use: Callable[[Element], T | None]) -> T | None:
    document: Element = parser.parse(body)
    return use(document) if type(document) is simdjson.Object else None
