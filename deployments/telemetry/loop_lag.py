"""How late an event loop does what is due: it says how busy the loop is, and its processor, whoever keeps that busy."""

from __future__ import annotations

import asyncio
from typing import Final

LOOK_EVERY_S: Final = 0.02
WEIGHT: Final = 0.2
"""Of a new look in the average: after half a second nothing is left of an earlier state."""


class LoopLag:
    """The average lag of the event loop that it is started on."""

    def __init__(self) -> None:
        self.lag_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def start(self) -> None:
        """Look from now on, if that is not so already."""
        if self._timer is None:
            self.lag_s = 0.0
            self._look_later(asyncio.get_running_loop())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + LOOK_EVERY_S
        self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lag_s += WEIGHT * (max(0.0, loop.time() - self._due_s) - self.lag_s)
        self._look_later(loop)
