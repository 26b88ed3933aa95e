"""Tests of latencies in a bounded space."""

from __future__ import annotations

import random

import pytest

from core.replay.latencies import Latencies


def test_without_calls_nothing_is_known() -> None:
    """Zero would be a latency."""
    empty = Latencies()

    assert (empty.quantile_s(0.5), empty.mean_s, empty.steps()) == (None, None, [])


def test_quantiles_are_right_to_two_percent() -> None:
    """Over seven powers of ten."""
    dice = random.Random(17)
    took = sorted(10 ** dice.uniform(-5, 2) for _ in range(5000))
    counted = Latencies()
    for one in took:
        counted.add(one)

    for share in (0.01, 0.5, 0.9, 0.99, 0.9998, 1.0):
        exact = took[max(0, round(share * len(took)) - 1)]
        assert exact * 0.999 <= counted.quantile_s(share) <= exact * 1.0201
    assert counted.mean_s == pytest.approx(sum(took) / len(took))
    assert counted.longest_s == took[-1]
    assert sum(count for _, count in counted.steps()) == len(took)


def test_no_latency_is_longer_than_the_longest() -> None:
    """The last bucket ends with its longest call, and times of zero have one, too."""
    counted = Latencies()
    for one in (0.0, 1e-9, 0.0123):
        counted.add(one)

    assert counted.quantile_s(1.0) == 0.0123
    assert len(counted.steps()) == 2
