"""Counts the calls of one version: by method and signature, with the time of TensorFlow's runs.

Calls are counted often and in several threads, so the metrics of each kind of call are looked up once and kept. Kinds
are few: signatures are the model's own, and a request for another signature is counted without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType

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
from core.telemetry.metrics import Counter, Histogram, Metrics
from deployments.telemetry.process_metrics import METRICS

MICROS_PER_S = 1e6
RUNTIME = "TF1"
"""What TensorFlow Serving calls its usual way to run a model."""

APIS: Mapping[Method, str] = MappingProxyType(
    {
        Method.REST_PREDICT: "Predict",
        Method.REST_CLASSIFY: "Classify",
        Method.REST_REGRESS: "Regress",
        Method.REST_METADATA: "GetModelMetadata",
        Method.PREDICT: "Predict",
        Method.CLASSIFY: "Classify",
        Method.REGRESS: "Regress",
        Method.MULTI_INFERENCE: "MultiInference",
        Method.GET_MODEL_METADATA: "GetModelMetadata",
        Method.SESSION_RUN: "SessionRun",
        Method.OIP_REST_INFER: "ModelInfer",
        Method.OIP_INFER: "ModelInfer",
        Method.OIP_REST_METADATA: "ModelMetadata",
        Method.OIP_METADATA: "ModelMetadata",
    }
)
"""The name under which each method is counted: that of the gRPC method, also for what came over REST."""

TIMED = frozenset({"Predict", "Classify", "Regress", "ModelInfer"})
"""Methods whose runs are timed: those of TensorFlow Serving, and the one of the Open Inference Protocol."""


class VersionMeter:
    """Counts the calls of one version."""

    def __init__(self, served: ServedModel, metrics: Metrics = METRICS) -> None:
        self._name = served.name
        self._version = str(served.version)
        self._metrics = metrics
        self._answers: dict[tuple[Method, str, Code], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._runtimes: dict[Method, Histogram] = {}
        self._lock = Lock()
        self._rows = 0
        self._ran_at_s: float | None = None
        self._counted_runs = self._counted_micros = self._counted_rows = 0
        metrics.before_snapshot(self._count_runs)

    def begin(self, call: Call) -> CallMeter:
        """Begin to time a call."""
        return CallMeter(self, call.method)

    def count_examples(self, count: int) -> None:
        """Count the examples of a MultiInference (TensorFlow Serving counts no others)."""
        self._metrics.observe(REQUEST_EXAMPLE_COUNTS, self._name, value=count)
        self._metrics.count(REQUEST_EXAMPLE_COUNT_TOTAL, self._name, by=count)

    def count_run(self, method: Method, rows: int, began_s: float, ended_s: float) -> None:
        """Count a run of the model that succeeded, and the rows that it answered; times are of the steady clock."""
        runtime = self._runtimes.get(method) or self._new_runtime(method)
        runtime.observe((ended_s - began_s) * MICROS_PER_S)
        with self._lock:
            self._rows += rows
        self._ran_at_s = ended_s

    def count_answer(self, method: Method, signature: str, code: Code, took_s: float) -> None:
        """Count an answer; a good one is timed."""
        kind = (method, signature, code)
        (self._answers.get(kind) or self._new_answer(kind)).add()
        if code is Code.OK:
            (self._seconds.get(signature) or self._new_seconds(signature)).observe(took_s)

    def _new_runtime(self, method: Method) -> Histogram:
        """Return the histogram of a method; one that TensorFlow Serving does not time gets a histogram off the page."""
        api = APIS.get(method, "")
        metrics = self._metrics if api in TIMED else Metrics()
        return self._runtimes.setdefault(method, metrics.histogram(RUNTIME_LATENCY, self._name, api, RUNTIME))

    def _count_runs(self) -> None:
        """Bring up to date what follows from the histograms (TensorFlow's own counters), and what is cheap to keep."""
        with self._lock:
            cells = {id(cell): cell.value for cell in tuple(self._runtimes.values())}.values()
            runs, micros = sum(sum(one.counts) for one in cells), int(sum(one.sum for one in cells))
            self._metrics.count(GRAPH_RUNS, by=runs - self._counted_runs)
            self._metrics.count(GRAPH_RUN_TIME, by=micros - self._counted_micros)
            self._metrics.count(INFERENCE_ROWS, self._name, self._version, by=self._rows - self._counted_rows)
            self._counted_runs, self._counted_micros, self._counted_rows = runs, micros, self._rows
        if self._ran_at_s is not None:
            ran_at_s = time.time() - (time.perf_counter() - self._ran_at_s)
            self._metrics.set(LAST_INFERENCE, self._name, self._version, to=ran_at_s)

    def _new_answer(self, kind: tuple[Method, str, Code]) -> Counter:
        method, signature, code = kind
        labels = (self._name, self._version, signature, APIS.get(method, ""), code.name)
        return self._answers.setdefault(kind, self._metrics.counter(SIGNATURE_REQUESTS, *labels))

    def _new_seconds(self, signature: str) -> Histogram:
        cell = self._metrics.histogram(SIGNATURE_SECONDS, self._name, self._version, signature)
        return self._seconds.setdefault(signature, cell)


class CallMeter:
    """Times one call."""

    __slots__ = ("_began_s", "_method", "_rows", "_run_s", "_signature", "_version")

    def __init__(self, version: VersionMeter, method: Method) -> None:
        self._version = version
        self._method = method
        self._signature = ""
        self._rows = 1
        self._run_s = 0.0
        self._began_s = time.perf_counter()

    def planned(self, plan: RunPlan) -> None:
        """Note the plan of the call; its run begins now."""
        self._signature = plan.signature
        if self._method is Method.MULTI_INFERENCE:
            self._version.count_examples(next(iter(plan.feeds.values())).size)
        for fed in plan.feeds.values():
            self._rows = fed.shape[0] if fed.shape else 1
            break
        self._run_s = time.perf_counter()

    def ran(self) -> None:
        """Note that the run has succeeded."""
        self._version.count_run(self._method, self._rows, self._run_s, time.perf_counter())

    def ended(self, code: Code) -> None:
        """Note the answer."""
        self._version.count_answer(self._method, self._signature, code, time.perf_counter() - self._began_s)
