"""Metrics of one process, and sums of the snapshots of many.

A process counts into its own `Metrics`. Snapshots are sent to another process, where `merged` adds them up. Code that
counts often gets a cell once (`counter`, `gauge`, `histogram`) and keeps it; other code names metric and labels each
time (`count`, `set`, `observe`).
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, TypeVar

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of its label names."""


class MetricKind(enum.Enum):
    """The kind of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name on the page, its label names, and for a histogram its finite bucket limits.

    `hidden_until_used` keeps it off the page until something was counted.
    """

    name: str
    kind: MetricKind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    help: str = ""
    hidden_until_used: bool = False


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Return `count` bucket limits, each `factor` times the one before (TensorFlow Serving, Exponential buckets)."""
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
class Exemplar:
    """A traced request that stands for others of its cell: its trace, what it added, and when (seconds since 1970)."""

    trace_id: str
    value: float
    at_s: float


MetricValues = Mapping[str, Mapping[Labels, float]]
Distributions = Mapping[str, Mapping[Labels, Distribution]]
Exemplars = Mapping[str, Mapping[Labels, Mapping[int, Exemplar]]]
"""The newest exemplar of each bucket, by metric, labels and number of the bucket; a counter has the bucket 0 alone."""


@dataclass(frozen=True, slots=True)
class MetricSnapshot:
    """All metrics of a process at one moment, by metric name and labels."""

    counters: MetricValues = field(default_factory=dict)
    gauges: MetricValues = field(default_factory=dict)
    distributions: Distributions = field(default_factory=dict)
    exemplars: Exemplars = field(default_factory=dict)

    def lasting(self) -> MetricSnapshot:
        """Return the metrics that stay valid after the process has ended: all but gauges and exemplars."""
        return MetricSnapshot(self.counters, {}, self.distributions)


class Counter:
    """One cell of a counter, which only increases."""

    __slots__ = ("_lock", "value")

    def __init__(self, lock: Lock, metric: Metric) -> None:
        del metric
        self._lock = lock
        self.value: float = 0

    def add(self, by: float = 1) -> None:
        """Increase the counter."""
        with self._lock:
            self.value += by


class Gauge:
    """One cell of a gauge."""

    __slots__ = ("_lock", "value")

    def __init__(self, lock: Lock, metric: Metric) -> None:
        del metric
        self._lock = lock
        self.value: float = 0

    def set(self, value: float) -> None:
        """Replace the value."""
        with self._lock:
            self.value = value


class Histogram:
    """One cell of a histogram, updated in place, so that an observation creates no objects."""

    __slots__ = ("_limits", "_lock", "counts", "sum")

    def __init__(self, lock: Lock, metric: Metric) -> None:
        self._lock = lock
        self._limits = metric.buckets
        self.counts = [0] * (len(metric.buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Add an observation; one that equals a limit counts above it (TensorFlow Serving, buckets)."""
        bucket = bisect_right(self._limits, value)
        with self._lock:
            self.counts[bucket] += 1
            self.sum += value

    @property
    def value(self) -> Distribution:
        """The observations so far."""
        return Distribution(tuple(self.counts), self.sum)


class _Cell(Protocol):
    def __init__(self, lock: Lock, metric: Metric) -> None: ...


C = TypeVar("C", bound=_Cell)


