"""What replicas count of their outputs where a plan judges drift, and routers report to the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutputBins:
    """Cumulated answers of one replica for one output, by bin; `first` are values of the first answers.

    Bins are what the watcher asked for (`core.delivery.drift`); before it asked, `first` samples up to 1,000 values, of
    which it makes them.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    first: tuple[float | int | str, ...] = ()
