"""The metric families of the page: how each of our metrics is called there, its unit and its help text.

Rule for names: what begins with a colon loses it, the other colons become underscores, and a counter's `_total` is the
samples', not the family's (OpenMetrics). So `:tensorflow:serving:request_count` is the family
`tensorflow_serving_request_count` with samples `tensorflow_serving_request_count_total`, and ours keep their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from core.telemetry.metric_names import PAGE_METRICS
from core.telemetry.metrics import Metric, MetricKind

_TOTAL: Final = "_total"
_UNITS: Final = ("seconds", "bytes")
"""Base units (OpenMetrics) that end a family's name; TensorFlow Serving's microseconds are named in help texts only."""

_HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tensorflow_serving_request_count": "Requests, by the model that they named and the status of their answer.",
        "tensorflow_serving_request_latency": "Microseconds from the arrival of a request to its answer, "
        "successful ones only.",
        "tensorflow_serving_runtime_latency": "Microseconds that runs of the model took.",
        "tensorflow_serving_request_example_counts": "Examples in a request for several tasks.",
        "tensorflow_serving_request_example_count": "Examples in all requests for several tasks.",
        "tensorflow_serving_request_log_count": "Requests chosen for the request log, by what became of them.",
        "tensorflow_serving_model_warmup_latency": "Microseconds that the warm-up requests of a version took.",
        "tensorflow_serving_model_warmup_records_read": "Warm-up requests that were read.",
        "tensorflow_serving_batching_session_queuing_latency": "Microseconds that requests waited for their batch.",
        "tensorflow_serving_batching_session_wrapped_run_count": "Batches that were run.",
        "tensorflow_serving_batching_session_padding_size": "Rows that were added to a batch as padding.",
        "tensorflow_serving_batching_session_input_batch_size": "Rows of a request that was merged with others.",
        "tensorflow_serving_batching_session_processed_batch_size": "Rows of a batch, with its padding.",
        "tensorflow_cc_saved_model_load_attempt_count": "Attempts to load a version.",
        "tensorflow_cc_saved_model_load_latency": "Microseconds that it took to load a version.",
        "tensorflow_core_graph_runs": "Runs of models.",
        "tensorflow_core_graph_run_time_usecs": "Microseconds that all runs of models took.",
    }
)
"""Of the metrics that have no help text on TensorFlow Serving's page."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as the page shows it; `unit` is empty where the name ends in none."""

    metric: Metric
    name: str
    help: str
    unit: str


def family(metric: Metric) -> Family:
    """Return the family of a metric."""
    name = metric.name.removeprefix(":").replace(":", "_")
    if metric.kind is MetricKind.COUNTER:
        name = name.removesuffix(_TOTAL)
    unit = next((one for one in _UNITS if name.endswith(f"_{one}")), "")
    return Family(metric, name, metric.help or _HELP[name], unit)


FAMILIES: Final[tuple[Family, ...]] = tuple(sorted(map(family, PAGE_METRICS), key=lambda one: one.name))
"""Every family of the page, in the order of their names."""
