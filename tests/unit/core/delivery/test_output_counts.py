"""Tests of the counts of outputs."""

from __future__ import annotations

from core.delivery.output_counts import MOST_SAMPLES, OutputBins


def test_counts_of_replicas_add_up() -> None:
    """Bins that only one has are kept, and samples stay bounded."""
    one, other = OutputBins({"0": 3}, (1.0,)), OutputBins({"0": 1, "2": 5}, (2.0,))

    assert one + other == OutputBins({"0": 4, "2": 5}, (1.0, 2.0))
    assert len((OutputBins(first=(1.0,) * MOST_SAMPLES) + one).first) == MOST_SAMPLES


def test_what_a_replica_counted_since_is_a_difference() -> None:
    """Samples are those of now."""
    assert OutputBins({"0": 4, "1": 1}, (1.0, 2.0)) - OutputBins({"0": 3}, (1.0,)) == OutputBins(
        {"0": 1, "1": 1}, (1.0, 2.0)
    )
