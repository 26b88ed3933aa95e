"""Tests of the rules by which requests are let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing.admission import (
    IN_FLIGHT_RETRY_S,
    LEAST_RATE,
    LONGEST_RETRY_S,
    Admission,
    Limit,
    Refusal,
    TrafficLimits,
)


def admitted(admission: Admission, now_s: float, count: int) -> int:
    """Ask to let in `count` requests at one moment; return how many were."""
    return sum(admission.admit(now_s) is None for _ in range(count))


def test_without_limits_everything_is_let_in() -> None:
    """Zero does not limit."""
    assert admitted(Admission(TrafficLimits(), 0.0), 0.0, 1000) == 1000
    assert not TrafficLimits()


def test_a_second_s_worth_may_come_at_once_and_no_more() -> None:
    """The burst of a rate is what it lets in within a second."""
    admission = Admission(TrafficLimits(max_requests_per_second=20), 5.0)

    assert admitted(admission, 5.0, 100) == 20
    assert admitted(admission, 5.5, 100) == 10


def test_a_long_pause_saves_up_one_burst_only() -> None:
    """Nobody may send an hour's worth of requests after an hour of silence."""
    admission = Admission(TrafficLimits(max_requests_per_second=20), 0.0)

    assert admitted(admission, 3600.0, 100) == 20


def test_a_rate_below_one_lets_single_requests_in() -> None:
    """One request every four seconds is a rate, too: the burst is a whole request at least."""
    admission = Admission(TrafficLimits(max_requests_per_second=0.25), 0.0)

    assert admitted(admission, 0.0, 2) == 1
    assert admission.admit(1.0) == Refusal(Limit.RATE, pytest.approx(3.0))
    assert admission.admit(4.0) is None


def test_a_refusal_says_when_there_is_room_again() -> None:
    """Who waits as long as it was told is let in, and who comes earlier is not."""
    admission = Admission(TrafficLimits(max_requests_per_second=3), 0.0)
    admitted(admission, 0.0, 3)

    refused = admission.admit(0.0)

    assert refused is not None
    assert refused.limit is Limit.RATE
    assert admission.admit(0.9 * refused.retry_after_s) is not None
    assert admission.admit(refused.retry_after_s) is None


def test_requests_in_work_are_bounded_until_they_end() -> None:
    """One that ends makes room for one."""
    admission = Admission(TrafficLimits(max_in_flight=2), 0.0)

    assert admitted(admission, 0.0, 5) == 2
    assert admission.admit(60.0) == Refusal(Limit.IN_FLIGHT, IN_FLIGHT_RETRY_S)
    admission.ended()
    assert admitted(admission, 60.0, 5) == 1


def test_a_refused_request_takes_nothing() -> None:
    """A request that is refused for those in work does not use up the rate, nor the other way round."""
    admission = Admission(TrafficLimits(max_requests_per_second=2, max_in_flight=1), 0.0)
    admission.admit(0.0)

    assert admitted(admission, 0.0, 100) == 0
    admission.ended()

    assert admission.admit(0.0) is None
    admission.ended()
    assert admission.admit(0.0) == Refusal(Limit.RATE, pytest.approx(0.5))
    assert admission.in_flight == 0


def test_looking_whether_there_is_room_takes_none() -> None:
    """A body that is still to come is not let in yet."""
    admission = Admission(TrafficLimits(max_requests_per_second=1), 0.0)

    assert all(admission.refusal(0.0) is None for _ in range(10))
    assert admission.admit(0.0) is None
    assert admission.refusal(0.0) is not None


def test_changed_limits_hold_at_once_and_forget_nothing() -> None:
    """Requests in work stay counted, and a lower rate leaves no larger burst than its own."""
    admission = Admission(TrafficLimits(max_requests_per_second=100, max_in_flight=50), 0.0)
    admitted(admission, 0.0, 10)

    admission.change(TrafficLimits(max_requests_per_second=5, max_in_flight=12), 0.0)
    assert admitted(admission, 0.0, 100) == 2

    admission.change(TrafficLimits(max_requests_per_second=5), 0.0)
    assert admitted(admission, 0.0, 100) == 3

    admission.change(TrafficLimits(), 0.0)
    assert admitted(admission, 0.0, 100) == 100
    assert admission.in_flight == 115

    admission.change(TrafficLimits(max_requests_per_second=7), 0.0)
    assert admitted(admission, 0.0, 100) == 7


def test_the_same_limits_again_do_not_fill_the_bucket() -> None:
    """A file that is read again without a change gives nobody a second burst."""
    admission = Admission(TrafficLimits(max_requests_per_second=4), 0.0)
    admitted(admission, 0.0, 4)

    admission.change(TrafficLimits(max_requests_per_second=4), 0.0)

    assert admission.refusal(0.0) is not None


@pytest.mark.parametrize(
    ("limits", "routers", "share"),
    [
        (TrafficLimits(90, 9), 3, TrafficLimits(30, 3)),
        (TrafficLimits(90, 10), 3, TrafficLimits(30, 4)),
        (TrafficLimits(90, 1), 3, TrafficLimits(30, 1)),
        (TrafficLimits(90, 9), 0, TrafficLimits(90, 9)),
        (TrafficLimits(), 3, TrafficLimits()),
        (TrafficLimits(5e-324, 2**63), 3, TrafficLimits(LEAST_RATE, 3074457345618258603)),
    ],
)
def test_routers_share_a_limit(limits: TrafficLimits, routers: int, share: TrafficLimits) -> None:
    """Each lets in its part of the whole, and at least one request at a time."""
    assert limits.share(routers) == share


def test_a_clock_that_stands_or_goes_back_lets_in_no_more() -> None:
    """Only time that has passed brings tokens back."""
    admission = Admission(TrafficLimits(max_requests_per_second=2), 10.0)
    admitted(admission, 10.0, 2)

    assert admitted(admission, 9.0, 5) == 0
    assert admitted(admission, 10.0, 5) == 0


@pytest.mark.parametrize("rate", [5e-324, 1e-9, 1e308])
def test_extreme_rates_are_rates(rate: float) -> None:
    """Nobody is told to wait for ever, and nothing overflows."""
    admission = Admission(TrafficLimits(max_requests_per_second=rate), 0.0)

    first, second = admission.admit(0.0), admission.admit(0.0)

    assert first is None
    assert second == (None if rate > 1 else Refusal(Limit.RATE, LONGEST_RETRY_S))
    admission.refusal(1e9)


@given(
    rate=st.floats(0.1, 1000),
    steps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_and_one_burst_come_in(rate: float, steps: list[float]) -> None:
    """Whenever requests come: over any time, the rate times that time and one burst is the most."""
    admission = Admission(TrafficLimits(max_requests_per_second=rate), 0.0)
    now_s, total = 0.0, 0

    for step in steps:
        now_s += step
        total += admitted(admission, now_s, 20)

    assert total <= rate * now_s + max(1.0, rate) + 1e-6
