"""Reads the page with metrics as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from core.telemetry.metric_names import BY_NAME, METRICS_AGE
from core.telemetry.metrics import Metric, MetricKind
from tests.support.clients import RestClient, wait_until

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


def scrape_once(client: RestClient) -> Page:
    """Read the page; fails on any other status than 200."""
    reply = client.get(PATH)
    assert reply.status == 200, reply.body
    return Page(reply.body.decode())


def scrape(client: RestClient) -> Page:
    """Read the page until it is fresh; on a busy machine it may come before the newest sums do."""
    pages: list[Page] = []

    def is_fresh() -> bool:
        pages.append(scrape_once(client))
        return pages[-1].value(METRICS_AGE) == 0

    wait_until(is_fresh, "the page has the newest sums")
    return pages[-1]


def assert_never_falls(pages: list[Page]) -> None:
    """Fail when a counter is smaller on a page than on an earlier one."""
    highest: dict[object, float] = {}
    for page in pages:
        lasting = page.lasting()
        fallen = {sample for sample, value in highest.items() if lasting.get(sample, 0) < value}
        assert not fallen
        highest |= lasting
