"""The two clocks: a monotonic one for deadlines and periods, and the time of day for people and other hosts."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time; tests have one that they move."""

    def steady_s(self) -> float:
        """Return the monotonic time in seconds."""

    def wall_s(self) -> float:
        """Return the seconds since the epoch."""


class SystemClock:
    """The clocks of this machine."""

    def steady_s(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()
