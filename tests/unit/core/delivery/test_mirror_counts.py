"""Tests of what routers count of copies."""

from __future__ import annotations

from core.delivery.mirror_counts import L2_DECADES, MOST_OUTPUTS, MirrorCounts, OutputCounts
from core.delivery.pair_report import DROPPED_PAIR, IDENTICAL_PAIR, OutputPair, PairReport, PairResult


def test_each_result_is_counted_once() -> None:
    """Every copy adds to one number; dropped ones were not compared."""
    counts = MirrorCounts()
    for result in PairResult:
        counts = counts.plus(PairReport(result, reason=result.name))
    assert (counts.identical, counts.within, counts.outside) == (1, 1, 1)
    assert (counts.structural, counts.failed, counts.dropped) == (1, 1, 1)
    assert (counts.compared, counts.pairs) == (5, 3)
    assert counts.reason == "STRUCTURAL"


def test_outputs_count_pairs_that_differ() -> None:
    """Identical pairs name no output, so that all pairs are what the counts of an output are a part of."""
    pair = PairReport(PairResult.OUTSIDE, {"a": OutputPair(0.5, 2.0, 0.25, 0.1, 3, 0.2)})
    counts = MirrorCounts().plus(IDENTICAL_PAIR).plus(pair).plus(pair)
    output = counts.outputs["a"]
    assert (output.pairs, output.flips, output.outside, output.not_finite, output.flipped_rows) == (2, 2, 2, 2, 6)
    assert output.largest == 2.0
    assert counts.pairs == 3


def test_distances_are_counted_by_decade() -> None:
    """The bucket is that of the next larger edge; above the last one there is one more."""
    assert OutputCounts.of(OutputPair(0.0)).l2 == (1,)
    assert OutputCounts.of(OutputPair(2e-9)).l2 == (0, 1)
    assert len(OutputCounts.of(OutputPair(1e9)).l2) == len(L2_DECADES) + 1


def test_the_number_of_outputs_is_bounded() -> None:
    """Whoever asks for every tensor of a graph does not fill the reports."""
    counts = MirrorCounts()
    for index in range(MOST_OUTPUTS + 5):
        counts = counts.plus(PairReport(PairResult.WITHIN, {f"o{index}": OutputPair()}))
    assert len(counts.outputs) == MOST_OUTPUTS
    assert counts.within == MOST_OUTPUTS + 5


def test_windows_are_differences() -> None:
    """What was counted between two reports is the difference of both."""
    pair = PairReport(PairResult.WITHIN, {"a": OutputPair(1e-8)})
    before = MirrorCounts().plus(pair).plus(DROPPED_PAIR)
    window = before.plus(pair).plus(IDENTICAL_PAIR) - before
    assert (window.identical, window.within, window.dropped, window.outputs["a"].pairs) == (1, 1, 0, 1)
