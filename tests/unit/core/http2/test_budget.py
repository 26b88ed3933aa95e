"""Tests of what a connection may cost before it is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.http2.budget import Allowance, Budget, Http2Limits, Merits, Rate
from core.http2.frames import BrokenConnection, Fault
from tests.support.fakes import FakeClock


def spent(allowance: Allowance) -> int:
    """Spend all that is there; return how much it was."""
    count = 0
    while allowance.spend(1):
        count += 1
    return count


def test_a_burst_is_allowed_and_then_what_time_brings() -> None:
    """Never more than a burst at once, however long nothing was spent."""
    clock = FakeClock()
    allowance = Allowance(Rate(5, 2.0), Merits(), clock.steady_s)
    assert spent(allowance) == 5

    clock.advance(2.5)
    assert spent(allowance) == 4
    clock.advance(1000)
    assert spent(allowance) == 5


@pytest.mark.parametrize(
    ("merit", "rate"),
    [
        ("answers", Rate(10, 0.0, per_answer=3.0)),
        ("refusals", Rate(10, 0.0, per_refusal=3.0)),
        ("sent_bytes", Rate(10, 0.0, per_byte=3.0)),
    ],
)
def test_what_a_connection_was_good_for_is_counted_once(merit: str, rate: Rate) -> None:
    """A peer that is served may send what belongs to that."""
    merits = Merits()
    allowance = Allowance(rate, merits, FakeClock().steady_s)
    spent(allowance)

    setattr(merits, merit, 2)

    assert spent(allowance) == 5
    assert spent(allowance) == 0


LIMITS = Http2Limits(control=Rate(3, 1.0), resets=Rate(3, 1.0), head_work=Rate(3, 1.0))


@pytest.mark.parametrize(
    "count",
    [Budget.count_control, Budget.count_reset, lambda budget: budget.count_head(1)],
    ids=["control", "reset", "head"],
)
def test_one_too_many_of_each_kind_ends_the_connection(count: Callable[[Budget], None]) -> None:
    """With the fault that RFC 9113 has for peers that cost too much, and a reason; slowly, it may go on."""
    clock = FakeClock()
    budget = Budget(LIMITS, Merits(), clock.steady_s)
    for _ in range(3):
        count(budget)
    for _ in range(10):
        clock.advance(1.5)
        count(budget)
    for _ in range(2):
        clock.advance(1.0)
        count(budget)

    faults = [fault for _ in range(5) if (fault := _fault_of(count, budget))]

    assert set(faults) == {Fault.ENHANCE_YOUR_CALM}


def _fault_of(count: Callable[[Budget], None], budget: Budget) -> Fault | None:
    try:
        count(budget)
    except BrokenConnection as error:
        return error.fault if str(error) else None
    return None
