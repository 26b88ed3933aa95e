"""A collector of prometheus-client over the sums of our ledger, and the page that its encoders write of them.

Nothing is registered with the library's own registry: processes count in `core.telemetry`, which needs no lock for each
cell and whose sums survive a process.
"""

from __future__ import annotations

import gzip
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ShownExemplar
from prometheus_client.utils import floatToGoString

from core.exposition.families import FAMILIES, Family
from core.exposition.scrape import Scrape
from core.telemetry.metric_names import METRICS_AGE
from core.telemetry.metric_report import parsed, snapshot_from
from core.telemetry.metrics import Distribution, Exemplar, Labels, MetricKind, MetricSnapshot
from deployments.system.installed import server_version

BUILD = "ray_model_server_build"
FASTEST_GZIP = 1


@dataclass(frozen=True, slots=True)
class Exposition:
    """The page in the format that was asked for."""

    body: bytes
    content_type: str
    zipped: bool


def exposition(sums: bytes, scrape: Scrape, age_s: float) -> Exposition:
    """Return the page of sums as `plain_snapshot` has them, encoded as JSON; `age_s`: seconds since they were added up.

    Raises InvalidArgument for sums that are not JSON.
    """
    snapshot = snapshot_from(parsed(sums))
    gauges: dict[str, Mapping[Labels, float]] = {**snapshot.gauges, METRICS_AGE.name: {(): age_s}}
    registry = CollectorRegistry()
    registry.register(SumsCollector(replace(snapshot, gauges=gauges)))
    encoder, content_type = choose_encoder(scrape.accept)
    shown = registry.restricted_registry(scrape.names) if scrape.names else registry
    body = encoder(shown)
    return Exposition(gzip.compress(body, FASTEST_GZIP) if scrape.zipped else body, content_type, scrape.zipped)


class SumsCollector(Collector):
    """Collects one snapshot."""

    def __init__(self, snapshot: MetricSnapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Return every family without samples; the registry compares their names."""
        return [_build(), *map(_empty, FAMILIES)]

    def collect(self) -> Iterator[Metric]:
        """Yield every family; those that are hidden until they are used only with samples."""
        yield _build()
        snapshot = self._snapshot
        by_kind: Mapping[MetricKind, Mapping[str, Mapping[Labels, float | Distribution]]] = {
            MetricKind.COUNTER: snapshot.counters,
            MetricKind.GAUGE: snapshot.gauges,
            MetricKind.HISTOGRAM: snapshot.distributions,
        }
        for one in FAMILIES:
            cells = by_kind[one.metric.kind].get(one.metric.name, {})
            if cells or not one.metric.hidden_until_used:
                yield _filled(one, cells, snapshot.exemplars.get(one.metric.name, {}))


def _build() -> Metric:
    versions = {"version": server_version(), "python": platform.python_version()}
    return InfoMetricFamily(BUILD, "The version of this server, and of its Python.", versions)


def _empty(one: Family) -> Metric:
    return Metric(one.name, one.help, one.metric.kind.value, one.unit)


def _filled(
    one: Family,
    cells: Mapping[Labels, float | Distribution],
    exemplars: Mapping[Labels, Mapping[int, Exemplar]],
) -> Metric:
    shown = _empty(one)
    limits = (*(floatToGoString(float(f"{limit:g}")) for limit in one.metric.buckets), "+Inf")
    for labels in sorted(cells):
        value, traced = cells[labels], exemplars.get(labels, {})
        named = dict(zip(one.metric.labels, labels, strict=True))
        if isinstance(value, Distribution):
            _add_buckets(shown, named, dict(zip(limits, accumulate(value.counts), strict=True)), traced)
            shown.add_sample(f"{one.name}_count", named, sum(value.counts))
            shown.add_sample(f"{one.name}_sum", named, value.sum)
        elif one.metric.kind is MetricKind.COUNTER:
            shown.add_sample(f"{one.name}_total", named, value, exemplar=_shown_exemplar(traced.get(0)))
        else:
            shown.add_sample(one.name, named, value)
    return shown


def _add_buckets(
    shown: Metric, named: Mapping[str, str], counts: Mapping[str, int], traced: Mapping[int, Exemplar]
) -> None:
    for place, (limit, count) in enumerate(counts.items()):
        exemplar = _shown_exemplar(traced.get(place))
        shown.add_sample(f"{shown.name}_bucket", {**named, "le": limit}, count, exemplar=exemplar)


def _shown_exemplar(one: Exemplar | None) -> ShownExemplar | None:
    return None if one is None else ShownExemplar({"trace_id": one.trace_id}, one.value, round(one.at_s, 3))
