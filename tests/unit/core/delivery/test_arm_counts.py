"""Tests of what is counted for each arm: sums, differences, latencies, and whose fault an error is."""

from __future__ import annotations

import math

import pytest

from core.delivery.arm_counts import LATENCY_EDGES_S, ArmCounts, CallOutcome, Tally, bucket_of, outcome_of
from core.errors import Code

OF_CLIENT = {
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.UNAUTHENTICATED,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
}


@pytest.mark.parametrize("code", Code)
def test_each_code_is_somebodys_fault_or_nobodys(code: Code) -> None:
    """A version with another signature makes errors of clients; all that is not theirs is the server's."""
    wanted = (
        CallOutcome.OK
        if code is Code.OK
        else CallOutcome.CLIENT_ERROR
        if code in OF_CLIENT
        else CallOutcome.SERVER_ERROR
    )

    assert outcome_of(code) is wanted


@pytest.mark.parametrize(
    ("took_s", "bucket"),
    [(0.0, 0), (-1.0, 0), (0.0001, 0), (0.00011, 1), (LATENCY_EDGES_S[-1], 75), (90.0, 76), (math.inf, 76)],
)
def test_a_latency_is_in_the_bucket_whose_edge_it_does_not_exceed(took_s: float, bucket: int) -> None:
    """What is slower than all edges has a bucket of its own."""
    assert bucket_of(took_s) == bucket


def test_counts_are_added_and_subtracted_part_by_part() -> None:
    """Zeros at the end of latencies may be missing in one of them."""
    one = ArmCounts(Tally(3, 1, 1, (1, 2)), Tally(2, 1, 0, (2,)))
    two = ArmCounts(Tally(5, 2, 0, (0, 4, 1)), Tally(1, 0, 0, (0, 1)))

    assert one + two == ArmCounts(Tally(8, 3, 1, (1, 6, 1)), Tally(3, 1, 0, (2, 1)))
    assert (one + two) - one == ArmCounts(Tally(5, 2, 0, (0, 4, 1)), Tally(1, 0, 0, (0, 1)))


def test_slow_requests_are_those_above_an_edge() -> None:
    """The bucket of the edge itself is not slow."""
    tally = Tally(6, latency=(1, 2, 3))

    assert [tally.slower_than(edge) for edge in (0, 1, 2)] == [5, 3, 0]
