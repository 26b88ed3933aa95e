"""The metrics of this server: TensorFlow Serving's names, labels and buckets (section Monitoring), and ours.

TensorFlow Serving's begin with `:tensorflow:serving:` and measure in microseconds. Ours begin with
`ray_model_server_`, end in their unit, and measure in seconds, as Prometheus advises.
"""

from __future__ import annotations

from core.metrics import Kind, Metric, exponential

_SERVING = ":tensorflow:serving:"
_OURS = "ray_model_server_"

LATENCY_MICROS = exponential(10, 1.8, 33)
QUEUE_MICROS = exponential(100, 1.2, 52)
SIZES = exponential(1, 2, 14)
EXAMPLES = exponential(1, 2, 15)
SECONDS = exponential(0.0001, 2, 22)

REQUEST_COUNT = Metric(f"{_SERVING}request_count", Kind.COUNTER, ("model_name", "status"))
REQUEST_LATENCY = Metric(
    f"{_SERVING}request_latency", Kind.HISTOGRAM, ("model_name", "API", "entrypoint"), LATENCY_MICROS
)
RUNTIME_LATENCY = Metric(f"{_SERVING}runtime_latency", Kind.HISTOGRAM, ("model_name", "API", "runtime"), LATENCY_MICROS)
REQUEST_EXAMPLE_COUNTS = Metric(f"{_SERVING}request_example_counts", Kind.HISTOGRAM, ("model",), EXAMPLES)
REQUEST_EXAMPLE_COUNT_TOTAL = Metric(f"{_SERVING}request_example_count_total", Kind.COUNTER, ("model",))
REQUEST_LOG_COUNT = Metric(f"{_SERVING}request_log_count", Kind.COUNTER, ("model_name", "status_code"))
WARMUP_LATENCY = Metric(f"{_SERVING}model_warmup_latency", Kind.HISTOGRAM, ("model_path", "status"), LATENCY_MICROS)
WARMUP_RECORDS_READ = Metric(f"{_SERVING}model_warmup_records_read", Kind.COUNTER, ("model_path", "status"))
BATCH_QUEUING_LATENCY = Metric(
    f"{_SERVING}batching_session:queuing_latency", Kind.HISTOGRAM, ("thread_pool_name",), QUEUE_MICROS
)
BATCH_RUN_COUNT = Metric(f"{_SERVING}batching_session:wrapped_run_count", Kind.COUNTER)
BATCH_PADDING_SIZE = Metric(
    f"{_SERVING}batching_session:padding_size", Kind.HISTOGRAM, ("execution_batch_size",), SIZES
)
BATCH_INPUT_SIZE = Metric(f"{_SERVING}batching_session:input_batch_size", Kind.HISTOGRAM, (), SIZES)
BATCH_PROCESSED_SIZE = Metric(f"{_SERVING}batching_session:processed_batch_size", Kind.HISTOGRAM, (), SIZES)

DROPPED_REQUESTS = Metric(
    f"{_OURS}dropped_requests_total",
    Kind.COUNTER,
    ("model_name", "reason"),
    help="Requests that were given up before their work began: their caller had gone or their time was up.",
)
DROPPED_LOG_RECORDS = Metric(
    f"{_OURS}dropped_log_records_total",
    Kind.COUNTER,
    ("model_name", "reason"),
    help="Records of the request log that could not be written.",
)
FETCHED_BYTES = Metric(
    f"{_OURS}fetched_bytes_total", Kind.COUNTER, ("model_name",), help="Bytes fetched from remote storage."
)
FETCH_SECONDS = Metric(
    f"{_OURS}fetch_seconds",
    Kind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long versions took to come from remote storage.",
)
LOAD_SECONDS = Metric(
    f"{_OURS}load_seconds",
    Kind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long TensorFlow took to load versions.",
)
WARMUP_SECONDS = Metric(
    f"{_OURS}warmup_seconds",
    Kind.HISTOGRAM,
    ("model_name",),
    exponential(0.01, 2, 20),
    help="How long the warm-up requests of versions took.",
)
