"""When a hosted version that crashed is started again, and what is said of the crash."""

from __future__ import annotations

import signal

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
STEADY_AFTER_S = 60.0
"""A version that ran so long before it crashed is started again at once."""


def crashes_after(before: int, ran_s: float) -> int:
    """Return the number of crashes in a row after one more, of a process that ran so long."""
    return 1 if ran_s >= STEADY_AFTER_S else before + 1


def restart_delay_s(crashes: int) -> float:
    """Return how long a version rests after so many crashes in a row: not at all after the first one."""
    return 0.0 if crashes <= 1 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(crashes - 2, 16))


def ending_text(status: int | None) -> str:
    """Return how a process ended, given its exit status, below 0 a signal; None where nobody saw it."""
    if status is None:
        return "The process of the version ended."
    if status >= 0:
        return f"The process of the version ended with status {status}."
    hint = ", as happens when memory is short" if status == -signal.SIGKILL else ""
    return f"The process of the version was killed by signal {-status} ({_name_of(-status)}){hint}."


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
