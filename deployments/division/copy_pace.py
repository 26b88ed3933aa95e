"""When a copy may be sent: while there is a place for it, and seldom while the router has other things to do."""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 64 * 1024 * 1024
"""Requests and answers of the copies that are on their way, for each router and model."""

REST_RATIO: Final = 50
"""Under load there is one copy at a time, and after it a rest that is so many times as long as the copy took: copies
then take at most 2 % of one processor, and evidence still adds up."""


class CopyPace:
    """The copies of one model at one router; times are seconds of one steady clock."""

    __slots__ = ("_bytes", "_in_flight", "_most", "_rested_at_s")

    def __init__(self, max_in_flight: int) -> None:
        self._most = max_in_flight
        self._in_flight = 0
        self._bytes = 0
        self._rested_at_s = 0.0

    def has_room(self, size: int, now_s: float, *, is_pressed: bool) -> bool:
        """Whether a copy of this size, in bytes, may be sent now."""
        if self._in_flight >= self._most or self._bytes + size > MOST_BYTES:
            return False
        return not is_pressed or (not self._in_flight and now_s >= self._rested_at_s)

    def began(self, size: int) -> None:
        """Count a copy that was sent."""
        self._in_flight += 1
        self._bytes += size

    def ended(self, size: int, now_s: float, took_s: float) -> None:
        """Count a copy that has ended, whatever came of it, and how long it took."""
        self._in_flight -= 1
        self._bytes -= size
        self._rested_at_s = now_s + REST_RATIO * took_s
