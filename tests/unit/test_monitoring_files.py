"""Dashboard and alerts ask for metrics that exist, in a way that bears several routers."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from core.config.server_settings import MonitoringConfig
from core.telemetry.metric_names import ACCESS_REFUSALS, ALL_METRICS, BY_NAME, DROPPED_REQUESTS, REFUSED_REQUESTS
from core.telemetry.metrics import Metric, MetricKind
from tests.support.monitoring_files import CONFIGS, DASHBOARD, panel_queries, panels, rules
from tests.support.prometheus_server import ALERTS_TEST

QUERIES = panel_queries() | {rule["alert"]: rule["expr"] for rule in rules()}
NAME = re.compile(r"(?<![\w:])(?::tensorflow:|ray_model_server_)[\w:]+")
RATE = re.compile(r"max by \(([^)]*)\)\s*\(\s*(?:rate|increase)\(\s*([\w:]+)\{?([^}]*)")
SUFFIXES = re.compile("_(?:bucket|sum|count)$")
SHOWN_ELSEWHERE = {
    ":tensorflow:serving:request_example_counts",
    ":tensorflow:serving:request_example_count_total",
    ":tensorflow:serving:request_log_count",
    ":tensorflow:serving:model_warmup_latency",
    ":tensorflow:serving:model_warmup_records_read",
    ":tensorflow:serving:batching_session:queuing_latency",
    ":tensorflow:serving:batching_session:wrapped_run_count",
    ":tensorflow:serving:batching_session:padding_size",
    ":tensorflow:serving:batching_session:input_batch_size",
    ":tensorflow:cc:saved_model:load_attempt_count",
    ":tensorflow:cc:saved_model:load_latency",
    ":tensorflow:core:graph_runs",
    ":tensorflow:core:graph_run_time_usecs",
    "ray_model_server_last_inference_timestamp_seconds",
}
"""TensorFlow Serving's metrics that the dashboard leaves to those who know them, and one that is not on the page."""


def declared(name: str) -> str:
    """Return the name under which a metric is declared."""
    return name if name in BY_NAME else SUFFIXES.sub("", name)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_query_asks_for_metrics_that_exist(query) -> None:
    """Histograms by the names of their parts."""
    names = NAME.findall(query)

    assert names or query.startswith("up{")
    for name in names:
        metric = BY_NAME[declared(name)]
        assert (metric.kind is MetricKind.HISTOGRAM) == (name not in BY_NAME)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_numbers_of_several_routers_are_not_added(query) -> None:
    """Every router shows the sums: the largest of each series is taken, over all labels that the metric has."""
    for labels, name, selector in RATE.findall(query):
        metric = BY_NAME[declared(name)]
        kept = {label.strip() for label in labels.split(",")}
        chosen = set(re.findall(r'(\w+)="', selector))
        own = {*metric.labels, *({"le"} if name.endswith("_bucket") else set())}
        assert kept <= own | {"job"}
        assert own - kept <= chosen


def test_every_metric_of_ours_is_on_the_dashboard_or_in_a_rule() -> None:
    """What is worth counting is worth a look."""
    shown = {declared(name) for query in QUERIES.values() for name in NAME.findall(query)}

    assert {metric.name for metric in ALL_METRICS} - shown - SHOWN_ELSEWHERE == set()


def test_panels_are_explained_and_have_numbers_of_their_own() -> None:
    """A reader of the dashboard knows what a panel means."""
    everything = json.loads(DASHBOARD.read_text())["panels"]

    assert all(panel["description"].endswith(".") for panel in panels())
    assert len({panel["id"] for panel in everything}) == len(everything)


def test_every_alert_tells_what_to_do_and_is_tested() -> None:
    """Severity, summary, description, and numbers on which it fires."""
    tested = {
        one["alertname"] for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"] for one in test["alert_rule_test"]
    }

    assert {rule["alert"] for rule in rules()} == tested
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_sample_scrapes_the_page_where_it_is() -> None:
    """The job's name is the one that the alerts expect."""
    config = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yaml").read_text())

    [job] = config["scrape_configs"]
    assert job["metrics_path"] == MonitoringConfig().prometheus_path
    assert f'job="{job["job_name"]}"' in QUERIES["RayModelServerDown"]
    assert (CONFIGS / "prometheus" / config["rule_files"][0]).exists()


@pytest.mark.parametrize("metric", [DROPPED_REQUESTS, REFUSED_REQUESTS, ACCESS_REFUSALS])
def test_every_way_to_refuse_a_request_is_on_one_panel(metric: Metric) -> None:
    """Whoever looks for requests that got no answer of a model looks there."""
    queries = [query for title, query in panel_queries().items() if title.startswith("Dropped and refused requests")]

    assert any(metric.name in one and one.endswith(" or vector(0)") for one in queries)
