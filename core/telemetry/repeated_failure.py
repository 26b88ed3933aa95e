"""When trouble that comes again and again is told: at first, each minute while it lasts, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

TOLD_EVERY_S = 60.0
"""How often trouble that lasts is told again."""

OVER_AFTER_S = 5.0
"""Trouble that returns sooner after its last time is the same trouble."""

MOST_KINDS = 20
"""So many kinds of an episode are told at once; the rest waits for its minute."""


@dataclass(slots=True)
class RepeatedFailure:
    """Trouble of one sort, from its first time to its last."""

    first_s: float = 0.0
    last_s: float = 0.0
    count: int = 0
    _told_s: float = 0.0
    _kinds: set[str] = field(default_factory=set)

    @property
    def lasted_s(self) -> float:
        """Return the seconds between the first time and the last."""
        return self.last_s - self.first_s

    def again(self, now_s: float, kind: str) -> bool:
        """Count one more; tells whether it is to be told: each new kind is, and one each minute."""
        if not self.count:
            self.first_s = now_s
        self.last_s = now_s
        self.count += 1
        is_new = kind not in self._kinds and len(self._kinds) < MOST_KINDS
        if not is_new and now_s - self._told_s < TOLD_EVERY_S:
            return False
        self._kinds.add(kind)
        self._told_s = now_s
        return True

    def is_over(self, now_s: float) -> bool:
        """Tell at a time when all went well whether there was trouble that is over now."""
        return self.count > 0 and now_s - self.last_s >= OVER_AFTER_S
