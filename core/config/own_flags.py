"""The command-line flags that only this server has; `core.config.flag_table` joins them to TensorFlow Serving's."""

# ruff: noqa: FBT003  (a table reads best with its defaults in a column)

from __future__ import annotations

from typing import Final

from core.config.flag import Flag, FlagKind, not_negative
from core.config.model_config import MOST_REPLICAS_PER_NODE

_BOOL, _INT32, _INT64, _FLOAT, _STRING = FlagKind.BOOL, FlagKind.INT32, FlagKind.INT64, FlagKind.FLOAT, FlagKind.STRING


def listed_names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


OUR_FLAGS: Final = (
    Flag(
        "remote_poll_wait_seconds",
        _INT32,
        30,
        "Seconds between two listings of a base path that is a URL; 0 lists it at the start only. Without this flag, "
        "file_system_poll_wait_seconds counts if it is given.",
        "polling.remote_poll_wait_s",
        not_negative,
    ),
    Flag(
        "model_cache_dir",
        _STRING,
        "",
        "Folder on each node for versions from remote storage; by default in the user's cache folder.",
        "model_cache.folder",
    ),
    Flag(
        "model_cache_max_bytes",
        _INT64,
        0,
        "Bytes that the versions in that folder may take; 0 means half of the disk.",
        "model_cache.max_bytes",
    ),
    Flag("model_settings_file", _STRING, "", "YAML file with what models.config lacks.", "source.model_settings_file"),
    Flag(
        "state_dir",
        _STRING,
        "",
        "Folder or URL that outlives the server, where it keeps what is known of each model's rollout: stable, steps, "
        "evidence, rejected versions. Without it, that is lost when everything restarts.",
        "source.state_dir",
    ),
    Flag("relative_path_root", _STRING, "", "Folder that relative base paths are in.", "source.relative_path_root"),
    Flag(
        "op_libraries",
        _STRING,
        "",
        "Libraries of TensorFlow operations for all models: paths or names of installed packages, with commas between.",
        "platforms.op_libraries",
        listed_names,
    ),
    Flag(
        "allow_python_servables",
        _BOOL,
        False,
        "Run Python code from models' folders: versions that are a model.py, and hooks beside SavedModels.",
        "platforms.allow_python",
    ),
    Flag(
        "python_setup_timeout_s",
        _FLOAT,
        600.0,
        "Seconds that the installation of a Python version's requirements.txt may take.",
        "platforms.python_setup_timeout_s",
        not_negative,
    ),
    Flag(
        "enable_session_run",
        _BOOL,
        False,
        "Answer SessionService.SessionRun, which may fetch any tensor of the graph.",
        "front_door.session_run",
    ),
    Flag(
        "enable_model_repository_api",
        _BOOL,
        False,
        "Let clients of the Open Inference Protocol load and unload models, as far as the Admin service lets them.",
        "front_door.model_repository_api",
    ),
    Flag(
        "access_file",
        _STRING,
        "",
        "YAML file that says who may do what, by tokens or client certificates; read again when it changes.",
        "front_door.access_file",
    ),
    Flag(
        "enable_remote_admin",
        _BOOL,
        False,
        "Without access_file: let everyone who reaches the ports load, unload, label and profile, as on this machine.",
        "front_door.remote_admin",
    ),
    Flag(
        "strict_version_labels",
        _BOOL,
        False,
        "Refuse a configuration with a label whose version does not answer yet, as TensorFlow Serving does.",
        "source.strict_version_labels",
    ),
    Flag(
        "rest_api_ssl_config_file",
        _STRING,
        "",
        "SSLConfig text file for REST; may be that of gRPC.",
        "front_door.rest_ssl_config_file",
    ),
    Flag("host", _STRING, "", "Address to listen on; empty means every interface.", "front_door.host"),
    Flag("rest_api_socket_path", _STRING, "", "UNIX socket for REST and metrics.", "front_door.rest_socket_path"),
    Flag(
        "rest_api_max_body_bytes",
        _INT64,
        2**31 - 1,
        "Largest REST request body in bytes.",
        "front_door.rest_max_body_bytes",
    ),
    Flag(
        "drain_timeout_s",
        _FLOAT,
        30.0,
        "Seconds that requests may take to finish when the server stops.",
        "front_door.drain_timeout_s",
        not_negative,
    ),
    Flag(
        "router_replicas",
        _INT32,
        0,
        "Routers that share the ports of their node; more than one use more CPUs, and survive the loss of one. "
        "0 means one below 4 CPUs, two from there on, and from 24 CPUs on one for each eight, up to eight.",
        "cluster.router_replicas",
        lambda count: max(0, count),
    ),
    Flag(
        "max_routers_per_node",
        _INT32,
        0,
        "Routers that may be on one node, so that the loss of a node leaves others; 0 does not limit them.",
        "cluster.max_routers_per_node",
        lambda count: min(max(0, count), MOST_REPLICAS_PER_NODE),
    ),
    Flag(
        "direct_transport",
        _BOOL,
        True,
        "Send requests to model servers over connections of our own; off, over Ray Serve's handles, which is slower.",
        "cluster.direct_transport",
    ),
    Flag(
        "prestarted_workers",
        _INT32,
        1,
        "Idle processes that every node keeps ready, in which the next versions start at once; about 130 MiB each. "
        "0 for none.",
        "cluster.prestarted_workers",
        lambda count: max(0, count),
    ),
    Flag(
        "host_light_versions",
        _BOOL,
        False,
        "Let small SavedModels of local base paths, whose models ask for no resources and name no placement, share one "
        "version host on each node, in which each is a small process, instead of having a Serve deployment each.",
        "cluster.host_light_versions",
    ),
    Flag("request_log_dc", _STRING, "", "Data centre of this server, for request logs.", "request_log.dc"),
    Flag(
        "request_log_task_index",
        _INT32,
        0,
        "Number of this server in its data centre, for request logs.",
        "request_log.task_index",
    ),
    Flag(
        "request_log_metadata_headers",
        _STRING,
        "",
        "Headers of requests that become part of logged events, with commas between.",
        "request_log.metadata_headers",
        lambda text: listed_names(text.lower()),
    ),
    Flag(
        "request_log_max_file_bytes",
        _INT64,
        64 * 1024 * 1024,
        "Bytes from which a file of a request log is finished.",
        "request_log.max_file_bytes",
        lambda count: max(count, 1),
    ),
    Flag(
        "request_log_max_file_age_s",
        _FLOAT,
        300.0,
        "Seconds after which a file of a request log is finished.",
        "request_log.max_file_age_s",
        not_negative,
    ),
    Flag(
        "log_format", _STRING, "text", "Format of log lines: text, json.", "logs.as_json", lambda kind: kind == "json"
    ),
    Flag("log_level", _STRING, "info", "Least serious level in the logs: debug, info, warning or error.", "logs.level"),
    Flag(
        "access_log_sampling_rate",
        _FLOAT,
        0.0,
        "Share of the requests, 0 to 1, that get a line in the router's log.",
        "logs.access_sampling_rate",
    ),
    Flag(
        "tracing_otlp_endpoint",
        _STRING,
        "",
        "URL of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as http://localhost:4318; empty "
        "takes OTEL_EXPORTER_OTLP_ENDPOINT, and traces nothing without it.",
        "tracing.otlp_endpoint",
    ),
    Flag(
        "tracing_sampling_rate",
        _FLOAT,
        -1.0,
        "Share of the requests without a traceparent, 0 to 1, that are traced; below 0 as OTEL_TRACES_SAMPLER says, "
        "all without it.",
        "tracing.sampling_rate",
    ),
    Flag("ray_address", _STRING, "", "Address of a running Ray cluster.", "cluster.ray_address"),
)
"""The flags that only this server has."""
