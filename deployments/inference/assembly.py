"""Assembles a version: its files, its graph and session, its execution with or without batching, its request log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.config.model_config import BatchingParameters
from core.config.parameter_files import batching_parameters
from core.config.session_options import with_threads
from core.errors import Code, ServingError
from core.versions.load_report import LoadFailed, LoadStep, is_permanent
from core.versions.servable_spec import ServableSpec
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.call_traces import CallTraces
from deployments.inference.execution import Execution
from deployments.inference.request_log import LogSource, RequestLog
from deployments.runtime.saved_model import LoadedModel, load
from deployments.runtime.signature_file import is_light_version
from deployments.storage.version_cache import Lease, RemoteVersion
from deployments.storage.version_files import local_files

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
    marker_file = spec.config.resources.marker_file if spec.config is not None else ""
    version = RemoteVersion(spec.path, spec.fingerprint, spec.servable.name, marker_file)
    with load_failures(LoadStep.FILES):
        return local_files(version, spec.settings.model_cache)


def loaded_model(spec: ServableSpec) -> LoadedModel:
    """Load the version; raises LoadFailed."""
    with load_failures(LoadStep.GRAPH):
        return load(
            spec.path,
            tags=spec.settings.loading.saved_model_tags,
            name=spec.servable.name,
            version=spec.servable.version,
            session_config=_session_config(spec),
        )


def _session_config(spec: ServableSpec) -> bytes:
    return with_threads(spec.session_config, _reserved_cpus(spec), light=is_light_version(Path(spec.path)))


def execution_of(loaded: LoadedModel, spec: ServableSpec, traces: CallTraces | None) -> Execution | BatchedExecution:
    """Choose how calls are worked on (flags `enable_batching`, `enable_per_model_batching_parameters`)."""
    parameters = _batching(spec)
    if parameters is not None:
        return BatchedExecution(loaded, parameters, spec.settings.answers, threads=_cpus(spec), traces=traces)
    if traces is not None:
        return traces.execution(loaded, 2 * _cpus(spec), spec.settings.answers)
    return Execution(loaded, 2 * _cpus(spec), spec.settings.answers)


def request_log_of(spec: ServableSpec, loaded: LoadedModel, replica: str) -> RequestLog:
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
    return max(1, round(_reserved_cpus(spec)) or os.cpu_count() or 1)


def _reserved_cpus(spec: ServableSpec) -> float:
    return spec.config.resources.num_cpus if spec.config is not None else 0.0
