"""The command-line flags: TensorFlow Serving's 48, under their names, and ours.

No flag of TensorFlow Serving is silently ignored: each is honoured, or accepted with a warning that says why it has no
effect here, or refused with the name of its replacement. `core.config.arguments` reads this table; ours are in
`core.config.own_flags`.
"""

# ruff: noqa: FBT003  (a table reads best with its defaults in a column)

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.config.flag import Flag, FlagKind, Treatment, Value, not_negative
from core.config.own_flags import OUR_FLAGS


def _seconds(micros: int) -> float:
    return max(micros, 0) / 1e6


def _tags(text: str) -> frozenset[str]:
    return frozenset(tag for tag in text.split(",") if tag) or frozenset({"serve"})


def _channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    pairs = (entry.partition("=") for entry in text.split(",") if entry)
    return tuple((name, _number_or_text(value)) for name, _, value in pairs)


def _number_or_text(text: str) -> int | str:
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(2**31))
    return int(text) if plain and -(2**31) <= int(text) < 2**31 else text


def _unused(name: str, kind: FlagKind, default: Value, remark: str) -> Flag:
    return Flag(name, kind, default, f"No effect: {remark}.", treatment=Treatment.WITHOUT_EFFECT, remark=remark)


def _refused(name: str, kind: FlagKind, default: Value, remark: str) -> Flag:
    return Flag(name, kind, default, f"Refused: {remark}.", treatment=Treatment.REFUSED, remark=remark)


_BOOL, _INT32, _INT64, _FLOAT, _STRING = FlagKind.BOOL, FlagKind.INT32, FlagKind.INT64, FlagKind.FLOAT, FlagKind.STRING

_FRONT_DOOR = (
    Flag("port", _INT32, 8500, "TCP port for gRPC; 0 opens none.", "front_door.grpc_port"),
    Flag("grpc_socket_path", _STRING, "", "UNIX socket for gRPC.", "front_door.grpc_socket_path"),
    Flag("rest_api_port", _INT32, 0, "TCP port for REST and metrics; 0 opens none.", "front_door.rest_port"),
    _unused("rest_api_num_threads", _INT32, 0, "the REST port needs no threads of its own"),
    Flag(
        "rest_api_timeout_in_ms",
        _INT32,
        30_000,
        "Milliseconds that a model may work on a REST request; 0 or less sets no limit.",
        "front_door.rest_timeout_ms",
        not_negative,
    ),
    Flag("rest_api_enable_cors_support", _BOOL, False, "Send CORS headers below /v1/ and /v2.", "front_door.rest_cors"),
    _refused("use_alts_credentials", _BOOL, False, "ALTS is not supported; use --ssl_config_file"),
    Flag("ssl_config_file", _STRING, "", "SSLConfig text file for gRPC.", "front_door.ssl_config_file"),
    Flag(
        "grpc_channel_arguments",
        _STRING,
        "",
        "Arguments of the gRPC server: name=value,name=value.",
        "front_door.grpc_channel_arguments",
        _channel_arguments,
    ),
    Flag(
        "grpc_max_threads",
        _INT32,
        0,
        "gRPC calls in work at a time, more are refused; 0 sets no limit.",
        "front_door.grpc_max_concurrent_calls",
        not_negative,
    ),
    _unused("enable_grpc_healthcheck_service", _BOOL, False, "the health service is always there"),
    Flag(
        "monitoring_config_file",
        _STRING,
        "",
        "MonitoringConfig text file: switch and path of the page with metrics.",
        "monitoring.config_file",
    ),
    Flag("enable_profiler", _BOOL, True, "Answer tensorflow.ProfilerService on the gRPC port.", "front_door.profiler"),
)

_MODELS = (
    Flag("model_config_file", _STRING, "", "ModelServerConfig text file.", "source.model_config_file"),
    Flag(
        "model_config_file_poll_wait_seconds",
        _INT32,
        0,
        "Seconds between two readings of the files that list the models; 0 or less reads them once.",
        "source.model_config_file_poll_wait_s",
        not_negative,
    ),
    Flag("model_name", _STRING, "default", "Name of the model at --model_base_path.", "source.model_name"),
    Flag("model_base_path", _STRING, "", "Base path of the only model.", "source.model_base_path"),
    Flag(
        "file_system_poll_wait_seconds",
        _INT32,
        1,
        "Seconds between two listings of storage; 0 lists it at the start only. See also remote_poll_wait_seconds.",
        "polling.file_system_poll_wait_s",
        not_negative,
    ),
    _unused("flush_filesystem_caches", _BOOL, True, "model servers keep no caches of files"),
    Flag(
        "allow_version_labels_for_unavailable_models",
        _BOOL,
        False,
        "With --strict_version_labels: let a new label name a version that does not answer yet.",
        "source.allow_labels_for_unavailable",
    ),
    _refused("platform_config_file", _STRING, "", "platforms are fixed; use the other flags and --model_settings_file"),
)

