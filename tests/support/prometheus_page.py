"""Reads the page with metrics as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from core.telemetry.metric_names import BY_NAME
from core.telemetry.metrics import Metric, MetricKind
from tests.support.clients import RestClient

PATH = "/monitoring/prometheus/metrics"


@dataclass
class Page:
    """The samples of one page."""

    text: str

    def __post_init__(self) -> None:
        self._samples = {
            (_plain(one.name), tuple(sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(self.text)
            for one in family.samples
        }

    def value(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        """Return one sample, 0 if it is not there."""
        return self._samples.get((metric.name + suffix, tuple(sorted(labels.items()))), 0)

    def count(self, metric: Metric, **labels: str) -> float:
        """Return the number of observations of a histogram."""
        return self.value(metric, "_count", **labels)

    def labelled(self, metric: Metric, **labels: str) -> list[dict[str, str]]:
        """Return the labels of the samples of a metric that have these labels."""
        found = [dict(shown) for name, shown in self._samples if name == metric.name]
        return [one for one in found if labels.items() <= one.items()]

    def lasting(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return what must never fall: counters, and the parts of histograms."""
        gauges = {metric.name for metric in BY_NAME.values() if metric.kind is MetricKind.GAUGE}
        return {sample: value for sample, value in self._samples.items() if sample[0] not in gauges}


def _plain(name: str) -> str:
    """Undo what the Python library does to counters: it gives each the suffix `_total`."""
    short = name.removesuffix("_total")
    return short if short in BY_NAME else name


def scrape(client: RestClient) -> Page:
    """Read the page; fails on any other status than 200."""
    reply = client.get(PATH)
    assert reply.status == 200, reply.body
    return Page(reply.body.decode())
