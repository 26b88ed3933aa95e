"""Tests of the rule that says how many replicas a load needs."""

from __future__ import annotations

import pytest

from core.routing.replica_load import AverageLoad, wanted_replicas


@pytest.mark.parametrize(
    ("waiting_calls", "open_calls", "target", "replicas"),
    [(0, [], 2, 0), (4, [], 2, 2), (0, [3, 5], 2, 4), (1, [0.5], 3, 0.5)],
)
def test_replicas_follow_what_is_answered_and_what_waits(waiting_calls, open_calls, target, replicas) -> None:
    """Whether a replica has a call yet or not, it is load."""
    assert wanted_replicas(waiting_calls, open_calls, target) == replicas


def test_an_average_counts_every_look_since_the_last_report() -> None:
    """A moment without calls between two samples does not look like idleness."""
    load = AverageLoad()

    for open_calls in (4, 0, 2):
        load.sample(open_calls)

    assert load.take_thousandths() == 2000
    assert load.take_thousandths() == 0
