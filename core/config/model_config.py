"""Configuration values of models, which the parsers of text, YAML and reload requests all produce.

Parsers validate these values; they are not validated again. Every field has a default, a unit in its name, and a
sentence for the operator. Mappings are plain dicts, never modified, because these values travel between processes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from core.config.extensions import ANY, BUILT_IN, CLOUD_EVENTS, LOG_FORMATS, Extensions, PlatformKind
from core.config.version_policy import Latest, VersionPolicy
from core.delivery.plan import NO_DELIVERY, DeliverySettings
from core.events.settings import DEFAULT_EVENTS, EventSettings, sink_problem

_ABSOLUTE: Final = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*://", re.ASCII)


class Rollout(enum.Enum):
    """In which order a new version is loaded and its predecessor unloaded."""

    AVAILABILITY_PRESERVING = "availability_preserving"
    RESOURCE_PRESERVING = "resource_preserving"


class Placement(enum.Enum):
    """Where the process of a version comes from."""

    OWN = "own"
    """A Serve deployment of its own."""

    HOSTED = "hosted"
    """A child of its node's version host: a tenth of the memory, no resources of its own."""


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How Ray Serve changes the number of replicas of each version."""

    min_replicas: int = 1
    """Fewest replicas; with 0 an unused version has none until the next request."""

    max_replicas: int = 1
    """Most replicas."""

    initial_replicas: int | None = None
    """Replicas to start with; None starts with the fewest."""

    target_ongoing_requests: float = 2.0
    """Requests in work per replica that Serve tries to keep."""

    upscale_delay_s: float = 2.0
    """Seconds that the load must stay high before replicas are added."""

    downscale_delay_s: float = 120.0
    """Seconds that the load must stay low before replicas are removed."""

    downscale_to_zero_delay_s: float | None = None
    """Seconds without load before the last replica is removed; None uses `downscale_delay_s`."""

    metrics_interval_s: float = 1.0
    """Seconds between two load reports of a replica."""

    look_back_period_s: float = 5.0
    """Seconds over which the load is averaged."""


MOST_REPLICAS_PER_NODE = 100
"""The highest limit that Serve knows."""


@dataclass(frozen=True, slots=True)
class ModelResources:
    """How each version of a model is placed, scaled, rolled out and stopped, and how much the model takes in."""

    num_replicas: int = 1
    """Replicas of each version; not used with autoscaling."""

    max_replicas_per_node: int = 0
    """Replicas of one version that may be on the same node, so that its loss leaves others; 0 does not limit them."""

    num_cpus: float = 0.0
    """CPUs that Ray reserves for each replica; 0 reserves none."""

    num_gpus: float | None = None
    """GPUs, or a share of one, that Ray reserves for each replica; 0 hides them, None reserves none and hides none."""

    memory_bytes: int = 0
    """Memory in bytes that Ray reserves for each replica; 0 reserves none."""

    accelerator_type: str = ""
    """Only nodes with this accelerator, in Ray's spelling (`H100`); empty means any node."""

    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom Ray resources that each replica reserves."""

    autoscaling: Autoscaling | None = None
    """Bounds and speed of autoscaling; None keeps `num_replicas`."""

    placement: Placement | None = None
    """Where each version's process comes from; None leaves it to the flag `host_light_versions`."""

    rollout: Rollout = Rollout.AVAILABILITY_PRESERVING
    """Load the successor first (default), or unload first where there is no room for two versions."""

    drain_timeout_s: float = 30.0
    """Seconds that a version which is taken out of service may still work on its requests."""

    marker_file: str = ""
    """File name that a version directory must contain before it counts as complete; empty requires none."""

    max_ongoing_requests: int = 100
    """Requests that one replica works on at a time; more wait in the router."""

    max_queued_requests: int = -1
    """Requests that may wait at each replica for a thread, and in each router for a replica; -1 sets no number."""

    max_requests_per_second: float = 0.0
    """Requests a second that all routers together let in for the model; 0 does not limit them."""

    max_in_flight: int = 0
    """Requests in work at a time that all routers together let in for the model; 0 does not limit them."""

    env_vars: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the replicas' processes; setting any makes a start some seconds slower."""

    @property
    def of_an_own_deployment(self) -> tuple[str, ...]:
        """Names of the settings in use that only a Serve deployment of its own can give a version."""
        used = {
            "num_replicas": self.num_replicas > 1,
            "num_cpus": self.num_cpus > 0,
            "num_gpus": bool(self.num_gpus),
            "memory_bytes": self.memory_bytes > 0,
            "accelerator_type": bool(self.accelerator_type),
            "resources": bool(self.resources),
            "autoscaling": self.autoscaling is not None,
            "env_vars": bool(self.env_vars),
        }
        return tuple(name for name, is_used in used.items() if is_used)


