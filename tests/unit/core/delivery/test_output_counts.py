"""Tests of the counts of outputs."""

from __future__ import annotations

import pytest

from core.delivery.output_counts import MOST_SAMPLES, OutputBins, OutputOrder, outputs_of_json
from core.errors import InvalidArgument


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


def test_a_report_of_another_run_counts_from_its_beginning() -> None:
    """A replica that began anew has counted less, and an older report that comes late brings nothing."""
    before, later = OutputBins({"0": 50}, run=1), OutputBins({"0": 3}, run=2)

    assert later.since(before) == later
    assert before.since(later) is None
    assert OutputBins({"0": 55}, run=1).since(before) == OutputBins({"0": 5}, run=1)
    assert OutputBins({"0": 45}, run=1).since(before) is None


@pytest.mark.parametrize("run", ["Infinity", '"x"', "[]", "NaN"])
def test_what_is_no_count_is_no_answer(run: str) -> None:
    """A replica must not end what asks all others."""
    assert outputs_of_json(f'{{"scores": {{"counts": {{}}, "first": [], "run": {run}}}}}'.encode()) == {}


@pytest.mark.parametrize("edge", ["1" + "0" * 400, '"x"', "null"])
def test_an_order_with_edges_that_are_no_numbers_is_refused(edge: str) -> None:
    """It would end the connection otherwise, with all calls on it."""
    with pytest.raises(InvalidArgument):
        OutputOrder.of_json(f'{{"rollout": "r", "outputs": {{"s": {{"edges": [{edge}], "values": []}}}}}}'.encode())
