"""Turns snapshots into changes of Ray's own metrics: additions to counters, and values of gauges.

Ray puts `ray_` before every name and `_total` behind those of counters, and accepts no colons. A histogram becomes
three counters, `_bucket`, `_sum` and `_count`, because Ray's own histogram needs every single observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from core.telemetry.metric_names import BY_NAME
from core.telemetry.metrics import Distribution, Distributions, Labels, Metric, MetricKind, MetricSnapshot, MetricValues

_PREFIXES = (":tensorflow:serving:", ":tensorflow:", "ray_model_server_")
_OURS = "model_server_"

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Change:
    """What to add to a counter, or the value to set a gauge to."""

    name: str
    kind: MetricKind
    labels: Mapping[str, str]
    value: float


def ray_name(metric: Metric) -> str:
    """Return the name from which Ray makes `ray_model_server_...`."""
    prefix = next(one for one in _PREFIXES if metric.name.startswith(one))
    return _OURS + metric.name.removeprefix(prefix).removesuffix("_total").replace(":", "_")


def changes(before: MetricSnapshot, now: MetricSnapshot) -> Iterator[Change]:
    """Yield the increases between two snapshots of the same process, and all gauges.

    Ray drops a gauge that was not set for twenty seconds, so present gauges are set again and removed ones are not.
    """
    yield from _counted(before.counters, now.counters)
    for metric, labels, value in _cells(now.gauges):
        yield Change(ray_name(metric), MetricKind.GAUGE, _tags(metric, labels), value)
    yield from _observed(before.distributions, now.distributions)


def _counted(before: MetricValues, now: MetricValues) -> Iterator[Change]:
    for metric, labels, value in _cells(now):
        added = value - before.get(metric.name, {}).get(labels, 0)
        if added > 0:
            yield Change(ray_name(metric), MetricKind.COUNTER, _tags(metric, labels), added)


def _observed(before: Distributions, now: Distributions) -> Iterator[Change]:
    for metric, labels, one in _cells(now):
        old = before.get(metric.name, {}).get(labels)
        added = _less(one, old) if old is not None else one
        if not any(added.counts):
            continue
        name, tags = ray_name(metric), _tags(metric, labels)
        limits = (*(f"{limit:g}" for limit in metric.buckets), "+Inf")
        for limit, count in zip(limits, accumulate(added.counts), strict=True):
            if count:
                yield Change(f"{name}_bucket", MetricKind.COUNTER, {**tags, "le": limit}, count)
        yield Change(f"{name}_count", MetricKind.COUNTER, tags, sum(added.counts))
        if added.sum > 0:
            yield Change(f"{name}_sum", MetricKind.COUNTER, tags, added.sum)


def _less(one: Distribution, other: Distribution) -> Distribution:
    counts = tuple(now - before for now, before in zip(one.counts, other.counts, strict=True))
    return Distribution(counts, one.sum - other.sum)


def _cells(values: Mapping[str, Mapping[Labels, V]]) -> Iterator[tuple[Metric, Labels, V]]:
    return ((BY_NAME[name], labels, value) for name, cells in values.items() for labels, value in cells.items())


def _tags(metric: Metric, labels: Labels) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
