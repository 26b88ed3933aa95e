"""Values inside a document of simdjson: their type, the names of their members, and their copy as plain values."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final, TypeAlias, cast

import simdjson

from core.inference.giving_up import PORTION, go_on, patiently
from core.json.values import JsonObject, Value

Element: TypeAlias = Any
"""A scalar, `simdjson.Array` or `simdjson.Object`; its reader finds out which. It lives as long as its document."""

MOST_MEMBERS = 64
ELEMENTS_AT_ONCE = 20_000
OWN_ERROR: Final = re.compile(r"[A-Z0-9_]+: ")
"""The beginning of simdjson's error texts: the name of its error."""


class UnsuitableDocumentError(Exception):
    """The document is of a form that only the exact way can judge; nothing else leaves the lanes of simdjson."""


def parsed_element(parser: simdjson.Parser, body: bytes) -> Element:
    """Parse a text; raises UnsuitableDocumentError for what simdjson refuses: mistakes, and numbers beyond 64 bits.

    An error without the name of one of simdjson's own is a mistake of ours, such as a document that is still in use.
    """
    try:
        return parser.parse(body)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, UnicodeDecodeError) or OWN_ERROR.match(str(error)):
            raise UnsuitableDocumentError from error
        raise


def numbers(array: Element, kind: str) -> memoryview:
    """Return the numbers of an array, however they are nested, of the kind `d`, `i` or `u` (double, int64, uint64).

    Raises UnsuitableDocumentError where another value is among them, or a number that the kind cannot hold.
    """
    try:
        return memoryview(array.as_buffer(of_type=kind))
    except (TypeError, ValueError) as error:
        if OWN_ERROR.match(str(error)):
            raise UnsuitableDocumentError from error
        raise


def member_names(element: Element) -> list[str]:
    """Return the names of an object that may be asked for its members one by one.

    simdjson searches from the start each time and always finds the first of equal names, and its search takes a NUL for
    the end of a name. So objects with very many members, with repetitions or with NULs are left to the exact parser.
    """
    if len(element) > MOST_MEMBERS:
        raise UnsuitableDocumentError
    names: list[str] = list(element.keys())
    if len(set(names)) != len(names) or "\0" in "".join(names):
        raise UnsuitableDocumentError
    return names


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
                values[index] = made = JsonObject(names, [])
                made.values = members  # elements of simdjson until their turn comes
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
