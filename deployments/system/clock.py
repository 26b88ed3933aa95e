"""The two clocks: one that never steps, for deadlines and periods, and the one that people and other hosts read."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the watcher asks for the time."""

    def steady_s(self) -> float:
        """Return seconds that never step, counted from anywhere."""

    def wall_s(self) -> float:
        """Return the seconds since the epoch."""


class SystemClock:
    """The clocks of this machine."""

    def steady_s(self) -> float:
        """Return seconds that never step, counted from anywhere."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()
