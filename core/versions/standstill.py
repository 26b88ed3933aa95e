"""When a tick may be left out: the last one changed nothing, what it saw is the same, and no time has run out.

The decisions follow from what was seen, the records and the time; the time counts in the few ways that `due_s` lists.
A watcher of many versions that rest then uses next to nothing, and one that waits for loads little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.storage.version_listing import Judged
from core.versions.lifecycle import State
from core.versions.reconcile import ENDED_VERSIONS_KEPT_S
from core.versions.record import Failure
from core.versions.servable import app_name
from core.versions.world import AppObservation, Condition, Records

LONGEST_S = 10.0
"""After this time all is decided anew although nothing seems to have changed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tick decides by, besides the records and the time.

    `in_force` has the list of models, and what the table says of it. `routers` is how many there are.
    """

    in_force: tuple[object, ...]
    storage: Mapping[str, Judged]
    apps: Mapping[str, AppObservation]
    failing: Mapping[str, Failure]
    routers: int = 1


@dataclass(frozen=True, slots=True)
class Standstill:
    """What was seen by a tick that changed nothing, and until when that holds."""

    seen: Seen
    until_s: float

    def holds(self, seen: Seen, now_s: float) -> bool:
        """Whether a tick would change nothing."""
        return now_s < self.until_s and seen == self.seen


def due_s(records: Records, now_s: float) -> float:
    """Return when time alone may change a decision: a retry is due, or an ended version is forgotten.

    While a version is unloaded that may be at any time, because what it waits for must not take too long.
    """
    if any(one.state is State.UNLOADING for one in records.values()):
        return now_s
    due = [one.retry_at_s for one in records.values() if one.state is State.START and one.retry_at_s > now_s]
    due += [one.since_s + ENDED_VERSIONS_KEPT_S for one in records.values() if one.state is State.END]
    return min([now_s + LONGEST_S, *(one for one in due if one > now_s)])


def moving_apps(records: Records, apps: Mapping[str, AppObservation]) -> frozenset[str]:
    """Return the applications to be looked at in the next tick: those that load, end, or have failed."""
    moving = {State.LOADING, State.UNLOADING}
    expected = {app_name(servable) for servable, one in records.items() if one.state in moving}
    return frozenset(expected) | {app for app, one in apps.items() if one.condition is not Condition.RUNNING}
