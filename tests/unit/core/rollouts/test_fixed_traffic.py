"""Tests of fixed shares: what their order means for requests with a key."""

from __future__ import annotations

import pytest

from core.rollouts.fixed_traffic import resolved_weights


@pytest.mark.parametrize(
    ("shares", "weights"),
    [
        ([("8", 1_000), ("7", 9_000)], ((7, 9_000), (8, 1_000))),
        ([("8", 9_000), ("7", 1_000)], ((7, 1_000), (8, 9_000))),
        ([("10", 5_000), ("9", 5_000)], ((9, 5_000), (10, 5_000))),
        ([("new", 4_000), ("8", 1_000), ("7", 5_000), ("lost", 0)], ((7, 5_000), (8, 5_000))),
    ],
)
def test_the_oldest_version_comes_first_whatever_its_share_is(shares, weights) -> None:
    """Keys would change sides if the order changed where one share overtakes another."""
    assert resolved_weights(shares, {"new": 8}) == weights
