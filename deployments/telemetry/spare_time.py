"""Whether this process and its machine have time to spare, for work that nobody waits for.

Two signs say that they have none: the event loop is late with what is due, which shows a busy loop and also a limit of
the container's processor time; and hardly any processor of the machine idles, which shows the load of all processes
together, also where each of them is on time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

LOOK_EVERY_S: Final = 0.05
WEIGHT: Final = 0.2
"""Of a new look in the average: after a second little is left of an earlier state."""

LATE_S: Final = 0.001
"""An event loop that is late by so much on average has little time."""

IDLE_CPUS: Final = 0.5
"""So much of a processor must idle: work that nobody waits for uses one for a moment."""

LOOKS_PER_COUNT: Final = 5
"""The idle time is counted in hundredths of a second: of fewer looks it would say little."""


def idle_s() -> float:
    """Return for how long the processors of this machine have idled, all together, since it was started; 0 if unknown.

    The time is in seconds.
    """
    try:
        with open("/proc/stat", "rb") as file:
            fields = file.readline().split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


class SpareTime:
    """Looks at the event loop that it is started on, and at the machine's processors."""

    def __init__(self, idle: Callable[[], float] = idle_s) -> None:
        self.lag_s = 0.0
        self.idle_cpus = 0.0
        self._idle = idle
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._looks = 0
        self._counted = (0.0, 0.0)

    @property
    def is_short(self) -> bool:
        """Whether there is hardly any time to spare; so also until the first look at the processors."""
        return self.lag_s > LATE_S or self.idle_cpus < IDLE_CPUS

    def start(self) -> None:
        """Look from now on, if that is not so already."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self.lag_s = self.idle_cpus = 0.0
            self._looks = 0
            self._counted = (loop.time(), self._idle())
            self._look_later(loop)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + LOOK_EVERY_S
        self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        self.lag_s += WEIGHT * (max(0.0, now_s - self._due_s) - self.lag_s)
        self._looks += 1
        if not self._looks % LOOKS_PER_COUNT:
            began_s, before_s = self._counted
            self._counted = (now_s, self._idle())
            self.idle_cpus = (self._counted[1] - before_s) / (now_s - began_s)
        self._look_later(loop)
