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
    tree = _opened(document, key, cache(partial(require_affordable, text)), MOST_LEVELS)
    found = _long_lists(tree)
    if found:
        _prove(text, tree, found)
    return use(tree)


def _opened(element: Element, key: str, check: Callable[[], None], levels: int) -> Tree:
    """Copy a part of the document, without its long lists."""
    if type(element) is simdjson.Object:
        members = {name: element[name] for name in _few(member_names(element), levels)}
        return {
            name: LongList(one, check)
            if name == key and type(one) is simdjson.Array
            else _opened(one, key, check, levels - 1)
            for name, one in members.items()
        }
    if type(element) is simdjson.Array:
        return [_opened(one, key, check, levels - 1) for one in _few(element, levels)]
    return element


def _few(items: Element, levels: int) -> Element:
    if not levels or len(items) > MOST_ITEMS:
        raise UnsuitableDocumentError
    return items


def _long_lists(tree: Tree) -> list[LongList]:
    if isinstance(tree, LongList):
        return [tree]
    return [found for one in _items(tree) for found in _long_lists(one)]


def _items(tree: Tree) -> list[Tree]:
    if isinstance(tree, dict):
        return list(tree.values())
    return tree if isinstance(tree, list) else []


def _prove(text: bytes, tree: Tree, found: list[LongList]) -> None:
    """Give the lists their shapes, if the text shows that all are nested regularly."""
    if text.count(b"[") == _lists_in(tree):
        for one in found:
            one.shape = (len(one.elements),)
        return
    try:
        shapes = [list_shape(one.elements) for one in found]
        if skeleton(text) != _outline(tree, len(text)):
            return
    except UnsuitableDocumentError:
        return
    for one, shape in zip(found, shapes, strict=True):
        one.shape = shape


def _lists_in(tree: Tree) -> int:
    """Count the lists of a tree, without those inside of long lists."""
    return isinstance(tree, (list, LongList)) + sum(map(_lists_in, _items(tree)))


def _outline(tree: Tree, limit: int) -> bytes:
    """Write the skeleton of a tree whose long lists are regular."""
    if isinstance(tree, LongList):
        return list_skeleton(list_shape(tree.elements), limit=limit)
    parts = [_outline(one, limit) for one in _items(tree)]
    if isinstance(tree, dict):
        return object_skeleton(parts)
    return b"[%b]" % b",".join(parts) if isinstance(tree, list) else b""
