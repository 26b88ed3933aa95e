"""Tests of names in error texts."""

from __future__ import annotations

from core.inference.error_texts import braced, listed


def test_names_are_sorted_and_separated_by_commas() -> None:
    """Texts do not depend on the order of a request."""
    assert listed({"b", "a"}) == "a,b"
    assert braced({"b": 1, "a": 2}) == "{a,b}"
    assert braced(()) == "{}"
