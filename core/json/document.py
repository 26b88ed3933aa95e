"""Request bodies as JSON documents: simdjson where it can judge, the exact parser for everything else.

simdjson decides only that a text is valid. Whatever it refuses goes to `core.json.exact_parser`, which knows what
TensorFlow Serving accepts beyond standard JSON and how it words its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar, cast

import simdjson

from core.errors import InvalidArgument
from core.inference.giving_up import PORTION, go_on, patiently
from core.json.exact_parser import parse_exactly
from core.json.picture import complaint
from core.json.values import JsonObject, Value

T = TypeVar("T")
Element: TypeAlias = Any
"""A value inside a simdjson document: a scalar, `simdjson.Array` or `simdjson.Object`; its reader finds out which."""

LARGEST_KEPT_BODY_BYTES = 8 * 1024 * 1024
"""A parser keeps about twelve times the memory of its largest body; after larger ones it is thrown away."""
KEPT_PARSERS = 16

_parsers: list[simdjson.Parser] = []
"""Parsers at rest. A parser works for one document at a time; taking and giving back are atomic list operations."""

MOST_MEMBERS = 64
ELEMENTS_AT_ONCE = 20_000

LARGEST_DOCUMENT_BYTES = 2 * 1024**3
BYTES_PER_TOKEN: Mapping[bytes, int] = MappingProxyType({b"[": 112, b"{": 240, b":": 64, b",": 40, b"\\": 64})
"""What a bracket, a member, an element or an escape costs at most while a document is read into values."""

REFUSALS = (ValueError, RuntimeError, TypeError)
"""simdjson's errors for bad, big, deep or unusual documents; UnicodeDecodeError is a ValueError."""


class UnsuitableDocumentError(ValueError):
    """The document is valid, but of a form that only the exact way can judge."""


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
    _require_affordable(body)
    quick = with_object(body, _plain_object)
    document = parse_exactly(body) if quick is None else quick
    if not isinstance(document, JsonObject):
        raise InvalidArgument(complaint(document, "Is not object"))
    return document


def _require_affordable(body: bytes) -> None:
    """Refuse the few bodies whose values need a hundred times the memory of their text."""
    needed = sum(body.count(token) * cost for token, cost in BYTES_PER_TOKEN.items())
    if needed > LARGEST_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"The lists, objects and strings of this request need {needed >> 20} MiB of memory, of which a request may "
            f"have {LARGEST_DOCUMENT_BYTES >> 20} MiB. Send fewer examples in one request."
        )


def plain(element: Element) -> Value:
    """Turn a container of simdjson into values."""
    root: list[Element] = [element]
    pending: list[list[Element]] = [root]
    containers = 0
    while pending:
        containers += 1
        if not containers % PORTION:
            go_on()
        values = pending.pop()
        for index, item in enumerate(patiently(values)):
            if type(item) is simdjson.Array:
                elements = _elements(item)
                values[index] = elements
                pending.append(elements)
            elif type(item) is simdjson.Object:
                names = member_names(item)
                members: list[Element] = [item[name] for name in names]
                values[index] = JsonObject(names, members)
                pending.append(members)
    return cast(Value, root[0])


def _elements(array: Element) -> list[Element]:
    """Return the elements of an array, in portions: one call for millions would keep all other threads waiting."""
    elements: list[Element] = []
    rest = iter(array)
    while portion := list(islice(rest, ELEMENTS_AT_ONCE)):
        elements += portion
        if len(portion) < ELEMENTS_AT_ONCE:
            break
        go_on()
    return elements


def _plain_object(element: Element) -> JsonObject:
    return cast(JsonObject, plain(element))


def member_names(element: Element) -> list[str]:
    """Return the names of an object that may be asked for its members one by one.

    simdjson searches from the start each time and always finds the first of equal names, and its search takes a NUL for
    the end of a name. So objects with very many members, with repetitions or with NULs are left to the exact parser.
    """
    names: list[str] = list(element.keys())
    if len(names) > MOST_MEMBERS or len(set(names)) != len(names) or "\0" in "".join(names):
        raise UnsuitableDocumentError
    return names


def _apply(parser: simdjson.Parser, body: bytes, use: Callable[[Element], T | None]) -> T | None:
    document: Element = parser.parse(body)
    return use(document) if type(document) is simdjson.Object else None
