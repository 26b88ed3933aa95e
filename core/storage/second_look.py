"""When a local base path is listed again before its poll is due: soon, while a version there is being written."""

from __future__ import annotations

from core.storage.version_listing import QUIET_S, Judged

QUICK_LOOK_S = 0.25
"""Seconds between two looks at a version that is being written."""

STILL_WRITTEN_S = 3.0
"""A version whose files have been the same for so long is left to the next poll, or to the next event."""


def second_look_s(known: Judged, wall_s: float) -> float | None:
    """Return the seconds until another look may find a version complete; None leaves it to polls.

    As soon as its files have been the same for long enough, and before that again and again, because they may change.
    """
    rested = (wall_s - since_s for number, since_s in known.resting.items() if number in known.waiting)
    pauses = [
        min(QUICK_LOOK_S, QUIET_S - for_s) if for_s < QUIET_S else QUICK_LOOK_S
        for for_s in rested
        if 0.0 <= for_s < STILL_WRITTEN_S
    ]
    return min(pauses, default=None)
