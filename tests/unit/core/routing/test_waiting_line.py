"""Tests of the rule that says who may wait for a thread."""

from __future__ import annotations

import pytest

from core.errors import Code
from core.routing.waiting_line import WaitingLine


def moving(per_s: float, waiting: int = 1000, seconds: float = 3.0) -> WaitingLine:
    """Make a line that has moved at this speed while many waited."""
    line = WaitingLine()
    for number in range(int(seconds * per_s) + 1):
        line.ended(waiting, number / per_s)
    return line


@pytest.mark.parametrize(("ahead", "left_s", "waits"), [(98, 2.0, True), (100, 2.0, False), (500, None, True)])
def test_a_call_that_would_be_late_is_not_let_in(ahead, left_s, waits) -> None:
    """Fifty calls a second: who is behind ninety-nine waits for two seconds."""
    refused = moving(50).refusal(ahead, left_s)

    assert (refused is None) is waits
    assert refused is None or (refused.code, refused.retry_after_s) == (Code.UNAVAILABLE, 1.0)


def test_nobody_is_refused_before_the_speed_is_known() -> None:
    """The first calls may be slow because nothing is warm."""
    line = WaitingLine()
    for at_s in (0.0, 0.5, 0.9):
        line.ended(1000, at_s)

    assert line.refusal(1000, 0.1) is None


def test_one_slow_call_says_nothing_about_the_speed() -> None:
    """What ended first began before anybody waited, and may have been the first of all."""
    line = WaitingLine()
    line.ended(1000, 100.0)
    for number in range(1, 101):
        line.ended(1000, 100.0 + number / 50)

    assert line.refusal(500, 11.0) is None


def test_a_line_that_was_empty_forgets_its_speed() -> None:
    """Calls that come later may be of another kind."""
    line = moving(50)

    line.ended(0, 10.0)

    assert line.refusal(1000, 0.1) is None


def test_a_line_that_has_become_fast_lets_more_in() -> None:
    """Each second is measured anew."""
    line = moving(10)
    assert line.refusal(100, 5.0) is not None

    for number in range(1, 201):
        line.ended(1000, 3.0 + number / 100)

    assert line.refusal(100, 5.0) is None


@pytest.mark.parametrize(("most", "ahead", "waits"), [(0, 0, False), (2, 1, True), (2, 2, False), (-1, 10_000, True)])
def test_a_set_number_may_wait_at_most(most, ahead, waits) -> None:
    """Also with no deadline, and before anything was measured; a negative number sets no limit."""
    assert (WaitingLine(most).refusal(ahead, None) is None) is waits