class Metrics:
    """The metrics of one process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: dict[str, dict[Labels, Counter]] = {}
        self._gauges: dict[str, dict[Labels, Gauge]] = {}
        self._histograms: dict[str, dict[Labels, Histogram]] = {}
        self._exemplars: dict[str, dict[Labels, dict[int, Exemplar]]] = {}
        self._refreshers: list[Callable[[], None]] = []

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """Return the cell with these labels, to be kept by code that counts often."""
        return self._counters.get(metric.name, {}).get(labels) or self._made(self._counters, Counter, metric, labels)

    def gauge(self, metric: Metric, *labels: str) -> Gauge:
        """Return the cell with these labels."""
        return self._gauges.get(metric.name, {}).get(labels) or self._made(self._gauges, Gauge, metric, labels)

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """Return the cell with these labels."""
        return self._histograms.get(metric.name, {}).get(labels) or self._made(
            self._histograms, Histogram, metric, labels
        )

    def _made(self, cells: dict[str, dict[Labels, C]], kind: type[C], metric: Metric, labels: Labels) -> C:
        if kind is not _CELLS[metric.kind] or len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} is a {metric.kind.value} with the labels {metric.labels}")
        clean = tuple(map(_printable, labels))
        with self._lock:
            return cells.setdefault(metric.name, {}).setdefault(clean, kind(self._lock, metric))

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Increase a counter."""
        self.counter(metric, *labels).add(by)

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge."""
        self.gauge(metric, *labels).set(to)

    def replace(self, metric: Metric, values: Mapping[Labels, float]) -> None:
        """Set all cells of a gauge; others of it are dropped."""
        with self._lock:
            self._gauges.pop(metric.name, None)
        for labels, value in values.items():
            self.set(metric, *labels, to=value)

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add an observation to a histogram."""
        self.histogram(metric, *labels).observe(value)

    def exemplify(self, metric: Metric, *labels: str, by: Exemplar) -> None:
        """Let a traced request stand for the cell that it was counted in; the newest one of each bucket stays."""
        bucket = bisect_right(metric.buckets, by.value)
        clean = tuple(map(_printable, labels))
        with self._lock:
            self._exemplars.setdefault(metric.name, {}).setdefault(clean, {})[bucket] = by

    def forget(self, metric: Metric, *labels: str) -> None:
        """Drop a cell of a gauge whose subject no longer exists; counters are never dropped."""
        with self._lock:
            self._gauges.get(metric.name, {}).pop(labels, None)

    def before_snapshot(self, refresh: Callable[[], None]) -> None:
        """Register `refresh` to set gauges before each snapshot, instead of all the time."""
        self._refreshers.append(refresh)

    def snapshot(self) -> MetricSnapshot:
        """Return a copy of all metrics."""
        for refresh in self._refreshers:
            refresh()
        with self._lock:
            return MetricSnapshot(
                {name: {labels: one.value for labels, one in cells.items()} for name, cells in self._counters.items()},
                {name: {labels: one.value for labels, one in cells.items()} for name, cells in self._gauges.items()},
                {
                    name: {labels: one.value for labels, one in cells.items()}
                    for name, cells in self._histograms.items()
                },
                {name: {labels: dict(one) for labels, one in cells.items()} for name, cells in self._exemplars.items()},
            )


_CELLS = {MetricKind.COUNTER: Counter, MetricKind.GAUGE: Gauge, MetricKind.HISTOGRAM: Histogram}


def _printable(label: str) -> str:
    """Return a text, which clients may have sent, as one that can be written as UTF-8."""
    return label.encode("utf-8", "replace").decode("utf-8")


def merged(snapshots: Iterable[MetricSnapshot]) -> MetricSnapshot:
    """Return the sums over several processes."""
    counters: dict[str, dict[Labels, float]] = {}
    gauges: dict[str, dict[Labels, float]] = {}
    distributions: dict[str, dict[Labels, Distribution]] = {}
    exemplars: dict[str, dict[Labels, dict[int, Exemplar]]] = {}
    for snapshot in snapshots:
        _add_values(counters, snapshot.counters)
        _add_values(gauges, snapshot.gauges)
        _add_distributions(distributions, snapshot.distributions)
        _add_exemplars(exemplars, snapshot.exemplars)
    return MetricSnapshot(counters, gauges, distributions, exemplars)


def _add_values(sums: dict[str, dict[Labels, float]], more: MetricValues) -> None:
    for name, cells in more.items():
        known = sums.setdefault(name, {})
        for labels, value in cells.items():
            known[labels] = known.get(labels, 0) + value


def _add_distributions(sums: dict[str, dict[Labels, Distribution]], more: Distributions) -> None:
    for name, cells in more.items():
        known = sums.setdefault(name, {})
        for labels, one in cells.items():
            before = known.get(labels)
            known[labels] = one if before is None else before.plus(one)


def _add_exemplars(newest: dict[str, dict[Labels, dict[int, Exemplar]]], more: Exemplars) -> None:
    for name, cells in more.items():
        for labels, buckets in cells.items():
            known = newest.setdefault(name, {}).setdefault(labels, {})
            for bucket, one in buckets.items():
                if bucket not in known or known[bucket].at_s < one.at_s:
                    known[bucket] = one
