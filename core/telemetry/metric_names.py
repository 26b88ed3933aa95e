"""The metrics of this server: TensorFlow Serving's names, labels and buckets (section Monitoring), and ours.

TensorFlow Serving's begin with `:tensorflow:serving:` and measure in microseconds. Ours begin with
`ray_model_server_`, end in their unit, and measure in seconds, as Prometheus advises.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.telemetry.metrics import Metric, MetricKind, exponential

_TENSORFLOW = ":tensorflow:"
_SERVING = ":tensorflow:serving:"
_OURS = "ray_model_server_"
_VERSION = ("model_name", "version")

LATENCY_MICROS = exponential(10, 1.8, 33)
QUEUE_MICROS = exponential(100, 1.2, 52)
SIZES = exponential(1, 2, 14)
EXAMPLES = exponential(1, 2, 15)
SECONDS = exponential(0.0001, 2, 22)

REQUEST_COUNT = Metric(f"{_SERVING}request_count", MetricKind.COUNTER, ("model_name", "status"))
REQUEST_LATENCY = Metric(
    f"{_SERVING}request_latency", MetricKind.HISTOGRAM, ("model_name", "API", "entrypoint"), LATENCY_MICROS
)
RUNTIME_LATENCY = Metric(
    f"{_SERVING}runtime_latency", MetricKind.HISTOGRAM, ("model_name", "API", "runtime"), LATENCY_MICROS
)
REQUEST_EXAMPLE_COUNTS = Metric(f"{_SERVING}request_example_counts", MetricKind.HISTOGRAM, ("model",), EXAMPLES)
REQUEST_EXAMPLE_COUNT_TOTAL = Metric(f"{_SERVING}request_example_count_total", MetricKind.COUNTER, ("model",))
REQUEST_LOG_COUNT = Metric(f"{_SERVING}request_log_count", MetricKind.COUNTER, ("model_name", "status_code"))
WARMUP_LATENCY = Metric(
    f"{_SERVING}model_warmup_latency", MetricKind.HISTOGRAM, ("model_path", "status"), LATENCY_MICROS
)
WARMUP_RECORDS_READ = Metric(f"{_SERVING}model_warmup_records_read", MetricKind.COUNTER, ("model_path", "status"))
BATCH_QUEUING_LATENCY = Metric(
    f"{_SERVING}batching_session:queuing_latency", MetricKind.HISTOGRAM, ("thread_pool_name",), QUEUE_MICROS
)
BATCH_RUN_COUNT = Metric(f"{_SERVING}batching_session:wrapped_run_count", MetricKind.COUNTER)
BATCH_PADDING_SIZE = Metric(
    f"{_SERVING}batching_session:padding_size",
    MetricKind.HISTOGRAM,
    ("execution_batch_size",),
    SIZES,
    hidden_until_used=True,
)
BATCH_INPUT_SIZE = Metric(
    f"{_SERVING}batching_session:input_batch_size", MetricKind.HISTOGRAM, (), SIZES, hidden_until_used=True
)
BATCH_PROCESSED_SIZE = Metric(
    f"{_SERVING}batching_session:processed_batch_size", MetricKind.HISTOGRAM, (), SIZES, hidden_until_used=True
)
LOAD_ATTEMPT_COUNT = Metric(
    f"{_TENSORFLOW}cc:saved_model:load_attempt_count",
    MetricKind.COUNTER,
    ("model_path", "status"),
    hidden_until_used=True,
)
LOAD_LATENCY = Metric(
    f"{_TENSORFLOW}cc:saved_model:load_latency", MetricKind.COUNTER, ("model_path",), hidden_until_used=True
)
GRAPH_RUNS = Metric(f"{_TENSORFLOW}core:graph_runs", MetricKind.COUNTER)
GRAPH_RUN_TIME = Metric(f"{_TENSORFLOW}core:graph_run_time_usecs", MetricKind.COUNTER)

DROPPED_REQUESTS = Metric(
    f"{_OURS}dropped_requests_total",
    MetricKind.COUNTER,
    ("model_name", "reason"),
    help="Requests dropped before their model ran, because the client had gone or the deadline had passed.",
)
FULL = "full"
"""The reason of a refusal where as many requests wait as may."""
REFUSED_REQUESTS = Metric(
    f"{_OURS}refused_requests_total",
    MetricKind.COUNTER,
    ("model_name", "reason"),
    help="Requests refused before any work was done: by the model's rate or in_flight limit, "
    "or because the server was full.",
)
ACCESS_REFUSALS = Metric(
    f"{_OURS}access_refusals_total",
    MetricKind.COUNTER,
    ("client", "reason"),
    help="Requests that were not let in: without the right, or beyond a client's limits; "
    "client is empty where nobody knows who called.",
)
DROPPED_LOG_RECORDS = Metric(
    f"{_OURS}dropped_log_records_total",
    MetricKind.COUNTER,
    ("model_name", "reason"),
    help="Records of the request log that could not be written.",
)
LOG_EVENTS = Metric(
    f"{_OURS}log_events_total",
    MetricKind.COUNTER,
    ("model_name", "result"),
    help="Events of request logs that the sink took (sent), refused or did not take in time (failed), or that were not "
    "sent (dropped).",
    hidden_until_used=True,
)
DROPPED_SPANS = Metric(
    f"{_OURS}dropped_spans_total",
    MetricKind.COUNTER,
    ("reason",),
    help="Spans of traces that did not reach the collector.",
)
FETCHED_BYTES = Metric(
    f"{_OURS}fetched_bytes_total", MetricKind.COUNTER, ("model_name",), help="Bytes fetched from remote storage."
)
FETCH_SECONDS = Metric(
    f"{_OURS}fetch_seconds",
    MetricKind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long versions took to come from remote storage.",
)
CACHE_LOOKUPS = Metric(
    f"{_OURS}model_cache_lookups_total",
    MetricKind.COUNTER,
    ("model_name", "result"),
    help="Versions from remote storage that were in the model cache of the node (hit) or had to be fetched (miss).",
)
CACHE_EVICTIONS = Metric(
    f"{_OURS}model_cache_evictions_total",
    MetricKind.COUNTER,
    (),
    help="Versions deleted from the model cache to make room.",
)
LOAD_SECONDS = Metric(
    f"{_OURS}load_seconds",
    MetricKind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long TensorFlow took to load versions.",
)
WARMUP_SECONDS = Metric(
    f"{_OURS}warmup_seconds",
    MetricKind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long the warm-up requests of versions took.",
)

SIGNATURE_REQUESTS = Metric(
    f"{_OURS}signature_requests_total",
    MetricKind.COUNTER,
    (*_VERSION, "signature", "method", "status"),
    help="Requests that a version answered, also those of its warm-up; without a signature, none could be read.",
)
SIGNATURE_SECONDS = Metric(
    f"{_OURS}signature_seconds",
    MetricKind.HISTOGRAM,
    (*_VERSION, "signature"),
    SECONDS,
    help="Time from the arrival of a request at its version to its answer, successful ones only.",
)
QUEUE_SECONDS = Metric(
    f"{_OURS}queue_seconds",
    MetricKind.HISTOGRAM,
    _VERSION,
    SECONDS,
    help="Time that requests waited for a thread; those that need none do not wait and are not in here.",
)
HOOK_SECONDS = Metric(
    f"{_OURS}hook_seconds",
    MetricKind.HISTOGRAM,
    (*_VERSION, "hook"),
    SECONDS,
    help="Time in the hooks of a version, preprocess and postprocess, also of calls that failed there.",
)
INFERENCE_ROWS = Metric(
    f"{_OURS}inference_rows_total",
    MetricKind.COUNTER,
    _VERSION,
    help="Rows of the requests that a version's runs answered; a request without a batch dimension has one.",
)
LAST_INFERENCE = Metric(
    f"{_OURS}last_inference_timestamp_seconds",
    MetricKind.GAUGE,
    _VERSION,
    help="When a replica of a version ran its model last.",
)
QUEUE_LENGTH = Metric(f"{_OURS}queue_length", MetricKind.GAUGE, _VERSION, help="Requests that wait for a thread now.")
RESIDENT_BYTES = Metric(
    f"{_OURS}resident_bytes", MetricKind.GAUGE, _VERSION, help="Resident memory of all replicas of a version."
)
REPLICAS = Metric(f"{_OURS}replicas", MetricKind.GAUGE, _VERSION, help="Replicas of a version that report metrics.")

IN_FLIGHT = Metric(
    f"{_OURS}requests_in_flight",
    MetricKind.GAUGE,
    _VERSION,
    help="Requests that routers have handed on, not answered yet.",
)
FORWARDED_REQUESTS = Metric(
    f"{_OURS}forwarded_requests_total",
    MetricKind.COUNTER,
    ("model_name", "transport"),
    help="Requests handed to versions, over a direct connection or through Ray Serve's handle.",
)
REPEATED_REQUESTS = Metric(
    f"{_OURS}repeated_requests_total",
    MetricKind.COUNTER,
    ("model_name",),
    help="Requests sent once more, because the connection to their replica broke.",
)
LABEL_REQUESTS = Metric(
    f"{_OURS}label_requests_total",
    MetricKind.COUNTER,
    ("model_name", "label"),
    help="Requests that named their version by a label.",
)
SPLIT_REQUESTS = Metric(
    f"{_OURS}split_requests_total",
    MetricKind.COUNTER,
    ("model_name", "version", "arm", "outcome"),
    help="Requests that were divided among versions, by how they ended; lost are tries that were repeated elsewhere.",
    hidden_until_used=True,
)
MIRROR_REQUESTS = Metric(
    f"{_OURS}mirror_requests_total",
    MetricKind.COUNTER,
    (*_VERSION, "result"),
    help="Copies of requests to a mirror, by how the answers compare: identical, within or outside of the tolerance, "
    "structural, failed; dropped ones were not answered.",
    hidden_until_used=True,
)
MIRROR_RELATIVE_L2 = Metric(
    f"{_OURS}mirror_relative_l2",
    MetricKind.HISTOGRAM,
    (*_VERSION, "output"),
    exponential(1e-9, 10, 11),
    help="Relative distance of an output of a mirror to that of the stable version, where they are not equal.",
    hidden_until_used=True,
)
MIRROR_FLIPS = Metric(
    f"{_OURS}mirror_flips_total",
    MetricKind.COUNTER,
    (*_VERSION, "output"),
    help="Rows of an output of a mirror whose largest column is not that of the stable version.",
    hidden_until_used=True,
)
ROUTING_GENERATION = Metric(
    f"{_OURS}routing_generation",
    MetricKind.GAUGE,
    ("router",),
    help="Number of the routing table that a router uses; the same for all routers but for moments.",
)

VERSION_STATE = Metric(
    f"{_OURS}version_state",
    MetricKind.GAUGE,
    (*_VERSION, "state"),
    help="1 for the state that a version is in.",
)
ROLLOUT_STEPS = Metric(
    f"{_OURS}rollout_steps_total",
    MetricKind.COUNTER,
    ("model_name", "step"),
    help="What was done with versions: load, available, unload, delete, load_failed, lost.",
)
ROLLOUT_STATE = Metric(
    f"{_OURS}rollout_state",
    MetricKind.GAUGE,
    ("model_name", "state"),
    help="1 for the state that a model's rollout is in.",
    hidden_until_used=True,
)
ROLLOUT_PAUSED = Metric(
    f"{_OURS}rollout_paused",
    MetricKind.GAUGE,
    ("model_name", "cause"),
    help="1 for the cause for which a rollout is paused, 0 for the others.",
    hidden_until_used=True,
)
ROLLOUT_WEIGHT = Metric(
    f"{_OURS}rollout_weight",
    MetricKind.GAUGE,
    _VERSION,
    help="Share of the requests without version and label that a version gets, from 0 to 1.",
    hidden_until_used=True,
)
ROLLOUT_EVIDENCE = Metric(
    f"{_OURS}rollout_evidence",
    MetricKind.GAUGE,
    ("model_name", "metric"),
    help="Evidence against a canary, as a share of what fails it, on a scale of logarithms: 1 fails.",
    hidden_until_used=True,
)
ROLLOUT_VERDICTS = Metric(
    f"{_OURS}rollout_verdicts_total",
    MetricKind.COUNTER,
    ("model_name", "metric", "verdict"),
    help="Verdicts that metrics came to: pass, fail.",
    hidden_until_used=True,
)
ROLLOUTS = Metric(
    f"{_OURS}rollouts_total",
    MetricKind.COUNTER,
    ("model_name", "outcome"),
    help="Rollouts that were started, promoted, rolled_back, aborted, superseded, withdrawn, or lost stable.",
    hidden_until_used=True,
)
PENDING_LABELS = Metric(
    f"{_OURS}pending_labels", MetricKind.GAUGE, ("model_name",), help="Labels whose version does not answer."
)
STORAGE_PROBLEM = Metric(
    f"{_OURS}storage_problem",
    MetricKind.GAUGE,
    ("model_name",),
    help="1 for a model of which storage lists no version to load.",
)
SERVER_STATE = Metric(
    f"{_OURS}server_state",
    MetricKind.GAUGE,
    ("state",),
    help="1 for the state that the server is in: ready, ready with problems, not ready.",
)
CONFIG_PROBLEMS = Metric(
    f"{_OURS}config_problems",
    MetricKind.GAUGE,
    help="Mistakes in the configuration that was refused last, if it still is.",
)
HOSTED_VERSIONS = Metric(
    f"{_OURS}hosted_versions",
    MetricKind.GAUGE,
    ("node",),
    help="Versions that answer as children of a node's version host.",
    hidden_until_used=True,
)
METRICS_AGE = Metric(
    f"{_OURS}metrics_age_seconds",
    MetricKind.GAUGE,
    help="Age of the metrics on this page; above 0 while the watcher does not answer.",
    hidden_until_used=True,
)

ALL_METRICS: tuple[Metric, ...] = tuple(one for one in tuple(globals().values()) if isinstance(one, Metric))
"""Every metric of this server."""

PAGE_METRICS: tuple[Metric, ...] = tuple(one for one in ALL_METRICS if one is not LAST_INFERENCE)
"""The metrics of the page, which shows sums over all processes; a sum of times would mean nothing."""

BY_NAME: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in ALL_METRICS})
