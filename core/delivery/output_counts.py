"""What replicas count of their outputs where a plan judges drift, and routers report to the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MOST_SAMPLES: Final = 1000
"""Values of stable's first answers, of which bins are made."""


@dataclass(frozen=True, slots=True)
class Binning:
    """The bins of one output: between edges for numbers, or one for each of some values and one for all others.

    Without either no bins are known yet, and the first answers are wanted. Values are texts, of numbers too.
    """

    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputBins:
    """Cumulated answers of one replica for one output, by bin; `first` are values of the first answers.

    Bins are what the watcher asked for (`Binning`), by their number as text; before it asked, `first` samples up to
    `MOST_SAMPLES` values, of which it makes them.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    first: tuple[float | int | str, ...] = ()

    def __add__(self, other: OutputBins) -> OutputBins:
        """Return the sum of two replicas' counts."""
        return OutputBins(self._counts_with(other, 1), (self.first + other.first)[:MOST_SAMPLES])

    def __sub__(self, other: OutputBins) -> OutputBins:
        """Return what one replica counted since it said `other`; `first` are those of now."""
        return OutputBins(self._counts_with(other, -1), self.first)

    def _counts_with(self, other: OutputBins, sign: int) -> dict[str, int]:
        names = dict.fromkeys((*self.counts, *other.counts))
        return {one: self.counts.get(one, 0) + sign * other.counts.get(one, 0) for one in names}
