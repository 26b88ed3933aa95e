"""The skeleton of a JSON text: its brackets, commas and colons outside strings, as a proof of shapes.

A text that a parser found valid, and whose skeleton equals the skeleton of regular nested lists, holds exactly these
lists. So raggedness is judged by comparing bytes, without looking at single numbers. Only lists of none and of one
element look the same; counting the elements separates them.
"""

from __future__ import annotations

from collections.abc import Sequence

import simdjson

from core.json.elements import Element, UnsuitableDocumentError

SKELETON = b"[]{},:"
ALL_ELSE = bytes(sorted(set(range(256)) - set(SKELETON)))
LARGEST_FAST_RANK = 32
FEW_STRINGS = 16

Shape = tuple[int, ...]


def check_skeleton(document: Element, key: str, expected: bytes, body: bytes) -> None:
    """Make sure that the text has the expected skeleton where the key stands, and only scalars elsewhere."""
    outline = object_skeleton([expected if name == key else b"" for name in document.keys()])  # noqa: SIM118
    if skeleton(body) != outline:
        raise UnsuitableDocumentError


def skeleton(body: bytes) -> bytes:
    """Reduce a valid text to its skeleton; strings with escapes are not judged."""
    if b"\\" in body:
        raise UnsuitableDocumentError
    return _outside_strings(body).translate(None, ALL_ELSE)


def list_shape(value: Element) -> Shape:
    """Return the shape that the first elements suggest."""
    shape = []
    while type(value) is simdjson.Array:
        shape.append(len(value))
        if len(shape) > LARGEST_FAST_RANK:
            raise UnsuitableDocumentError
        if not shape[-1]:
            break
        value = value[0]
    return tuple(shape)


def value_shape(value: Element) -> Shape:
    """Return the shape of a list, or that of a scalar."""
    if type(value) is simdjson.Object:
        raise UnsuitableDocumentError
    return list_shape(value) if type(value) is simdjson.Array else ()


def list_skeleton(shape: Shape, element: bytes = b"", *, limit: int) -> bytes:
    """Write the skeleton of nested lists, unless it would be longer than the limit."""
    if _length(shape, len(element)) > limit:
        raise UnsuitableDocumentError
    for size in reversed(shape):
        element = b"[%b]" % b",".join([element] * size)
    return element


def object_skeleton(values: Sequence[bytes]) -> bytes:
    """Write the skeleton of an object from those of its values."""
    return b"{%b}" % b",".join([b":" + value for value in values])


def _length(shape: Shape, length: int) -> int:
    for size in reversed(shape):
        length = 2 + size * length + max(size - 1, 0)
    return length


def _outside_strings(body: bytes) -> bytes:
    """Drop all strings; few of them are cut out one by one, as searching is faster than splitting."""
    pieces = []
    start = 0
    for _ in range(FEW_STRINGS):
        opening = body.find(b'"', start)
        if opening < 0:
            pieces.append(body[start:])
            return b"".join(pieces)
        pieces.append(body[start:opening])
        start = body.find(b'"', opening + 1) + 1
    return b"".join((*pieces, *body[start:].split(b'"')[::2]))
