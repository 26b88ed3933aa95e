"""The version applications as last seen: those that move are looked at each time, those that rest rarely."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from core.versions.world import AppObservation

REST_LOOK_S = 10.0
"""All are looked at after this time although nothing is known to have changed."""

Apps = Mapping[str, AppObservation]


class ObservedApps:
    """Asks `of_all` when something has changed or the last look is old, and `of` for what moves meanwhile."""

    def __init__(self, of_all: Callable[[], Apps], of: Callable[[Collection[str]], Apps]) -> None:
        self._of_all = of_all
        self._of = of
        self._apps: Apps = {}
        self._due_s = 0.0
        self._has_changed = threading.Event()
        self._has_changed.set()

    def note_change(self) -> None:
        """Let the next look be at all applications; callable from any thread."""
        self._has_changed.set()

    def look(self, moving: Collection[str] | None, now_s: float) -> Apps:
        """Return all applications; those in `moving` as they are now, or all of them for None."""
        if moving is None or now_s >= self._due_s or self._has_changed.is_set():
            self._look_at_all(now_s)
        elif moving:
            seen = self._of(moving)
            others = {app: one for app, one in self._apps.items() if app not in moving}
            if {**others, **seen} != self._apps:
                self._apps = {**others, **seen}
                self._has_changed.set()  # how many replicas run is known only after a look at all
        return self._apps

    def _look_at_all(self, now_s: float) -> None:
        self._has_changed.clear()  # before the look: what changes during it is seen by the next one
        try:
            self._apps = self._of_all()
        except BaseException:
            self._has_changed.set()
            raise
        self._due_s = now_s + REST_LOOK_S
