"""Assembles a version: its files, its graph and session, its execution with or without batching, its request log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from core.config.model_config import BatchingParameters
from core.config.parameter_files import batching_parameters
from core.errors import Code, ServingError
from core.platforms.platform import Loaded
from core.routing.waiting_line import WaitingLine
from core.versions.load_report import LoadFailed, LoadStep, is_permanent
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import usable_cpus
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.batcher import Through, through_serve
from deployments.inference.call_traces import CallTraces
from deployments.inference.execution import Execution
from deployments.inference.foreign_execution import ForeignExecution
from deployments.inference.run_watch import RunWatch
from deployments.platforms.hook_class import hooks_of
from deployments.platforms.hooked import with_hooks
from deployments.platforms.registry import platform_of
from deployments.recording.request_log import LogSource, RequestLog
from deployments.storage.version_cache import Lease, RemoteVersion
from deployments.storage.version_files import local_files

log = logging.getLogger(__name__)

PER_MODEL_PARAMETERS = "batching_params.pbtxt"


@contextmanager
def load_failures(step: LoadStep) -> Iterator[None]:
    """Turn every failure of a step into a LoadFailed, whose text survives Serve's status."""
    try:
        yield
    except ServingError as error:
        raise LoadFailed(error.code, str(error), is_permanent(step, error.code, str(error))) from error
    except Exception as error:
        raise LoadFailed(Code.UNKNOWN, f"{type(error).__name__}: {error}") from error


def files_on_node(spec: ServableSpec) -> Lease:
    """Fetch the version's files to this node and keep them there until the lease is released."""
    with load_failures(LoadStep.FILES):
        return local_files(remote_version(spec), spec.settings.model_cache)


def remote_version(spec: ServableSpec) -> RemoteVersion:
    """Return what is fetched; a marker that may lie above the files, where a subpath leads to them, was seen before."""
    config = spec.config
    marker_file = config.resources.marker_file if config is not None and not config.version_subpath else ""
    return RemoteVersion(spec.path, spec.fingerprint, spec.servable.name, marker_file, spec.platform)


def loaded_model(spec: ServableSpec) -> Loaded:
    """Load the version on its platform, with its hooks around it if it has any; raises LoadFailed."""
    with load_failures(LoadStep.GRAPH):
        platform = platform_of(spec)
        estimate = platform.estimate(spec.path)
        log.info(
            "version_estimated model=%s version=%d platform=%s bytes=%d light=%s",
            spec.servable.name,
            spec.servable.version,
            platform.kind.name,
            estimate.resident_bytes,
            estimate.is_light,
        )
        hooks = hooks_of(spec)
        model = platform.load(spec)
        with suppress(AttributeError):  # of a registered platform whose class is frozen
            model.served = replace(model.served, platform=platform.kind.name)
        loaded = with_hooks(model, hooks, spec)
        return RunWatch(loaded) if getattr(loaded, "may_hang", False) else loaded


def execution_of(
    loaded: Loaded, spec: ServableSpec, traces: CallTraces | None, through: Through = through_serve
) -> Execution | BatchedExecution:
    """Choose how calls are worked on (flags `enable_batching`, `enable_per_model_batching_parameters`)."""
    watch = loaded if isinstance(loaded, RunWatch) else None
    parameters = _batching(spec) or (None if watch is None else watch.batching)
    threads = 2 * _cpus(spec)
    if watch is not None:
        watch.threads = threads if parameters is None else parameters.num_batch_threads or _cpus(spec)
    if parameters is not None:
        return BatchedExecution(
            loaded, parameters, spec.settings.answers, threads=_cpus(spec), through=through, traces=traces
        )
    kind = Execution if watch is None else ForeignExecution
    if traces is not None:
        execution = traces.execution(loaded, threads, spec.settings.answers, kind)
    else:
        execution = kind(loaded, threads, spec.settings.answers)
    if spec.config is not None:
        execution.line = WaitingLine(spec.config.resources.max_queued_requests)
    return execution


def request_log_of(spec: ServableSpec, loaded: Loaded, replica: str) -> RequestLog:
    """Return the version's request log, which writes nothing until it is configured."""
    tags = spec.settings.loading.saved_model_tags
    return RequestLog(LogSource(loaded.served, replica, tags, spec.settings.request_log))


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
    with load_failures(LoadStep.GRAPH):
        return batching_parameters(file.read_text(encoding="utf-8"), str(file))


def _cpus(spec: ServableSpec) -> int:
    """Return the number of CPUs that the replica may use."""
    return spec.usable_cpus(usable_cpus())