_LOADING = (
    Flag(
        "num_load_threads",
        _INT32,
        0,
        "Versions that may load at the same time; 0 means as many as the cluster has CPUs.",
        "loading.num_load_threads",
        not_negative,
    ),
    _unused("num_unload_threads", _INT32, 0, "versions are unloaded in processes of their own"),
    Flag(
        "max_num_load_retries",
        _INT32,
        5,
        "Further attempts after a failed load.",
        "loading.max_num_load_retries",
        not_negative,
    ),
    Flag(
        "load_retry_interval_micros",
        _INT64,
        60_000_000,
        "Microseconds between two attempts to load.",
        "loading.load_retry_interval_s",
        _seconds,
    ),
    Flag("saved_model_tags", _STRING, "serve", "Tags of the meta graph to load.", "loading.saved_model_tags", _tags),
    Flag("enable_model_warmup", _BOOL, True, "Replay a version's warm-up requests at load.", "loading.warm_up"),
    Flag(
        "num_request_iterations_for_warmup",
        _INT32,
        0,
        "How often each warm-up request is replayed; 0 or less means once.",
        "loading.warm_up_iterations",
        lambda count: max(count, 1),
    ),
    _unused("remove_unused_fields_from_bundle_metagraph", _BOOL, True, "graphs are not kept in Python"),
    Flag(
        "prefer_tflite_model",
        _BOOL,
        False,
        "Serve model.tflite instead of the SavedModel beside it.",
        "platforms.prefer_tflite",
    ),
    Flag(
        "num_tflite_pools",
        _INT32,
        0,
        "Interpreters of a TensorFlow Lite model; 0 or less takes one for each CPU.",
        "platforms.tflite_pools",
        not_negative,
    ),
    Flag(
        "num_tflite_interpreters_per_pool",
        _INT32,
        1,
        "Interpreters that share the rows of a large request; 1 or less does not split.",
        "platforms.tflite_interpreters_per_pool",
        lambda count: max(count, 1),
    ),
)

_ZERO_THREADS = "0 follows num_cpus of the model and gives light models one thread"

_SESSION = (
    Flag("tensorflow_session_parallelism", _INT64, 0, f"Threads in and between operations; {_ZERO_THREADS}."),
    Flag("tensorflow_intra_op_parallelism", _INT64, 0, f"Threads in one operation; {_ZERO_THREADS}."),
    Flag("tensorflow_inter_op_parallelism", _INT64, 0, f"Operations at a time; {_ZERO_THREADS}."),
    Flag(
        "tensorflow_session_config_file",
        _STRING,
        "",
        "tensorflow.ConfigProto text file; flags replace its thread counts and GPU share.",
        "session.session_config_file",
    ),
    Flag(
        "per_process_gpu_memory_fraction",
        _FLOAT,
        0.0,
        "Share of the GPU's memory for each model server; 0 lets TensorFlow decide.",
        "session.gpu_memory_fraction",
    ),
    Flag(
        "mixed_precision",
        _STRING,
        "",
        "bfloat16 lets TensorFlow use bfloat16 on CPUs.",
        "session.bfloat16",
        lambda text: text == "bfloat16",
    ),
    _unused("xla_cpu_compilation_enabled", _BOOL, False, "models that ask for XLA always get it"),
    _unused("xla_gpu_compilation_enabled", _BOOL, False, "models that ask for XLA always get it"),
    _refused("thread_pool_factory_config_file", _STRING, "", "use the --tensorflow_*_parallelism flags"),
    _unused("skip_initialize_tpu", _BOOL, False, "TPUs are not used"),
)

_BATCHING = (
    Flag("enable_batching", _BOOL, False, "Merge requests of one version.", "batching.enabled"),
    Flag("batching_parameters_file", _STRING, "", "BatchingParameters text file.", "batching.parameters_file"),
    Flag(
        "enable_per_model_batching_parameters",
        _BOOL,
        False,
        "Take them from batching_params.pbtxt in each version directory.",
        "batching.per_model",
    ),
)

_ANSWERS = (
    Flag(
        "enable_signature_method_name_check",
        _BOOL,
        False,
        "Refuse classify and regress on signatures of another method.",
        "answers.check_method_name",
    ),
    Flag(
        "enable_serialization_as_tensor_content",
        _BOOL,
        False,
        "Send tensors of gRPC predict answers in tensor_content.",
        "answers.as_tensor_content",
    ),
    Flag("version", _BOOL, False, "Print versions and end."),
)

TENSORFLOW_SERVING_FLAGS = (*_FRONT_DOOR, *_MODELS, *_LOADING, *_SESSION, *_BATCHING, *_ANSWERS)
"""The flags of tensorflow_model_server, by topic."""

FLAGS: Mapping[str, Flag] = MappingProxyType({flag.name: flag for flag in (*TENSORFLOW_SERVING_FLAGS, *OUR_FLAGS)})
"""All flags by name."""
