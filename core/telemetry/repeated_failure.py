"""Limits log lines about a recurring failure: the first one, one a minute while it lasts, and one when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

LOGGED_EVERY_S = 60.0
"""Time between two lines about a failure that lasts."""

OVER_AFTER_S = 5.0
"""Time without the failure after which it is over; before, its return continues it."""

MOST_KINDS = 20
"""Kinds of errors of one failure that get a line at once; further kinds wait for the next minute."""


@dataclass(slots=True)
class RepeatedFailure:
    """A recurring failure, from its first time to its last."""

    first_s: float = 0.0
    last_s: float = 0.0
    count: int = 0
    _logged_s: float = 0.0
    _kinds: set[str] = field(default_factory=set)

    @property
    def lasted_s(self) -> float:
        """Return the seconds between the first time and the last."""
        return self.last_s - self.first_s

    def again(self, now_s: float, kind: str) -> bool:
        """Count one more time; whether it gets a line: each new kind of error does, and one a minute."""
        if not self.count:
            self.first_s = now_s
        self.last_s = now_s
        self.count += 1
        is_new = kind not in self._kinds and len(self._kinds) < MOST_KINDS
        if not is_new and now_s - self._logged_s < LOGGED_EVERY_S:
            return False
        self._kinds.add(kind)
        self._logged_s = now_s
        return True

    def is_over(self, now_s: float) -> bool:
        """Whether a failure was counted and has not returned for a while; asked after a success."""
        return self.count > 0 and now_s - self.last_s >= OVER_AFTER_S
