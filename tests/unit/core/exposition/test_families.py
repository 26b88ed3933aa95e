"""Names, units and help texts of the page for everybody's Prometheus."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry

from core.exposition.families import FAMILIES, family
from core.telemetry import metric_names
from core.telemetry.metric_names import LAST_INFERENCE, PAGE_METRICS
from core.telemetry.metrics import MetricKind, MetricSnapshot
from deployments.exposition.sums_collector import SumsCollector

SUFFIXES = {
    MetricKind.COUNTER: ("_total",),
    MetricKind.GAUGE: ("",),
    MetricKind.HISTOGRAM: ("_bucket", "_sum", "_count"),
}


def test_colons_become_underscores_and_a_counters_total_is_its_samples() -> None:
    """TensorFlow Serving's names and ours, by one rule."""
    assert [family(one).name for one in (
        metric_names.REQUEST_COUNT, metric_names.REQUEST_EXAMPLE_COUNT_TOTAL, metric_names.BATCH_QUEUING_LATENCY,
        metric_names.LOAD_ATTEMPT_COUNT, metric_names.DROPPED_REQUESTS, metric_names.QUEUE_LENGTH,
    )] == [
        "tensorflow_serving_request_count", "tensorflow_serving_request_example_count",
        "tensorflow_serving_batching_session_queuing_latency", "tensorflow_cc_saved_model_load_attempt_count",
        "ray_model_server_dropped_requests", "ray_model_server_queue_length",
    ]  # fmt: skip


def test_every_metric_of_tensorflow_servings_page_is_there() -> None:
    """No more and no fewer; a sum of times would mean nothing on either page."""
    assert {one.metric.name for one in FAMILIES} == {one.name for one in PAGE_METRICS}
    assert LAST_INFERENCE not in {one.metric for one in FAMILIES}


def test_no_two_families_share_a_sample_and_every_name_is_valid_everywhere() -> None:
    """In each format and under each escaping scheme; the library's registry agrees."""
    samples = [one.name + suffix for one in FAMILIES for suffix in SUFFIXES[one.metric.kind]]

    assert len(set(samples)) == len(samples)
    assert not [name for name in samples if not re.fullmatch("[a-z][a-z0-9_]*", name)]
    CollectorRegistry().register(SumsCollector(MetricSnapshot()))


def test_a_unit_ends_the_name_and_every_family_has_a_help_text() -> None:
    """OpenMetrics asks for both; microseconds are said in words, because TensorFlow Serving's names stay."""
    assert family(metric_names.FETCHED_BYTES).unit == "bytes"
    assert family(metric_names.LOAD_SECONDS).unit == "seconds"
    assert {one.unit for one in FAMILIES} == {"", "seconds", "bytes"}
    for one in FAMILIES:
        assert one.help.endswith(".")
        assert not one.unit or one.name.endswith(f"_{one.unit}")
        if one.name.endswith(("latency", "usecs")):
            assert "icroseconds" in one.help
