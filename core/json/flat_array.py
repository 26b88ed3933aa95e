"""JSON values to the flat array of a dtype that is known: from a flat list, regularly nested lists or a single value.

Nesting is only a notation here, and so are numbers: whole numbers may be written as `1.0`, booleans as numbers, and NaN
as null. `core.json.tensors`, beside it, follows TensorFlow Serving's rules.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from core.errors import InvalidArgument
from core.inference.giving_up import go_on, patiently
from core.inference.tensor_proto import bytes_array
from core.json.cut_lists import NumberList
from core.json.exact_tokens import SMALLEST_INT
from core.json.long_lists import LongList
from core.json.picture import dump
from core.json.strings import decode_base64, is_text, text_of
from core.json.values import JsonObject

MOST_NESTED: Final = 100
EXACT_IN_DOUBLE: Final = 2**53
"""Below this every whole number is a double."""
_FLOAT: Final = np.dtype(np.float32)
_NUMBERS: Final = frozenset({int, float})
_NUMBERS_AND_NULL: Final = frozenset({int, float, type(None)})
_TRUTHS: Final = frozenset({bool, int, float})
_UNREAD: Final = (LongList, NumberList)
_SHOWN_CHARACTERS: Final = 40

RAGGED: Final = "lists are nested unevenly; send a flat list, or lists of equal lengths"

Kinds: TypeAlias = set[type]
_Fits: TypeAlias = Callable[[Any, np.dtype], bool]


def flat_array(data: Any, dtype: np.dtype, type_name: str) -> np.ndarray:
    """Read a value of a JSON document, or a list that was not read yet; strings become `bytes`.

    Raises InvalidArgument for a value that is not one of the type, which errors call `type_name`, and for lists that
    are nested unevenly or deeper than `MOST_NESTED`.
    """
    flat = _long(data, dtype) if isinstance(data, _UNREAD) else None
    return _listed(data, dtype, type_name) if flat is None else flat


def decoded_base64(strings: np.ndarray) -> np.ndarray:
    """Decode an array of strings; raises InvalidArgument."""
    return bytes_array([decode_base64(text_of(one)) for one in patiently(strings.tolist())])


def _long(data: LongList | NumberList, dtype: np.dtype) -> np.ndarray | None:
    """Read numbers without an object for each; None where that is not certainly right."""
    if dtype.kind in "fV":
        doubles = data.numbers("d")
        return None if doubles is None else _narrowed(doubles, dtype)
    return _long_whole(data, dtype) if dtype.kind in "iub" else None


def _long_whole(data: LongList | NumberList, dtype: np.dtype) -> np.ndarray | None:
    values = data.numbers("u" if dtype.kind == "u" else "i")
    if values is None:
        values = data.numbers("d")
        if values is None or (np.abs(values) >= EXACT_IN_DOUBLE).any() or (values != np.trunc(values)).any():
            return None
    smallest, largest = _range(dtype)
    if values.size and not (smallest <= int(values.min()) and int(values.max()) <= largest):
        return None
    return values.astype(dtype, copy=False)


def _listed(data: Any, dtype: np.dtype, type_name: str) -> np.ndarray:
    leaves = _leaves(data)
    read, fits = _READERS[dtype.kind]
    values = read(leaves, set(map(type, leaves)), dtype)
    if values is None:
        raise _misfit(leaves, dtype, type_name, fits)
    return values


def _leaves(data: Any) -> list[Any]:
    """Take nested lists apart, level by level; lists among other values are left for the reader to refuse."""
    level: Any = data.values() if isinstance(data, _UNREAD) else data
    if not isinstance(level, list):
        return [level]
    depth = 1
    while level and type(level[0]) is list:
        depth += 1
        if depth > MOST_NESTED:
            raise InvalidArgument(f"lists are nested deeper than {MOST_NESTED}")
        go_on()
        if set(map(type, level)) != {list} or len(set(map(len, level))) != 1:
            raise InvalidArgument(RAGGED)
        level = list(chain.from_iterable(level))
    return cast(list[Any], level)


def _misfit(leaves: list[Any], dtype: np.dtype, type_name: str, fits: _Fits) -> InvalidArgument:
    """Find the first value that is none of the datatype."""
    at, value = next((at, one) for at, one in enumerate(patiently(leaves)) if not fits(one, dtype))
    if isinstance(value, list):
        return InvalidArgument(RAGGED)
    return InvalidArgument(f"element {at} is {_shown(value)}, which is not a value of {type_name}")


def _shown(value: Any) -> str:
    if isinstance(value, (dict, JsonObject)):
        return "an object"
    text = str(value) if isinstance(value, float) else dump(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast doubles as C does: too large becomes infinite, silently."""
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def _floats(leaves: list[Any], kinds: Kinds, dtype: np.dtype) -> np.ndarray | None:
    """Read numbers; null is NaN."""
    if dtype == _FLOAT and kinds <= _NUMBERS:
        return np.frombuffer(array("f", leaves), np.float32)  # C's cast, of which numpy would warn
    return _narrowed(np.array(leaves, np.float64), dtype) if kinds <= _NUMBERS_AND_NULL else None


def _is_float(value: Any, _: np.dtype) -> bool:
    return type(value) in _NUMBERS_AND_NULL


def _integers(leaves: list[Any], kinds: Kinds, dtype: np.dtype) -> np.ndarray | None:
    """Read whole numbers, also those that clients write as `1.0`."""
    if float in kinds:
        if not kinds <= _NUMBERS or not all(_is_integer(one, dtype) for one in patiently(leaves)):
            return None
        leaves = list(map(int, leaves))
    elif kinds and kinds != {int}:
        return None
    try:
        return np.array(leaves, dtype)
    except OverflowError:
        return None


def _is_integer(value: Any, dtype: np.dtype) -> bool:
    smallest, largest = _range(dtype)
    if type(value) is float and value <= SMALLEST_INT:
        return False  # parsers make doubles of longer integers, so it may have been another number
    return type(value) in _NUMBERS and smallest <= value <= largest and value == int(value)


@cache
def _range(dtype: np.dtype) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _truths(leaves: list[Any], kinds: Kinds, dtype: np.dtype) -> np.ndarray | None:
    """Read booleans, also those that clients write as numbers."""
    if kinds <= {bool}:
        return np.array(leaves, dtype)
    return np.array(leaves, dtype) if all(_is_truth(one, dtype) for one in patiently(leaves)) else None


def _is_truth(value: Any, _: np.dtype) -> bool:
    return type(value) in _TRUTHS and value in (0, 1)


def _strings(leaves: list[Any], kinds: Kinds, _: np.dtype) -> np.ndarray | None:
    try:
        return bytes_array([one.encode() for one in patiently(leaves)]) if kinds <= {str} else None
    except UnicodeEncodeError:
        return None


def _is_string(value: Any, _: np.dtype) -> bool:
    return isinstance(value, str) and is_text(value)


class _Reader(NamedTuple):
    """How the values of a kind of datatype are read, None where one is no such value; and which values `fit`."""

    read: Callable[[list[Any], Kinds, np.dtype], np.ndarray | None]
    fits: _Fits


_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "f": _Reader(_floats, _is_float),
        "V": _Reader(_floats, _is_float),  # bfloat16
        "i": _Reader(_integers, _is_integer),
        "u": _Reader(_integers, _is_integer),
        "b": _Reader(_truths, _is_truth),
        "O": _Reader(_strings, _is_string),
    }
)
"""By the kind of a dtype."""
