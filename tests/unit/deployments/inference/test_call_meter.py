"""Calls of one version, counted by method, signature and code."""

from __future__ import annotations

import time

import numpy as np
import pytest

from core.errors import Code
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.routing.transport import Call, Method
from core.telemetry.metric_names import (
    GRAPH_RUN_TIME,
    GRAPH_RUNS,
    INFERENCE_ROWS,
    LAST_INFERENCE,
    REQUEST_EXAMPLE_COUNT_TOTAL,
    REQUEST_EXAMPLE_COUNTS,
    RUNTIME_LATENCY,
    SIGNATURE_REQUESTS,
    SIGNATURE_SECONDS,
)
from core.telemetry.metrics import Metrics
from deployments.inference.call_meter import APIS, VersionMeter

PLAN = RunPlan({"x:0": np.zeros(3)}, ("y:0",), lambda _: b"", "serving_default")


def metered(*calls: tuple[Method, RunPlan | None, Code]) -> Metrics:
    """Meter calls; one with a plan and a good answer has run."""
    metrics = Metrics()
    version = VersionMeter(ServedModel("m", 3, {}), metrics)
    for method, plan, code in calls:
        meter = version.begin(Call(method, b""))
        if plan is not None:
            meter.planned(plan)
        if plan is not None and code is Code.OK:
            meter.ran()
        meter.ended(code)
    return metrics


@pytest.mark.parametrize(("method", "api"), [
    (Method.PREDICT, "Predict"), (Method.REST_PREDICT, "Predict"), (Method.REST_CLASSIFY, "Classify"), (Method.REGRESS, "Regress"),
    (Method.OIP_REST_INFER, "ModelInfer"), (Method.OIP_INFER, "ModelInfer"),
])  # fmt: skip
def test_runs_are_timed_by_method(method, api) -> None:
    """REST and gRPC together, as TensorFlow Serving does."""
    seen = metered((method, PLAN, Code.OK), (method, PLAN, Code.OK)).snapshot()

    [(labels, runtime)] = seen.distributions[RUNTIME_LATENCY.name].items()
    assert (labels, sum(runtime.counts)) == (("m", api, "TF1"), 2)
    assert runtime.sum > 0
    assert seen.counters[SIGNATURE_REQUESTS.name] == {("m", "3", "serving_default", api, "OK"): 2}
    assert seen.counters[GRAPH_RUNS.name] == {(): 2}
    assert seen.counters[GRAPH_RUN_TIME.name][()] <= runtime.sum
    assert sum(seen.distributions[SIGNATURE_SECONDS.name]["m", "3", "serving_default"].counts) == 2


def test_failures_are_counted_but_not_timed() -> None:
    """Before the signature is known there is none, afterwards it shows."""
    seen = metered((Method.PREDICT, None, Code.INVALID_ARGUMENT), (Method.PREDICT, PLAN, Code.INTERNAL)).snapshot()

    assert seen.counters[SIGNATURE_REQUESTS.name] == {
        ("m", "3", "", "Predict", "INVALID_ARGUMENT"): 1,
        ("m", "3", "serving_default", "Predict", "INTERNAL"): 1,
    }
    assert seen.counters[GRAPH_RUNS.name] == {(): 0}
    assert seen.distributions == {}


def test_multi_inference_counts_its_examples_and_has_no_run_time() -> None:
    """TensorFlow Serving does not time it."""
    seen = metered((Method.MULTI_INFERENCE, PLAN, Code.OK), (Method.MULTI_INFERENCE, PLAN, Code.INTERNAL)).snapshot()

    assert seen.counters[REQUEST_EXAMPLE_COUNT_TOTAL.name] == {("m",): 6}
    assert sum(seen.distributions[REQUEST_EXAMPLE_COUNTS.name][("m",)].counts) == 2
    assert RUNTIME_LATENCY.name not in seen.distributions
    assert seen.counters[GRAPH_RUNS.name] == {(): 1}


@pytest.mark.parametrize(
    ("method", "api"),
    [
        (Method.REST_METADATA, "GetModelMetadata"),
        (Method.OIP_REST_METADATA, "ModelMetadata"),
        (Method.OIP_METADATA, "ModelMetadata"),
    ],
)
def test_what_only_tells_of_the_model_is_counted_without_a_signature(method: Method, api: str) -> None:
    """Metadata needs none."""
    seen = metered((method, None, Code.OK)).snapshot()

    assert seen.counters[SIGNATURE_REQUESTS.name] == {("m", "3", "", api, "OK"): 1}


@pytest.mark.parametrize("method", [Method.PREDICT, Method.OIP_REST_INFER, Method.OIP_INFER])
def test_examples_are_counted_of_multi_inference_only(method: Method) -> None:
    """As in TensorFlow Serving: the rows of a prediction are not examples."""
    assert REQUEST_EXAMPLE_COUNTS.name not in metered((method, PLAN, Code.OK)).snapshot().distributions


def test_every_method_of_a_model_has_a_name() -> None:
    """A new method must be named before it can be counted."""
    assert set(APIS) == set(Method) - {Method.METRICS, Method.COMPARE, Method.OBSERVE}


@pytest.mark.parametrize(
    ("fed", "rows"), [({"x:0": np.zeros((4, 2))}, 4), ({"x:0": np.float32(1)}, 1), ({}, 1), ({"x:0": np.zeros(0)}, 0)]
)
def test_rows_of_requests_that_were_answered_are_counted(fed, rows) -> None:
    """A request without a batch dimension is one inference; one that failed is none."""
    plan = RunPlan(fed, ("y:0",), lambda _: b"", "serving_default")
    seen = metered(
        (Method.PREDICT, plan, Code.OK), (Method.PREDICT, plan, Code.OK), (Method.PREDICT, plan, Code.INTERNAL)
    )

    assert seen.snapshot().counters[INFERENCE_ROWS.name] == {("m", "3"): 2 * rows}
    assert seen.snapshot().counters[INFERENCE_ROWS.name] == {("m", "3"): 2 * rows}


def test_the_time_of_the_last_run_is_told_once_there_was_one() -> None:
    """By the wall clock, in seconds since the epoch."""
    before_s = time.time()
    seen = metered((Method.PREDICT, PLAN, Code.OK)).snapshot()

    assert before_s - 0.01 <= seen.gauges[LAST_INFERENCE.name]["m", "3"] <= time.time() + 0.01
    assert metered((Method.PREDICT, PLAN, Code.INTERNAL)).snapshot().gauges == {}
