"""Log lines about a recurring failure: how many, and when it is over."""

from __future__ import annotations

from core.telemetry.repeated_failure import LOGGED_EVERY_S, MOST_KINDS, OVER_AFTER_S, RepeatedFailure


def test_a_failure_is_logged_at_first_and_then_each_minute() -> None:
    """However often it happens; a failure that lasts is never hidden."""
    episode = RepeatedFailure()

    told = [second for second in range(150) if episode.again(1000.0 + second, "Unavailable")]

    assert told == [0, 60, 120]
    assert (episode.count, episode.lasted_s) == (150, 149.0)


def test_another_kind_of_error_is_logged_at_once() -> None:
    """It might be the cause, or a worse one."""
    episode = RepeatedFailure()

    assert [episode.again(0.5, kind) for kind in ("a", "a", "b", "a", "b")] == [True, False, True, False, False]


def test_ever_new_kinds_do_not_fill_the_log() -> None:
    """Beyond some, each waits for its minute."""
    episode = RepeatedFailure()

    told = [episode.again(1.0, str(number)) for number in range(MOST_KINDS + 5)]

    assert told == [True] * MOST_KINDS + [False] * 5
    assert episode.again(1.0 + LOGGED_EVERY_S, "later")


def test_a_failure_is_over_when_it_has_not_returned_for_a_while() -> None:
    """One that comes and goes is a single failure."""
    episode = RepeatedFailure()
    assert not episode.is_over(1e6)

    episode.again(10.0, "a")

    assert not episode.is_over(10.0 + OVER_AFTER_S - 0.1)
    assert episode.is_over(10.0 + OVER_AFTER_S)
