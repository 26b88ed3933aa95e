"""What people see of the arms of a division: counts by version since it began, and of the last seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.delivery.arm_counts import Tally
from core.delivery.mirror_counts import MirrorCounts


@dataclass(frozen=True, slots=True)
class DividedTraffic:
    """What all routers counted of one model under its present division; the watcher makes it for its report.

    By version: `arms` has every request since the division began, `recent` those of the last `recent_s` seconds (0:
    nothing is known of them yet). `mirrors` has the compared copies of the present step; those of stable to itself are
    the noise floor. `batch_rows` is the mean number of rows of a run, where it is known.
    """

    arms: Mapping[int, Tally] = field(default_factory=dict)
    recent: Mapping[int, Tally] = field(default_factory=dict)
    recent_s: float = 0.0
    mirrors: Mapping[int, MirrorCounts] = field(default_factory=dict)
    batch_rows: Mapping[int, float] = field(default_factory=dict)


NOTHING_DIVIDED = DividedTraffic()
