"""Decides whether one more call may wait for a thread of a model server, so that nobody waits in vain.

A call that cannot be answered within its caller's time is refused at once: its caller learns it without waiting, and
the line never holds more than can be answered in time. How fast the line moves is measured while calls wait: it says
the same for one model of few threads as for another that takes turns on a device.
"""

from __future__ import annotations

from typing import Final

from core.errors import ServerFull

WINDOW_S: Final = 1.0
"""How long the speed of the line is measured before it is known, and known anew."""

LEAST_ENDED: Final = 3
"""Fewer calls in a window say nothing about its speed."""


class WaitingLine:
    """The calls of one version that wait at one model server; `most` may wait, any number where it is negative."""

    def __init__(self, most: int = -1) -> None:
        self._most = most
        self._per_s = 0.0
        self._since_s: float | None = None
        self._ended = 0

    def ended(self, waiting: int, now_s: float) -> None:
        """Take note that a call has ended while `waiting` others wait: the line has moved on.

        What ended first while others waited is not counted, because it may have begun long before.
        """
        if not waiting:
            self._since_s = None
            return
        if self._since_s is None:
            self._since_s, self._ended, self._per_s = now_s, 0, 0.0
            return
        self._ended += 1
        took_s = now_s - self._since_s
        if took_s >= WINDOW_S and self._ended >= LEAST_ENDED:
            self._per_s = self._ended / took_s
            self._since_s, self._ended = now_s, 0

    def refusal(self, ahead: int, left_s: float | None) -> ServerFull | None:
        """Return the error for a call that must wait behind `ahead` others; None where it may.

        `left_s` is the rest of its caller's time, None without a deadline.
        """
        if 0 <= self._most <= ahead:
            return ServerFull(f"{ahead} requests wait for this version, which is the limit (max_queued_requests).")
        if not self._per_s or left_s is None or self._since_s is None:
            return None
        wait_s = (ahead + 1) / self._per_s
        if wait_s <= left_s:
            return None
        return ServerFull(f"{ahead} requests wait for this version, about {wait_s:.3g} s; {left_s:.3g} s are left.")
