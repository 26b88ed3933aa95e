"""The skeleton of a JSON text: its brackets, commas and colons outside strings, as a proof of shapes.

A text that a parser found valid, and whose skeleton equals the skeleton of regular nested lists, holds exactly these
lists. So raggedness is judged by comparing bytes, without looking at single numbers. Only lists of none and of one
element look the same; counting the elements separates them.

How deeply a text is nested shows by its brackets, too: no parser has to follow it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import simdjson

from core.errors import InvalidArgument
from core.inference.giving_up import go_on
from core.json.elements import Element, UnsuitableDocumentError

SKELETON = b"[]{},:"
ALL_ELSE = bytes(sorted(set(range(256)) - set(SKELETON)))
LARGEST_FAST_RANK = 32
FEW_STRINGS = 16

Shape = tuple[int, ...]

MOST_LEVELS: Final = 256
"""Deeper requests are refused (TensorFlow Serving 2.22)."""
_ALL_BUT_NESTING: Final = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_MARKS_AT_ONCE: Final = 256 * 1024
"""Brackets and quotes that are judged at a time: each takes some twenty times its memory."""
_LOWER_CASE: Final = 0x20
"""The bit that makes a curly bracket of a square one."""
_OPENING, _QUOTE = ord("{"), ord('"')


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


def require_shallow(text: bytes) -> None:
    """Raise InvalidArgument for a request that is nested too deeply."""
    if is_deeper(text):
        raise InvalidArgument(f"the request JSON is nested deeper than {MOST_LEVELS} levels")


def is_deeper(text: bytes, levels: int = MOST_LEVELS) -> bool:
    """Whether lists and objects are nested in more levels than these; of what is not JSON, as far as it shows."""
    if len(text) <= levels or text.count(b"[") + text.count(b"{") <= levels:
        return False
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        go_on()
    return _is_deeper(memoryview(text.translate(None, _ALL_BUT_NESTING)), levels)


def _is_deeper(marks: memoryview, levels: int) -> bool:
    """Whether more brackets than these are open at once outside strings; `marks` are brackets and quotes alone."""
    depth, inside = 0, False
    for start in range(0, len(marks), _MARKS_AT_ONCE):
        go_on()
        codes = np.frombuffer(marks[start : start + _MARKS_AT_ONCE], np.uint8)
        is_quote = codes == _QUOTE
        quotes = np.cumsum(is_quote, dtype=np.int32) + inside
        steps = np.where((codes | _LOWER_CASE) == _OPENING, 1, -1)
        depths = depth + np.cumsum(np.where(is_quote | ((quotes & 1) == 1), 0, steps), dtype=np.int32)
        if int(depths.max()) > levels:
            return True
        depth, inside = int(depths[-1]), bool(quotes[-1] & 1)
    return False
