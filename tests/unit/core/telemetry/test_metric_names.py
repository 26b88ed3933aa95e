"""The declared metrics: names of TensorFlow Serving, and ours as Prometheus advises."""

from __future__ import annotations

import re

import pytest

from core.telemetry.metric_names import ALL_METRICS, BY_NAME, LAST_INFERENCE, PAGE_METRICS, QUEUE_MICROS
from core.telemetry.metric_page import label_name, page_name
from core.telemetry.metrics import Metric, MetricKind

OURS = [metric for metric in ALL_METRICS if metric.name.startswith("ray_model_server_")]
SERVING = {
    "request_count": "counter(model_name, status)",
    "request_latency": "histogram(model_name, API, entrypoint) 33",
    "runtime_latency": "histogram(model_name, API, runtime) 33",
    "request_example_counts": "histogram(model) 15",
    "request_example_count_total": "counter(model)",
    "request_log_count": "counter(model_name, status_code)",
    "model_warmup_latency": "histogram(model_path, status) 33",
    "model_warmup_records_read": "counter(model_path, status)",
    "batching_session:queuing_latency": "histogram(thread_pool_name) 52",
    "batching_session:wrapped_run_count": "counter()",
    "batching_session:padding_size": "histogram(execution_batch_size) 14",
    "batching_session:input_batch_size": "histogram() 14",
    "batching_session:processed_batch_size": "histogram() 14",
}


def described(metric: Metric) -> str:
    """Return kind, labels and number of buckets."""
    limits = f" {len(metric.buckets)}" if metric.buckets else ""
    return f"{metric.kind.value}({', '.join(metric.labels)}){limits}"


def test_all_metrics_of_tensorflow_serving_are_there() -> None:
    """Dashboards made for it go on working."""
    prefix = ":tensorflow:serving:"

    assert {
        name.removeprefix(prefix): described(metric) for name, metric in BY_NAME.items() if name.startswith(prefix)
    } == SERVING


def test_no_name_is_used_twice() -> None:
    """Two metrics under one name would spoil each other."""
    assert len(BY_NAME) == len(ALL_METRICS)


def test_times_of_day_are_not_on_the_page() -> None:
    """It shows sums over all processes."""
    assert set(ALL_METRICS) - set(PAGE_METRICS) == {LAST_INFERENCE}


def test_the_longest_queue_has_a_bucket() -> None:
    """The limits of queuing latency end where TensorFlow Serving's do."""
    assert f"{QUEUE_MICROS[-1]:g}" == "1.09205e+06"


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric.name)
def test_our_own_metrics_are_named_as_prometheus_advises(metric) -> None:
    """A counter ends in _total and says what it counts; units are base units; everybody gets an explanation."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.name)
def test_names_stand_on_the_page_as_they_are_declared(metric) -> None:
    """So that a reader finds in the code what is on the page."""
    assert page_name(metric.name) == metric.name
    assert [label_name(label) for label in metric.labels] == list(metric.labels)
    assert list(metric.buckets) == sorted(set(metric.buckets))
