"""Counting what happens: the metrics of one process, and how those of many processes become one page.

A process counts into its own `Metrics`. Snapshots travel, and `merged` adds them up; nothing here knows who asks.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of its label names."""


class Kind(enum.Enum):
    """What a metric's number means."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name on the page, its label names, and for a histogram its finite bucket limits."""

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    help: str = ""


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Give `count` bucket limits, each `factor` times the one before (TensorFlow Serving, Exponential buckets)."""
    return tuple(start * factor**power for power in range(count))


@dataclass(frozen=True, slots=True)
class Distribution:
    """Observations of a histogram: how many in each bucket (not cumulated, the last is unbounded), and their sum."""

    counts: tuple[int, ...]
    sum: float = 0.0

    def plus(self, other: Distribution) -> Distribution:
        """Add the observations of another process."""
        counts = tuple(ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True))
        return Distribution(counts, self.sum + other.sum)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers of a process at one moment, by metric name and labels."""

    numbers: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)
    distributions: Mapping[str, Mapping[Labels, Distribution]] = field(default_factory=dict)


class _Histogram:
    """Observations that grow in place: an observation costs no new objects."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0


class Metrics:
    """The metrics of one process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers: dict[Metric, dict[Labels, float]] = {}
        self._histograms: dict[Metric, dict[Labels, _Histogram]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        with self._lock:
            cells = self._numbers.setdefault(metric, {})
            cells[labels] = cells.get(labels, 0) + by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Give a gauge its value."""
        with self._lock:
            self._numbers.setdefault(metric, {})[labels] = to

    def forget(self, metric: Metric, *labels: str) -> None:
        """Drop a cell whose subject is gone."""
        with self._lock:
            self._numbers.get(metric, {}).pop(labels, None)

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add an observation to a histogram; one that equals a limit counts above it (TensorFlow Serving, buckets)."""
        with self._lock:
            cells = self._histograms.setdefault(metric, {})
            cell = cells.get(labels)
            if cell is None:
                cell = cells[labels] = _Histogram(len(metric.buckets))
            cell.counts[bisect_right(metric.buckets, value)] += 1
            cell.sum += value

    def snapshot(self) -> Snapshot:
        """Copy all numbers."""
        with self._lock:
            return Snapshot(
                {metric.name: dict(cells) for metric, cells in self._numbers.items()},
                {
                    metric.name: {labels: Distribution(tuple(one.counts), one.sum) for labels, one in cells.items()}
                    for metric, cells in self._histograms.items()
                },
            )


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up the numbers of several processes."""
    numbers: dict[str, dict[Labels, float]] = {}
    distributions: dict[str, dict[Labels, Distribution]] = {}
    for snapshot in snapshots:
        for name, cells in snapshot.numbers.items():
            sums = numbers.setdefault(name, {})
            for labels, value in cells.items():
                sums[labels] = sums.get(labels, 0) + value
        for name, histograms in snapshot.distributions.items():
            totals = distributions.setdefault(name, {})
            for labels, one in histograms.items():
                before = totals.get(labels)
                totals[labels] = one if before is None else before.plus(one)
    return Snapshot(numbers, distributions)
