"""Tests of the time limits for what is unfinished."""

from __future__ import annotations

import math

from core.http2.progress import ProgressLimits, ProgressWatch

LIMITS = ProgressLimits(still_s=10, grace_s=20, bytes_per_s=100)
KEY = ("stream", 1)


def ended_s(bytes_per_s: float, limits: ProgressLimits = LIMITS, until_s: int = 1000) -> int | None:
    """Return when something that goes on so fast is overdue; looked at every second."""
    watch = ProgressWatch(limits)
    for now_s in range(until_s):
        if watch.overdue({KEY: int(now_s * bytes_per_s)}, float(now_s)):
            return now_s
    return None


def test_what_stands_still_is_overdue() -> None:
    """After the time that anything may stand still."""
    assert ended_s(0) == 11


def test_what_is_too_slow_is_overdue_after_a_grace() -> None:
    """A byte now and then is not enough."""
    assert ended_s(1) == 21


def test_a_slow_peer_may_go_on() -> None:
    """However long it takes."""
    assert ended_s(120) is None
    assert ended_s(1, ProgressLimits(still_s=10, grace_s=math.inf)) is None


def test_something_new_has_all_its_time() -> None:
    """What was finished in between is not remembered."""
    watch = ProgressWatch(LIMITS)
    for now_s in range(0, 50, 5):
        assert watch.overdue({("frame", now_s): 3}, float(now_s)) == []
    watch.overdue({KEY: 1}, 100.0)
    watch.overdue({}, 105.0)

    assert watch.overdue({KEY: 1}, 112.0) == []
    assert watch.overdue({KEY: 1, ("stream", 2): 1}, 123.0) == [KEY]