@dataclass(frozen=True, slots=True)
class TaskSampling:
    """A sampling rate for some of the servers only."""

    dc: str = ""
    """Data centre of the server; empty means any."""

    task_index: int | None = None
    """Index of the server; None means any."""

    sampling_rate: float = 0.0
    """Share of requests to log, 0 to 1."""


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """Which requests of a model are logged, and to which files or sink."""

    collector: str = ""
    """Kind of log: `tf_record` (also when empty), `json_lines`, `cloudevents`, or the name of a registered one."""

    filename_prefix: str = ""
    """Beginning of the names of the log files, with their folder or URI; of `cloudevents`, the URL of the sink."""

    sampling_rate: float = 0.0
    """Share of requests to log, 0 to 1."""

    attributes: int = 0
    """Bits of the request's origin (1) and criticality (2) to be logged with it."""

    per_task: tuple[TaskSampling, ...] = ()
    """Exceptions from `sampling_rate`; the first that fits the server counts."""

    events: EventSettings = DEFAULT_EVENTS
    """How `cloudevents` sends; the other collectors do not look at it."""


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How requests of one version are merged (TensorFlow Serving, BatchingParameters)."""

    max_batch_size: int = 1000
    """Most rows of a batch; with splitting, most rows of one request."""

    batch_timeout_micros: int = 0
    """Microseconds that a batch waits to become full, from its first request on; longer while no thread is free."""

    max_enqueued_batches: int = 10
    """Batches that may wait for the same tensors; beyond that, requests are refused as UNAVAILABLE."""

    num_batch_threads: int | None = None
    """Batches that run at the same time; None means one for each CPU that the replica may use."""

    thread_pool_name: str = "batch_threads"
    """Name of the threads that run batches."""

    allowed_batch_sizes: tuple[int, ...] = ()
    """Sizes that batches are padded up to, increasing; empty pads nothing."""

    pad_variable_length_inputs: bool = False
    """Pad inner dimensions so that requests of different shapes can be merged."""

    enable_large_batch_splitting: bool = False
    """Cut a large request into several batches."""

    max_execution_batch_size: int | None = None
    """With splitting, most rows of a batch; None means `max_batch_size`."""

    def on_threads_of(self, server: BatchingParameters | None) -> BatchingParameters:
        """Return these parameters with the server's threads, because a version's own file cannot set them."""
        if server is None:
            return self
        return replace(self, num_batch_threads=server.num_batch_threads, thread_pool_name=server.thread_pool_name)

    def requests_at_a_time(self, cpus: int) -> int:
        """Return how many requests of one row run and wait when a queue is full."""
        threads = self.num_batch_threads or cpus
        return self.execution_batch_size * (threads + max(1, self.max_enqueued_batches))

    @property
    def execution_batch_size(self) -> int:
        """Most rows of a batch that is run."""
        if not self.enable_large_batch_splitting or self.max_execution_batch_size is None:
            return self.max_batch_size
        return self.max_execution_batch_size


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: where its versions are stored, which of them are served, and how."""

    name: str
    """Name in requests; unique."""

    base_path: str
    """Folder or URI that holds one directory per version."""

    policy: VersionPolicy = field(default_factory=Latest)
    """Which versions are served; by default the latest."""

    labels: Mapping[str, int] = field(default_factory=dict)
    """Names for versions; a label answers as soon as its version does."""

    resources: ModelResources = field(default_factory=ModelResources)
    """Placement, scaling, rollout and stop of each version."""

    logging: tuple[LoggingConfig, ...] = ()
    """Request logs, each with a sample of its own; none logs no requests."""

    batching: BatchingParameters | None = None
    """Batching of this model alone; None leaves it to the server's settings."""

    platform: PlatformKind = ANY
    """What its versions are; by default whatever their files show."""

    op_libraries: tuple[str, ...] = ()
    """Libraries of TensorFlow operations: paths, or names of installed packages; besides those of the server."""

    hooks: str = ""
    """Class of what runs before and after the model, as `module:Class`; empty takes that in a version's folder."""

    version_subpath: str = ""
    """Folder in each version's directory that holds the model, as in a registry's artifact; empty is that directory."""

    delivery: DeliverySettings = NO_DELIVERY
    """How requests are divided among versions, and how a new version earns its traffic."""


def subpath_problem(subpath: str) -> str:
    """Return why a text is not the path of a folder inside a version's directory; empty if it is one.

    It must be the one spelling of that path, because stores compare names letter by letter.
    """
    if subpath.startswith("/") or "://" in subpath:
        return f"must be relative to each version's folder; was {subpath!r}"
    if not subpath or any(part in {"", ".", ".."} for part in subpath.split("/")):
        return f"must be the names of folders with / between them, such as data/model; was {subpath!r}"
    if not subpath.isprintable():
        return f"must not hold control characters; was {subpath!r}"
    return ""


def collector_problems(
    kind: str, filename_prefix: str, *, logs: bool, known: Extensions = BUILT_IN
) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of each mistake; a log that samples no requests needs no destination.

    What `filename_prefix` means to a registered collector is its own affair.
    """
    is_known = kind in known.log_collectors
    if not is_known and not known.is_open:
        yield "type", f"Cannot find LogCollector::Factory for type: {kind}{known.reason('log_collectors', kind)}"
    if logs and kind == CLOUD_EVENTS:
        problem = sink_problem(filename_prefix)
        if problem:
            yield "filename_prefix", problem
    is_file = kind in LOG_FORMATS or not (is_known or known.is_open)
    if logs and is_file and not _ABSOLUTE.match(filename_prefix):
        yield "filename_prefix", f"must be an absolute path or a URI; was {filename_prefix!r}"
