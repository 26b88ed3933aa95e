"""Time limits that a slow but honest peer does not meet: what is unfinished must go on, however slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Unfinished = tuple[str, int]
"""What is unfinished: its kind, and a number that tells it from others of the kind."""


@dataclass(frozen=True, slots=True)
class ProgressLimits:
    """How long something may stay as it is, and how slow it may be after a grace."""

    still_s: float = 60.0
    grace_s: float = 120.0
    bytes_per_s: float = 100.0


class _Seen(NamedTuple):
    """When something was seen first, when it had changed last, and its bytes at both times."""

    first_s: float
    first: int
    changed_s: float
    last: int


class ProgressWatch:
    """Compares what is unfinished now with what was at earlier looks; nothing is noted between them."""

    def __init__(self, limits: ProgressLimits) -> None:
        self._limits = limits
        self._seen: dict[Unfinished, _Seen] = {}

    def overdue(self, unfinished: Mapping[Unfinished, int], now_s: float) -> list[Unfinished]:
        """Return what makes too little progress. The values are the bytes of each that have come, or gone, by now."""
        before, self._seen = self._seen, {}
        for key, count in unfinished.items():
            seen = before.get(key, _Seen(now_s, count, now_s, count))
            self._seen[key] = seen if count == seen.last else seen._replace(changed_s=now_s, last=count)
        return [key for key, seen in self._seen.items() if self._is_overdue(seen, now_s)]

    def _is_overdue(self, seen: _Seen, now_s: float) -> bool:
        limits = self._limits
        if now_s - seen.changed_s > limits.still_s:
            return True
        return now_s - seen.first_s > limits.grace_s + abs(seen.last - seen.first) / limits.bytes_per_s
