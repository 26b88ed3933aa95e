"""Settings of the whole server, grouped by topic; `core.config.arguments` fills them.

Files are named here and read by the shells. Every field has a default, a unit in its name, and a sentence for the
operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ChannelArgument = tuple[str, int | str]
"""Name and value of one gRPC channel argument."""


@dataclass(frozen=True, slots=True)
class FrontDoorSettings:
    """Ports and sockets that clients connect to, and the limits on them."""

    host: str = ""
    """Address to listen on; empty means every interface."""

    grpc_port: int = 8500
    """TCP port for gRPC; 0 opens none."""

    grpc_socket_path: str = ""
    """UNIX socket for gRPC; empty opens none."""

    rest_port: int = 0
    """TCP port for REST and metrics; 0 opens none."""

    rest_socket_path: str = ""
    """UNIX socket for REST and metrics; empty opens none."""

    rest_timeout_ms: int = 30_000
    """Milliseconds that a model may work on a REST request; 0 sets no limit."""

    rest_cors: bool = False
    """Send CORS headers with every answer below `/v1/`."""

    rest_max_body_bytes: int = 2**31 - 1
    """Largest REST request body in bytes."""

    grpc_channel_arguments: tuple[ChannelArgument, ...] = ()
    """Arguments of the gRPC server, as gRPC names them."""

    grpc_max_concurrent_calls: int = 0
    """gRPC calls in work at a time; more are refused as RESOURCE_EXHAUSTED; 0 sets no limit."""

    session_run: bool = False
    """Answer `SessionService.SessionRun`."""

    model_repository_api: bool = False
    """Let clients of the Open Inference Protocol load and unload models."""

    access_file: str = ""
    """YAML file that says who may do what; without it, everyone may do what TensorFlow Serving offers."""

    remote_admin: bool = False
    """Without an access file: answer our own changes on all addresses, and not on this machine's own alone."""
    profiler: bool = True
    """Answer `tensorflow.ProfilerService`."""

    ssl_config_file: str = ""
    """SSLConfig text file for gRPC; empty means no TLS."""

    rest_ssl_config_file: str = ""
    """SSLConfig text file for REST, which may be that of gRPC; empty means no TLS."""

    drain_timeout_s: float = 30.0
    """Seconds that requests may take to finish when the server stops."""

    held_ports: str = ""
    """UNIX socket of the process that holds the ports of a lone router; empty when none does."""


@dataclass(frozen=True, slots=True)
class ModelSourceSettings:
    """Where the list of models comes from."""

    model_config_file: str = ""
    """ModelServerConfig text file; when set, `model_name` and `model_base_path` have no effect."""

    model_config_file_poll_wait_s: int = 0
    """Seconds between two readings of the files that list the models; 0 reads them once."""

    model_settings_file: str = ""
    """YAML file with settings that ModelServerConfig does not have."""

    model_name: str = "default"
    """Name of the one model given by `model_base_path`."""

    model_base_path: str = ""
    """Base path of the one model when there is no file."""

    relative_path_root: str = ""
    """Folder or URI that relative base paths are joined to; empty refuses them."""

    state_dir: str = ""
    """Folder or URL that outlives the server, for what is known of rollouts; empty keeps it in the routers alone."""

    strict_version_labels: bool = False
    """Refuse a configuration with a label whose version does not answer yet, as TensorFlow Serving does."""

    allow_labels_for_unavailable: bool = False
    """With strict labels: let a new label name a version that does not answer yet."""


@dataclass(frozen=True, slots=True)
class PollingSettings:
    """How often storage is listed for new versions."""

    file_system_poll_wait_s: int = 1
    """Seconds from the start of one listing of local storage to the next; 0 lists it at the start only."""

    remote_poll_wait_s: int = 30
    """The same for base paths that are URLs, where every listing costs requests."""


@dataclass(frozen=True, slots=True)
class ModelCacheSettings:
    """Where each node keeps the versions that it fetched from remote storage."""

    folder: str = ""
    """Folder on each node; empty takes one in the cache folder of the user who runs the server."""

    max_bytes: int = 0
    """Bytes that all versions there may take; 0 means half of the disk."""


@dataclass(frozen=True, slots=True)
class LoadingSettings:
    """How versions are loaded."""

    max_num_load_retries: int = 5
    """Further attempts after a failed load."""

    load_retry_interval_s: float = 60.0
    """Seconds between two attempts."""

    num_load_threads: int = 0
    """Versions that may load at the same time; 0 sets no limit."""

    saved_model_tags: frozenset[str] = frozenset({"serve"})
    """Tags that the meta graph to load carries, exactly these."""

    warm_up: bool = True
    """Replay the warm-up requests in a version's folder before it becomes available."""

    warm_up_iterations: int = 1
    """How often each of them is replayed."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """TensorFlow's session in each model server."""

    intra_op_threads: int = 0
    """Threads within one operation; 0 lets TensorFlow decide."""

    inter_op_threads: int = 0
    """Operations at the same time; 0 lets TensorFlow decide."""

    gpu_memory_fraction: float = 0.0
    """Share of the GPU's memory that TensorFlow takes; 0 lets TensorFlow decide."""

    bfloat16: bool = False
    """Let TensorFlow turn float operations into bfloat16 on CPUs that have it."""

    session_config_file: str = ""
    """tensorflow.ConfigProto text file; its thread counts and GPU share are replaced by the fields above."""


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """What models are made of, and what may run beside them."""

    op_libraries: tuple[str, ...] = ()
    """Libraries of TensorFlow operations for all models: paths, or names of installed packages."""

    prefer_tflite: bool = False
    """Of a version that has both, serve the TensorFlow Lite model and not the SavedModel."""

    tflite_pools: int = 0
    """Interpreters of a TensorFlow Lite model; 0 takes one for each CPU that the replica may use."""

    tflite_interpreters_per_pool: int = 1
    """More than 1 lets so many interpreters share the rows of one large request."""

    allow_python: bool = False
    """Run Python code from models' folders: versions that are a `model.py`, and hooks beside SavedModels."""

    python_setup_timeout_s: float = 600.0
    """Seconds that the installation of a version's `requirements.txt` may take."""


