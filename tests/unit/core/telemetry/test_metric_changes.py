"""Numbers as Ray's own metrics want them."""

from __future__ import annotations

import re

import pytest

from core.telemetry.metric_changes import Change, changes, ray_name
from core.telemetry.metric_names import (
    ALL_METRICS,
    CONFIG_PROBLEMS,
    GRAPH_RUNS,
    LABEL_REQUESTS,
    LOAD_SECONDS,
    REQUEST_COUNT,
    REQUEST_LATENCY,
    STORAGE_PROBLEM,
)
from core.telemetry.metrics import MetricKind, Metrics, MetricSnapshot

M_OK = {"model_name": "m", "status": "OK"}


@pytest.mark.parametrize(("metric", "name"), [
    (REQUEST_COUNT, "model_server_request_count"),
    (GRAPH_RUNS, "model_server_core_graph_runs"),
    (LABEL_REQUESTS, "model_server_label_requests"),
    (LOAD_SECONDS, "model_server_load_seconds"),
])  # fmt: skip
def test_names_are_such_that_ray_makes_ours_of_them(metric, name) -> None:
    """Ray adds `ray_` in front, and `_total` to counters."""
    assert ray_name(metric) == name


def test_ray_can_take_every_name_and_label() -> None:
    """No colons, and no name twice."""
    names = [ray_name(metric) for metric in ALL_METRICS]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"model_server_[a-z0-9_]+", name) for name in names)
    assert not [metric.name for metric in ALL_METRICS if "le" in metric.labels]


def test_counters_are_added_to() -> None:
    """Only what was counted since the last time."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK", by=3)
    before = metrics.snapshot()
    metrics.count(REQUEST_COUNT, "m", "OK", by=2)
    metrics.count(REQUEST_COUNT, "n", "OK")

    assert list(changes(before, metrics.snapshot())) == [
        Change("model_server_request_count", MetricKind.COUNTER, M_OK, 2),
        Change("model_server_request_count", MetricKind.COUNTER, {"model_name": "n", "status": "OK"}, 1),
    ]


def test_gauges_are_set_as_long_as_they_are_there() -> None:
    """Ray forgets those that nobody sets any more, and only those."""
    metrics = Metrics()
    metrics.set(CONFIG_PROBLEMS, to=2)
    metrics.set(STORAGE_PROBLEM, "m", to=1)
    metrics.set(STORAGE_PROBLEM, "n", to=0)
    before = metrics.snapshot()
    metrics.forget(STORAGE_PROBLEM, "m")
    metrics.set(CONFIG_PROBLEMS, to=3)

    assert [(one.name, one.value) for one in changes(MetricSnapshot(), before)] == [
        ("model_server_config_problems", 2),
        ("model_server_storage_problem", 1),
        ("model_server_storage_problem", 0),
    ]
    assert list(changes(before, metrics.snapshot())) == [
        Change("model_server_config_problems", MetricKind.GAUGE, {}, 3),
        Change("model_server_storage_problem", MetricKind.GAUGE, {"model_name": "n"}, 0),
    ]


def test_histograms_become_counters_with_limits() -> None:
    """Cumulated, so that quantiles can be computed from them; limits below all new observations are not touched."""
    metrics = Metrics()
    metrics.observe(REQUEST_LATENCY, "m", "Predict", "GRPC", value=5.0)
    before = metrics.snapshot()
    metrics.observe(REQUEST_LATENCY, "m", "Predict", "GRPC", value=1e9)
    metrics.observe(REQUEST_LATENCY, "m", "Predict", "GRPC", value=2e9)
    labels = {"model_name": "m", "API": "Predict", "entrypoint": "GRPC"}
    name = "model_server_request_latency"

    assert list(changes(before, metrics.snapshot())) == [
        Change(f"{name}_bucket", MetricKind.COUNTER, {**labels, "le": "1.47476e+09"}, 1),
        Change(f"{name}_bucket", MetricKind.COUNTER, {**labels, "le": "+Inf"}, 2),
        Change(f"{name}_count", MetricKind.COUNTER, labels, 2),
        Change(f"{name}_sum", MetricKind.COUNTER, labels, 3e9),
    ]
    assert [one.value for one in changes(MetricSnapshot(), before)][-2:] == [1, 5.0]


def test_observations_of_nothing_have_no_sum() -> None:
    """Ray refuses to add 0."""
    metrics = Metrics()
    metrics.observe(LOAD_SECONDS, "m", value=0.0)

    assert {one.name for one in changes(MetricSnapshot(), metrics.snapshot())} == {
        "model_server_load_seconds_bucket",
        "model_server_load_seconds_count",
    }


def test_nothing_new_is_no_change() -> None:
    """An idle server has nothing to add."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK")
    metrics.observe(LOAD_SECONDS, "m", value=1.0)

    assert list(changes(metrics.snapshot(), metrics.snapshot())) == []
