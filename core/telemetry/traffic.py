"""Requests per second and latencies of each version, over the last seconds and as a curve over the last minutes.

Sums over all processes arrive periodically (`core.telemetry.metric_ledger`); a rate is the difference of two of them.
Requests counted in the first sum that has a version are in no rate, because they may be older than this process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from core.errors import Code
from core.telemetry.metric_names import REFUSED_REQUESTS, REPLICAS, SIGNATURE_REQUESTS, SIGNATURE_SECONDS
from core.telemetry.metrics import MetricSnapshot

STEP_S = 5.0
"""Least time between two points of a curve."""

KEPT_S = 300.0
"""Time that curves cover."""

WINDOW_S = 30.0
"""Time that the present rates cover."""

SHORTEST_S = 0.5
"""Least time between two sums that give a rate."""

P50, P95, P99 = 0.5, 0.95, 0.99

Version = tuple[str, str]
"""Name of the model and number of the version; no number stands for what was refused of the model."""

REFUSED = ""


@dataclass(frozen=True, slots=True)
class Count:
    """The requests answered by a version so far, and how many successful ones fell into each bucket of latency."""

    requests: float = 0
    seconds: tuple[int, ...] = (0,) * (len(SIGNATURE_SECONDS.buckets) + 1)
    errors: float = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts of all versions at one moment."""

    at_s: float
    counts: Mapping[Version, Count]


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates between two samples; errors are requests too. Without successful requests there are no latencies."""

    requests_per_s: float
    p50_s: float | None = None
    p99_s: float | None = None
    errors_per_s: float = 0.0
    p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve: the rates up to a moment."""

    ago_s: float
    rates: Rates


@dataclass(frozen=True, slots=True)
class Traffic:
    """The present rates of a version, and its curve, oldest point first; empty where there was no request."""

    rates: Rates
    curve: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class TrafficHistory:
    """The samples of the last minutes, oldest first; immutable, each sample returns a new one."""

    samples: tuple[Sample, ...] = field(default=())

    def after(self, sample: Sample) -> TrafficHistory:
        """Return a history with one more sample; it replaces one that came too soon after its predecessor."""
        known = [one for one in self.samples if one.at_s > sample.at_s - KEPT_S]
        if len(known) > 1 and known[-1].at_s - known[-2].at_s < STEP_S and _knows_all(known[-2], known[-1]):
            known.pop()
        counts = _sharing(known[-1].counts, sample.counts) if known else sample.counts
        return TrafficHistory((*known, Sample(sample.at_s, counts)))

    def traffic(self, now_s: float) -> dict[Version, Traffic]:
        """Return the traffic of all versions that are in two samples."""
        if not self.samples:
            return {}
        found = ((version, self._of(version, now_s)) for version in self.samples[-1].counts)
        return {version: traffic for version, traffic in found if traffic is not None}

    def _of(self, version: Version, now_s: float) -> Traffic | None:
        known = [one for one in self.samples if version in one.counts]
        newest = known[-1]
        past = [one for one in known if one.at_s <= newest.at_s - SHORTEST_S]
        if not past:
            return None
        before = next((one for one in reversed(past) if one.at_s <= newest.at_s - WINDOW_S), past[0])
        return Traffic(_rates(version, before, newest), _curve(version, known, now_s))


def counts(total: MetricSnapshot) -> dict[Version, Count]:
    """Return the counts of all versions, also of those with replicas but without requests, and of what was refused."""
    requests: dict[Version, float] = defaultdict(float)
    errors: dict[Version, float] = defaultdict(float)
    seconds: dict[Version, tuple[int, ...]] = defaultdict(lambda: Count().seconds)
    for labels, number in total.counters.get(SIGNATURE_REQUESTS.name, {}).items():
        requests[labels[0], labels[1]] += number
        errors[labels[0], labels[1]] += 0 if labels[-1] == Code.OK.name else number
    for labels, one in total.distributions.get(SIGNATURE_SECONDS.name, {}).items():
        version = (labels[0], labels[1])
        seconds[version] = tuple(map(sum, zip(seconds[version], one.counts, strict=True)))
    for labels, number in total.counters.get(REFUSED_REQUESTS.name, {}).items():
        requests[labels[0], REFUSED] += number
    idle = {(labels[0], labels[1]): Count() for labels in total.gauges.get(REPLICAS.name, {})}
    return idle | {version: Count(number, seconds[version], errors[version]) for version, number in requests.items()}


def quantile(share: float, bucket_counts: Sequence[int], limits: Sequence[float]) -> float | None:
    """Estimate a quantile from buckets by linear interpolation; the last bucket is unbounded."""
    total = sum(bucket_counts)
    wanted, below, lower = share * total, 0, 0.0
    for number, upper in zip(bucket_counts, limits, strict=False):
        if number and below + number >= wanted:
            return lower + (upper - lower) * (wanted - below) / number
        below, lower = below + number, upper
    return lower if total else None


def _knows_all(one: Sample, other: Sample) -> bool:
    return other.counts.keys() <= one.counts.keys()


def _sharing(before: Mapping[Version, Count], now: Mapping[Version, Count]) -> Mapping[Version, Count]:
    """Return counts that share unchanged values with the previous sample, because most versions are idle."""
    return {version: before[version] if before.get(version) == one else one for version, one in now.items()}


def _rates(version: Version, before: Sample, after: Sample) -> Rates:
    """Return the rates between two samples, never negative: a sum may fall when an old process is dropped."""
    first, last = before.counts[version], after.counts[version]
    took_s = after.at_s - before.at_s
    requests = max(0.0, last.requests - first.requests) / took_s
    errors = max(0.0, last.errors - first.errors) / took_s
    new = [max(0, now - then) for then, now in zip(first.seconds, last.seconds, strict=True)]
    limits = SIGNATURE_SECONDS.buckets
    p50_s, p95_s, p99_s = (quantile(share, new, limits) for share in (P50, P95, P99))
    return Rates(requests, p50_s, p99_s, errors, p95_s)


def _curve(version: Version, known: Sequence[Sample], now_s: float) -> tuple[Point, ...]:
    if known[0].counts[version] is known[-1].counts[version]:
        return ()
    return tuple(
        Point(now_s - after.at_s, _rates(version, before, after))
        for before, after in pairwise(known)
        if after.at_s - before.at_s >= SHORTEST_S
    )