@dataclass(frozen=True, slots=True)
class BatchingSettings:
    """Merging of requests."""

    enabled: bool = False
    """Merge requests of one version."""

    parameters_file: str = ""
    """BatchingParameters text file; empty takes all defaults."""

    per_model: bool = False
    """Take the parameters from `batching_params.pbtxt` in each version directory; without it, do not batch."""


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Small choices about requests and answers."""

    check_method_name: bool = False
    """Refuse classify and regress on signatures whose method name is another."""

    as_tensor_content: bool = False
    """Send tensors of gRPC predict answers as raw bytes in `tensor_content`."""


@dataclass(frozen=True, slots=True)
class RequestLogSettings:
    """Settings of all request logs; each model has settings of which requests are logged, and to which files."""

    dc: str = ""
    """Data centre of this server, for `per_task_sampling_configs` and in the records."""

    task_index: int = 0
    """Number of this server in its data centre, for `per_task_sampling_configs`."""

    max_file_bytes: int = 64 * 1024 * 1024
    """Size in bytes from which a file is finished."""

    max_file_age_s: float = 300.0
    """Seconds after which a file is finished."""

    metadata_headers: tuple[str, ...] = ()
    """Headers of requests, in lower case, that become part of logged events."""


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """Monitoring of the server."""

    config_file: str = ""
    """MonitoringConfig text file; without it the page with metrics is at its usual path."""

    taken: MonitoringConfig | None = None
    """What the file said at the start: a router that starts later must not follow another content."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log of each process."""

    as_json: bool = False
    """Write each line as a JSON object."""

    level: str = "info"
    """Least serious level that is written: debug, info, warning or error."""

    access_sampling_rate: float = 0.0
    """Share of the requests that get a line in the router's log; 0 writes none."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Traces of requests; nothing is traced without an endpoint."""

    otlp_endpoint: str = ""
    """URL of a collector that takes OTLP over HTTP; empty leaves it to OTEL_EXPORTER_OTLP_ENDPOINT."""

    sampling_rate: float = -1.0
    """Share of the requests without a parent that are recorded; below 0 leaves it to OTEL_TRACES_SAMPLER."""

    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """OpenTelemetry's variables where the server was started; may hold secrets."""


CPUS_FOR_TWO_ROUTERS: Final = 4
CPUS_A_ROUTER: Final = 8
MOST_ROUTERS: Final = 8


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The Ray cluster."""

    router_replicas: int = 0
    """Routers; those of one node share its ports, so that one may fail; 0 leaves it to the number of CPUs."""

    max_routers_per_node: int = 0
    """Routers that may be on one node, so that each node has a port of its own; 0 does not limit them."""

    direct_transport: bool = True
    """Send requests straight to model servers; without it, through Serve's handles."""

    prestarted_workers: int = 1
    """Idle worker processes that every node keeps ready, in which the next versions start at once; 0 for none."""

    host_light_versions: bool = False
    """Host light versions whose models name no placement and ask for nothing that needs their own deployment."""

    ray_address: str = ""
    """Address of a running cluster; empty uses the one this node belongs to, or starts one here."""

    def routers(self, cpus: int) -> int:
        """Return the number of routers on so many CPUs: two where models keep enough, then one for each eight."""
        survivors = 2 if cpus >= CPUS_FOR_TWO_ROUTERS else 1
        return self.router_replicas or max(survivors, min(cpus // CPUS_A_ROUTER, MOST_ROUTERS))


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All settings of the server."""

    front_door: FrontDoorSettings = field(default_factory=FrontDoorSettings)
    source: ModelSourceSettings = field(default_factory=ModelSourceSettings)
    polling: PollingSettings = field(default_factory=PollingSettings)
    model_cache: ModelCacheSettings = field(default_factory=ModelCacheSettings)
    loading: LoadingSettings = field(default_factory=LoadingSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    platforms: PlatformSettings = field(default_factory=PlatformSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    request_log: RequestLogSettings = field(default_factory=RequestLogSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


@dataclass(frozen=True, slots=True)
class MonitoringConfig:
    """The page with metrics for Prometheus."""

    prometheus_enabled: bool = True
    """Serve the page on the REST port."""

    prometheus_path: str = "/monitoring/prometheus/metrics"
    """Path of the page."""
