"""Tests of how deeply a JSON text is nested."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from core.json import skeleton
from core.json.skeleton import is_deeper

DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text('"\\\\[]{}a', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"[{', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(DOCUMENTS, st.integers(0, 6))
def test_levels_are_lists_and_objects_within_each_other(document: object, levels: int) -> None:
    """Side by side they are not deeper, and brackets in strings are none."""
    assert is_deeper(json.dumps(document).encode(), levels) == (depth(document) > levels)


def test_brackets_in_strings_are_not_levels() -> None:
    """However many they are, and behind whichever escapes."""
    text = json.dumps(["[" * 1000, '\\"[' * 1000, "\\\\", ["]" * 1000]]).encode()

    assert is_deeper(text, 1)
    assert not is_deeper(text, 2)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_a_text_that_is_not_json_has_some_depth(text: bytes, levels: int) -> None:
    """A parser judges it afterwards."""
    assert is_deeper(text, levels) in (True, False)


def test_a_string_that_does_not_end_takes_all_that_follows() -> None:
    """Else each quote in it would be the beginning of another search to the end."""
    assert not is_deeper(b'"' + b'[\\"' * 300)
    assert not is_deeper(b'"' + b"[" * 300 + b"\\")


def test_a_text_is_judged_in_portions(monkeypatch) -> None:
    """Depth and strings go on from one to the next; whole texts at once would need twenty times their memory."""
    monkeypatch.setattr(skeleton, "_MARKS_AT_ONCE", 3)
    text = json.dumps({"a": ["[[[", [[], "]]"], [[[1]]]], "b": {"c": {}}}).encode()

    assert is_deeper(text, 4)
    assert not is_deeper(text, 5)
