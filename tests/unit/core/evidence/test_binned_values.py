"""Tests of bins of values, and of the distance of distributions over them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.evidence.binned_values import (
    MOST_BINS,
    bin_name,
    bin_of_value,
    binning_of,
    bins_in,
    distance_by_chance,
    distance_of,
)


def test_numbers_are_cut_at_their_deciles() -> None:
    """About a tenth of the first ones is in each bin, and none in those for greater values and for what is no number."""
    values = [one / 7 for one in range(1000)]
    edges, texts = binning_of(values)
    filled = [0] * bins_in(edges, texts)
    for one in values:
        filled[bin_of_value(one, edges, texts)] += 1

    assert texts == ()
    assert filled[:MOST_BINS] == pytest.approx([100] * MOST_BINS, abs=5)
    assert filled[MOST_BINS:] == [0]


def test_what_is_not_a_number_has_a_bin_of_its_own() -> None:
    """A canary that answers NaN must not look like one with great values."""
    edges, texts = binning_of([0.1, 0.2, math.nan, math.inf] * 250)

    assert bin_of_value(math.nan, edges, texts) == bins_in(edges, texts) - 1
    assert bin_of_value("text", edges, texts) == bins_in(edges, texts) - 1
    assert bin_of_value(math.inf, edges, texts) == len(edges)
    assert bin_of_value(-math.inf, edges, texts) == 0
    assert all(map(math.isfinite, edges))


def test_equal_numbers_make_few_bins() -> None:
    """A constant has one edge; what differs from it falls elsewhere."""
    edges, texts = binning_of([0.5] * 1000)

    assert (edges, texts) == ((0.5,), ())
    assert [bin_of_value(one, edges, texts) for one in (0.4, 0.5, 0.6, math.nan)] == [0, 0, 1, 2]


def test_ids_and_texts_have_a_bin_for_each_frequent_one() -> None:
    """The others share the last bin; whole numbers of many values are numbers."""
    edges, texts = binning_of([one % 4 for one in range(1000)])

    assert (edges, sorted(texts)) == ((), ["0", "1", "2", "3"])
    assert bin_of_value(7, edges, texts) == bins_in(edges, texts) - 1 == 4
    assert bin_of_value("3", edges, texts) == bin_of_value(3, edges, texts)
    assert binning_of(["cat", "dog", "cat"]) == ((), ("cat", "dog"))
    assert binning_of(list(range(1000)))[1] == ()
    assert len(binning_of([str(one) for one in range(1000)])[1]) == MOST_BINS - 1


def test_nothing_but_nan_is_binned_by_its_text() -> None:
    """There is no edge to make, and a number is a change."""
    edges, texts = binning_of([math.nan] * 1000)

    assert bin_of_value(math.nan, edges, texts) != bin_of_value(1.0, edges, texts)


def test_no_bins_are_known_before_they_are_made() -> None:
    """An empty binning has none."""
    assert bins_in((), ()) == 0


def test_every_bin_has_a_name() -> None:
    """Each says what falls into it."""
    names = [bin_name(one, (0.5, 1.0), ()) for one in range(4)]

    assert names == ["values up to 0.5", "values from 0.5 to 1", "values above 1", "values that are not numbers"]
    assert [bin_name(one, (), ("cat",)) for one in range(2)] == ["the value cat", "other values"]


def test_the_distance_is_the_share_that_would_have_to_move() -> None:
    """0 for equal distributions, 1 for such that share nothing."""
    assert distance_of((10, 10), (10.0, 10.0)) == 0
    assert distance_of((20, 0), (0.0, 20.0)) == 1
    assert distance_of((15, 5), (10.0, 10.0)) == 0.25
    assert distance_of((), ()) == 0


@pytest.mark.parametrize("requests", [50, 300, 3000])
def test_chance_alone_is_no_distance(requests: int) -> None:
    """Without any drift the distance is above 0; what is subtracted is more on average, and in nine cases of ten."""
    draws = np.random.default_rng(1).multinomial(requests, [0.1] * 10, 2000)
    expected = [requests / 10.0] * 10
    certain = [distance_of(one, expected) - distance_by_chance(one, 0.0) for one in draws.tolist()]

    assert np.mean(certain) < 0
    assert np.mean([one > 0 for one in certain]) < 0.11
    assert distance_by_chance((0, 0), 0.0) == 1
    assert distance_by_chance((50, 50), 100.0) > distance_by_chance((50, 50), 0.0)
