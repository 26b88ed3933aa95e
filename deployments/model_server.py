"""ModelServer: one version of one model in its own Serve deployment, own process, own share of the node.

The constructor loads; a version that cannot be loaded raises, and its error text reaches the watcher through Serve's
status. Calls come over the direct transport or through Serve's handle; both end in the same `Execution`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ray
from ray import serve

from core.config import BatchingParameters, ModelConfig
from core.errors import Code, ServingError
from core.load_report import LoadFailed
from core.parameter_files import batching_parameters
from core.servable import ServableId
from core.server_settings import ServerSettings
from core.transport import Answer, Call, Endpoint, Method
from deployments.batched_execution import BatchedExecution
from deployments.direct_server import DirectServer
from deployments.event_loop import LoopThread
from deployments.execution import Execution
from deployments.process_logs import configure as configure_logs
from deployments.saved_model import LoadedModel, load

log = logging.getLogger(__name__)

DEPLOYMENT = "ModelServer"
PER_MODEL_PARAMETERS = "batching_params.pbtxt"


@dataclass(frozen=True, slots=True)
class ServableSpec:
    """What a replica needs to know to become a version."""

    servable: ServableId
    path: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    config: ModelConfig | None = None
    batching: BatchingParameters | None = None
    session_config: bytes = b""


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica tells about itself."""

    servable: ServableId
    replica: str
    pid: int
    load_s: float
    resident_bytes: int
    in_flight: int
    signatures: tuple[str, ...]


class ModelServer:
    """Loads one version and answers its calls."""

    def __init__(self, spec: ServableSpec) -> None:
        self._spec = spec
        self._replica = serve.get_replica_context().replica_id.unique_id
        configure_logs(spec.settings.logs, "model", spec.servable.name, str(spec.servable.version), self._replica)
        began = time.monotonic()
        self._loaded = _load(spec)
        self._load_s = time.monotonic() - began
        self._execution = _execution(self._loaded, spec)
        self._loop = LoopThread("direct-transport")
        self._endpoint = self._open_direct_transport()
        gc.collect()
        gc.freeze()
        log.info(
            "version_loaded model=%s version=%d load_s=%.3f", spec.servable.name, spec.servable.version, self._load_s
        )

    def _open_direct_transport(self) -> Endpoint:
        token = secrets.token_bytes(16)
        host = ray.util.get_node_ip_address()
        self._direct = DirectServer(self._execution, token)
        port, has_loopback = self._loop.run(self._direct.open(host)).result()
        node = ray.get_runtime_context().get_node_id()
        return Endpoint(host, port, token, self._replica, node, has_loopback)

    async def endpoint(self) -> Endpoint | None:
        """Tell where the direct transport listens; called by every router through a broadcast.

        None for a version that Serve scales: Serve counts only what comes through its handles.
        """
        config = self._spec.config
        is_scaled = config is not None and config.resources.autoscaling is not None
        return None if is_scaled else self._endpoint

    async def call(self, method: int, body: bytes, timeout_s: float | None) -> tuple[int, bytes]:
        """Answer a call that came through a Serve handle."""
        work = self._execution.call(Call(Method(method), body, timeout_s))
        answer: Answer = await asyncio.wrap_future(self._loop.run(work))
        return int(answer.code), bytes(answer.body)

    async def report(self) -> ReplicaReport:
        """Tell what this replica is and needs."""
        return ReplicaReport(
            servable=self._spec.servable,
            replica=self._replica,
            pid=os.getpid(),
            load_s=self._load_s,
            resident_bytes=resident_bytes(),
            in_flight=self._execution.in_flight,
            signatures=tuple(sorted(self._loaded.served.signatures)),
        )

    async def check_health(self) -> None:
        """Fail when the direct transport's loop does not turn any more; Serve then replaces the replica."""
        await self._loop.ping(timeout_s=10.0)

    async def __del__(self) -> None:
        """Say good-bye to the routers, finish what was begun, free the model."""
        direct = getattr(self, "_direct", None)
        if direct is None:
            return
        drain_s = self._spec.config.resources.drain_timeout_s if self._spec.config is not None else 30.0
        await asyncio.wrap_future(self._loop.run(direct.drain(drain_s)))
        self._execution.close()
        self._loop.stop()


def _load(spec: ServableSpec) -> LoadedModel:
    with _load_failures():
        return load(
            spec.path,
            tags=spec.settings.loading.saved_model_tags,
            name=spec.servable.name,
            version=spec.servable.version,
            session_config=spec.session_config,
        )


@contextmanager
def _load_failures() -> Iterator[None]:
    """Whatever goes wrong becomes a LoadFailed, whose text survives Serve's status."""
    try:
        yield
    except ServingError as error:
        raise LoadFailed(error.code, str(error)) from error
    except Exception as error:
        raise LoadFailed(Code.UNKNOWN, f"{type(error).__name__}: {error}") from error


def _execution(loaded: LoadedModel, spec: ServableSpec) -> Execution | BatchedExecution:
    """Choose how calls are worked on (flags `enable_batching`, `enable_per_model_batching_parameters`)."""
    parameters = _batching(spec)
    if parameters is None:
        return Execution(loaded, 2 * _cpus(spec), spec.settings.answers)
    return BatchedExecution(loaded, parameters, spec.settings.answers, threads=_cpus(spec))


def _batching(spec: ServableSpec) -> BatchingParameters | None:
    """Choose the parameters: the model's own, or those beside the version where they are asked for, or the server's."""
    settings = spec.settings.batching
    is_own = spec.config is not None and spec.config.batching is not None
    if is_own or not (settings.enabled and settings.per_model):
        return spec.batching
    beside = _parameters_beside(Path(spec.path) / PER_MODEL_PARAMETERS)
    return None if beside is None else beside.on_threads_of(spec.batching)


def _parameters_beside(file: Path) -> BatchingParameters | None:
    """Read the parameters beside a version; without the file it is not batched."""
    if not file.exists():
        return None
    with _load_failures():
        return batching_parameters(file.read_text(encoding="utf-8"), str(file))


def _cpus(spec: ServableSpec) -> int:
    """Count the CPUs that the replica may use."""
    reserved = spec.config.resources.num_cpus if spec.config is not None else 0.0
    return max(1, round(reserved) or os.cpu_count() or 1)


def resident_bytes() -> int:
    """Give this process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
