"""Arrays to JSON text (TensorFlow Serving, predict response); floats in the shortest form that reads back the same.

NaN and infinities are written as `NaN`, `Infinity` and `-Infinity`, as TensorFlow Serving does, although JSON has no
such words.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, DataType, type_of
from core.json.strings import NEEDS_ESCAPE, quote, raw_bytes

BINARY_SUFFIX = "_bytes"
"""An output whose name ends like this is written as base64 objects."""

PRINTABLE = frozenset(
    NUMPY_DTYPE[dtype]
    for dtype in (
        DataType.FLOAT,
        DataType.DOUBLE,
        DataType.INT32,
        DataType.INT16,
        DataType.INT8,
        DataType.UINT8,
        DataType.INT64,
        DataType.UINT32,
        DataType.UINT64,
        DataType.BOOL,
        DataType.STRING,
    )
)
MEMBER_INDENT = b"    "
ROW_INDENT = b"        "

LARGEST_SPACED_BYTES = 4096
"""Up to this size commas get TensorFlow Serving's blank; in larger texts it would only cost time."""


def rows_answer(key: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    """Write a response with one entry per example; the first dimension of all outputs is the same.

    With one output its name is left out.
    """
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _answer(key, _closing_on_its_own_line(array_text(name, array)))
    columns = [row_texts(name, array) for name, array in outputs.items()]
    rows = [_object(dict(zip(outputs, row, strict=True)), ROW_INDENT) for row in zip(*columns, strict=True)]
    separator = b"\n" + ROW_INDENT
    return _answer(key, b"[%b%b\n    ]" % (separator, (b"," + separator).join(rows)))


def columns_answer(key: str, outputs: Mapping[str, np.ndarray]) -> bytes:
    """Write a response that holds whole tensors; with one output its name is left out."""
    texts = {name: array_text(name, array) for name, array in outputs.items()}
    return _answer(key, next(iter(texts.values())) if len(texts) == 1 else _object(texts, MEMBER_INDENT))


def list_answer(key: str, texts: Iterable[bytes]) -> bytes:
    """Write a response that holds a list of values, given as texts."""
    return _answer(key, _closing_on_its_own_line(b"[%b]" % b", ".join(texts)))


def array_text(name: str, array: np.ndarray) -> bytes:
    """Write one tensor as nested lists."""
    if array.dtype == object:
        return _nest(_string_texts(name, array), array.shape)
    return _spaced(numbers_text(_printable(array)))


def row_texts(name: str, array: np.ndarray) -> list[bytes]:
    """Write each slice of a tensor along its first dimension."""
    if array.dtype == object:
        texts = _string_texts(name, array)
        size = prod(array.shape[1:])
        return [_nest(texts[at * size : (at + 1) * size], array.shape[1:]) for at in range(array.shape[0])]
    printable = _printable(array)
    if not array.size:
        return [numbers_text(printable[0])] * array.shape[0] if array.shape[0] else []
    return [_spaced(text) for text in _slices(numbers_text(printable), array.ndim)]


def numbers_text(array: np.ndarray) -> bytes:
    """Write numbers or booleans without blanks."""
    if array.ndim == 0:
        return numbers_text(array.reshape(1))[1:-1]
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for NaN and infinities, and for nothing else.
    if array.dtype.kind != "f" or b"null" not in text:
        return text
    return _name_not_finite(text, array[~np.isfinite(array)])


def _object(members: Mapping[str, bytes], indent: bytes) -> bytes:
    """Write an object, one member per line."""
    inner = b"\n" + indent + b"    "
    lines = [b"%b%b: %b" % (inner, quote(raw_bytes(name)), text) for name, text in members.items()]
    return b"{%b\n%b}" % (b",".join(lines), indent)


def _answer(key: str, text: bytes) -> bytes:
    """Write the whole response."""
    return b'{\n    "%b": %b\n}' % (key.encode(), text)


def _closing_on_its_own_line(text: bytes) -> bytes:
    """Move the last bracket of a list to the next line, as TensorFlow Serving happens to do."""
    return text if text == b"[]" else b"%b\n    ]" % text[:-1]


def _printable(array: np.ndarray) -> np.ndarray:
    if array.dtype not in PRINTABLE:
        raise InvalidArgument(f"Failed to write JSON value for tensor type: {type_of(array).label}")
    return array


def _name_not_finite(text: bytes, values: np.ndarray) -> bytes:
    """Replace each null by the word of its value."""
    pieces = text.split(b"null")
    words = [_word(value) for value in values.tolist()]
    return b"".join(part for pair in zip(pieces, [*words, b""], strict=True) for part in pair)


def _word(value: float) -> bytes:
    if value != value:  # noqa: PLR0124
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"


def _spaced(text: bytes) -> bytes:
    return text.replace(b",", b", ") if len(text) <= LARGEST_SPACED_BYTES else text


def _slices(text: bytes, rank: int) -> list[bytes]:
    """Cut the text of a non-empty array at its outermost commas."""
    if rank == 1:
        return text[1:-1].split(b",")
    opening, closing = b"[" * (rank - 1), b"]" * (rank - 1)
    inside = text[rank:-rank].split(closing + b"," + opening)
    return [opening + part + closing for part in inside]


def _string_texts(name: str, array: np.ndarray) -> list[bytes]:
    strings: list[bytes] = array.ravel().tolist()
    if name.endswith(BINARY_SUFFIX):
        return [b'{"b64": "%b"}' % base64.b64encode(string) for string in strings]
    if NEEDS_ESCAPE.search(b"".join(strings)) is None:
        return [b'"%b"' % string for string in strings]
    return [quote(string) for string in strings]


def _nest(texts: list[bytes], shape: tuple[int, ...]) -> bytes:
    """Group texts into nested lists, innermost first."""
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        count = prod(shape[:axis])
        texts = [b"[%b]" % b", ".join(texts[at * size : (at + 1) * size]) for at in range(count)]
    return texts[0]
