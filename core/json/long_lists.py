"""Objects whose long lists stay in simdjson's memory until their reader knows what they hold.

Where the type of a list stands beside it, in the same object, a reader takes the other members first and then copies
the numbers without an object per number. That they were nested regularly is proved as in `core.json.skeleton`; without
nested lists it is enough to count brackets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
import simdjson

from core.json.columns import BUFFERS
from core.json.document import require_affordable, with_object
from core.json.elements import Element, UnsuitableDocumentError, member_names, numbers, plain
from core.json.skeleton import Shape, list_shape, list_skeleton, object_skeleton, skeleton

T = TypeVar("T")
Tree: TypeAlias = Any
"""Scalars, dicts and lists of a document, and its `LongList`s."""

MOST_LEVELS: Final = 5
MOST_ITEMS: Final = 1000
"""Objects and lists of further levels and with more items are left to the exact parser."""


@dataclass(slots=True)
class LongList:
    """A list in a document; `shape` is None where it is not known to be nested regularly.

    `check_affordable` refuses a document whose values would need too much memory. It lives as long as its document.
    """

    elements: Element
    check_affordable: Callable[[], None]
    shape: Shape | None = None

    def numbers(self, kind: str) -> np.ndarray | None:
        """Return the numbers in row-major order, of the kind `d`, `i` or `u` (double, int64, uint64).

        None where the list is not known to be regular, where a number does not fit the kind, and where another value
        is among them.
        """
        if self.shape is None:
            return None
        try:
            values = np.frombuffer(numbers(self.elements, kind), dtype=BUFFERS[kind])
        except UnsuitableDocumentError:
            return None
        # Lists of none and of one element have the same skeleton.
        return values if values.size == math.prod(self.shape) else None

    def values(self) -> list[Any]:
        """Return the list as plain values; raises InvalidArgument where these would need far more memory."""
        self.check_affordable()
        return cast(list[Any], plain(self.elements))


def with_long_lists(text: bytes, key: str, use: Callable[[Mapping[str, Tree]], T]) -> T | None:
    """Apply a function to an object whose lists named `key`, at any level, are `LongList`s.

    Returns None for a text that only the exact parser can judge. The function must not keep any `LongList`.
    """
    return with_object(text, partial(_used, text, key, use))


def _used(text: bytes, key: str, use: Callable[[Mapping[str, Tree]], T], document: Element) -> T:
    # Counting once is enough, however many lists there are.
    opening = _Opening(key, cache(partial(require_affordable, text)))
    tree = opening.tree(document, MOST_LEVELS)
    if opening.found:
        _prove(text, tree, opening)
    return use(tree)


class _Opening:
    """Copies a document without its long lists, which it collects; `lists` counts them and all others."""

    __slots__ = ("check", "found", "key", "lists")

    def __init__(self, key: str, check: Callable[[], None]) -> None:
        self.key = key
        self.check = check
        self.found: list[LongList] = []
        self.lists = 0

    def tree(self, element: Element, levels: int) -> Tree:
        kind = type(element)
        if kind is simdjson.Object:
            return {name: self.member(name, element[name], levels) for name in _few(member_names(element), levels)}
        if kind is simdjson.Array:
            self.lists += 1
            return [self.tree(one, levels - 1) for one in _few(element, levels)]
        return element

    def member(self, name: str, element: Element, levels: int) -> Tree:
        if name != self.key or type(element) is not simdjson.Array:
            return self.tree(element, levels - 1)
        self.lists += 1
        self.found.append(LongList(element, self.check))
        return self.found[-1]


def _few(items: Element, levels: int) -> Element:
    if not levels or len(items) > MOST_ITEMS:
        raise UnsuitableDocumentError
    return items


def _prove(text: bytes, tree: Tree, opening: _Opening) -> None:
    """Give the lists their shapes, if the text shows that all are nested regularly."""
    if not _has_more_brackets(text, opening.lists):
        for one in opening.found:
            one.shape = (len(one.elements),)
        return
    try:
        shapes = [list_shape(one.elements) for one in opening.found]
        if skeleton(text) != _outline(tree, len(text)):
            return
    except UnsuitableDocumentError:
        return
    for one, shape in zip(opening.found, shapes, strict=True):
        one.shape = shape


def _has_more_brackets(text: bytes, lists: int) -> bool:
    """Whether there are more than those of the lists that are known; counting all would take longer."""
    at = -1
    for _ in range(lists + 1):
        at = text.find(b"[", at + 1)
        if at < 0:
            return False
    return True


def _outline(tree: Tree, limit: int) -> bytes:
    """Write the skeleton of a tree whose long lists are regular."""
    if isinstance(tree, LongList):
        return list_skeleton(list_shape(tree.elements), limit=limit)
    if isinstance(tree, dict):
        return object_skeleton([_outline(one, limit) for one in tree.values()])
    if isinstance(tree, list):
        return b"[%b]" % b",".join([_outline(one, limit) for one in tree])
    return b""
