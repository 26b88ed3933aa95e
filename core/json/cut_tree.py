"""Objects whose long lists of numbers were cut out of the text: the rest as plain values, and the lists among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from core.json.cut_lists import CutText, cut_lists
from core.json.elements import UnsuitableDocumentError

T = TypeVar("T")


def with_cut_lists(text: bytes, key: str, use: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Apply a function to an object whose members named `key`, at any level, are `NumberList`s where they were cut out.

    Returns None where others must judge the text: another member is such a list, or its reader wants plain values.
    """
    cut = cut_lists(text)
    if cut is None:
        return None
    try:
        document = orjson.loads(cut.rest)
        return use(_with_lists(cut, document, key)) if type(document) is dict else None
    except (orjson.JSONDecodeError, UnsuitableDocumentError):
        return None


def _with_lists(cut: CutText, value: Any, key: str, name: str = "") -> Any:
    if type(value) is dict:
        return {member: _with_lists(cut, one, key, member) for member, one in value.items()}
    if type(value) is list:
        return [_with_lists(cut, one, key) for one in value]
    found = cut.at(value)
    if found is not None and name != key:
        raise UnsuitableDocumentError
    return value if found is None else found
