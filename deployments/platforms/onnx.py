"""ONNX models, run by onnxruntime; needs the extra `[onnx]`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from core.config.extensions import ONNX
from core.errors import FailedPrecondition, NotFound, ServingError
from core.inference.dtypes import DataType
from core.inference.signature import served_model
from core.platforms.onnx_errors import byte_strings_of, onnx_load_error, onnx_run_error, texts_of, wrong_types
from core.platforms.onnx_session import execution_providers, intra_op_threads
from core.platforms.onnx_signature import (
    LARGEST_LIGHT_BYTES,
    gives_scores,
    is_light_onnx,
    may_loop_onnx,
    onnx_signatures,
    score_columns,
)
from core.platforms.platform import Estimate, unloaded_error
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import usable_cpus
from deployments.platforms.run_deadlines import RunDeadlines
from deployments.storage.version_files import files_bytes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

log = logging.getLogger(__name__)

LARGEST_READ_BYTES = 64 * 1024 * 1024
"""Of a model whose operations are read."""

FILE: Final = ONNX.files[0]
ONLY_FATAL: Final = 4
"""onnxruntime's log level: every error is raised, too, and clients must not fill the log."""

MISSING = (
    "This version is an ONNX model, which onnxruntime runs, and that is not installed: "
    "pip install 'ray-model-server[onnx]' on every node"
)


class OnnxModels:
    """Loads ONNX models."""

    kind = ONNX

    def estimate(self, path: str) -> Estimate:
        """Judge a model by the sizes of its files and, of a small one, by its operations."""
        size = files_bytes(Path(path))
        return Estimate(size, _is_light(Path(path) / FILE, size))

    def load(self, spec: ServableSpec) -> LoadedOnnx:
        """Load `model.onnx`, which finds its external data beside it; raises ServingError with onnxruntime's text."""
        try:
            import onnxruntime  # noqa: PLC0415 -- only the process of an ONNX model needs it
        except ImportError as error:
            raise FailedPrecondition(f"{MISSING} ({error})") from error
        file = Path(spec.path) / FILE
        if not file.is_file():
            raise NotFound(f"The version's folder has no file {FILE}: {spec.path}")
        num_gpus = None if spec.config is None else spec.config.resources.num_gpus
        providers = execution_providers(onnxruntime.get_available_providers(), num_gpus)
        options = self._options(onnxruntime.SessionOptions(), spec)
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:
            raise onnx_load_error(type(error).__name__, str(error), str(file)) from error
        log.info("onnx_loaded model=%s providers=%s", spec.servable.name, ",".join(session.get_providers()))
        return LoadedOnnx(session, spec.servable, onnxruntime.RunOptions, may_loop=_may_loop(file))

    def _options(self, options: SessionOptions, spec: ServableSpec) -> SessionOptions:
        light = self.estimate(spec.path).is_light
        cpus = usable_cpus()
        options.intra_op_num_threads = intra_op_threads(spec.reserved_cpus, cpus, light=light)
        options.inter_op_num_threads = 1
        # Threads that wait by spinning would take the CPUs of the node's other replicas.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = ONLY_FATAL
        return options


PLATFORM = OnnxModels()


class LoadedOnnx:
    """One loaded ONNX model; may be called from several threads at once."""

    def __init__(
        self, session: InferenceSession, servable: ServableId, run_options: Callable[[], object], *, may_loop: bool
    ) -> None:
        found = onnx_signatures(session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())
        self.served = served_model(servable.name, servable.version, found.signatures, may_loop=may_loop)
        self._session: InferenceSession | None = session
        self._run_options = run_options
        self._deadlines = RunDeadlines()
        self._initializers = found.initializers
        specs = [one for signature in found.signatures.values() for one in signature.inputs.values()]
        self._types = {one.tensor: one.dtype for one in specs}
        self._texts = frozenset(one.tensor for one in specs if one.dtype is DataType.STRING)
        self._reads = _readers(session)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,  # noqa: ARG002 -- the threads of a session are there already
    ) -> list[np.ndarray]:
        """Run the model once; names are the model's own, answers come in the order of `fetches`."""
        session = self._session
        if session is None:
            raise unloaded_error(ServableId(self.served.name, self.served.version))
        if not fetches:  # which onnxruntime takes for all
            return []
        given = self._given(feeds)
        try:
            outputs = self._run(session, given, list(fetches), timeout_ms)
        except Exception as error:
            raise self._failure(error, feeds) from error
        if not self._reads:
            return outputs
        return [
            self._reads[name](output) if name in self._reads else output
            for name, output in zip(fetches, outputs, strict=True)
        ]

    def _run(
        self, session: InferenceSession, given: dict[str, np.ndarray], fetches: list[str], timeout_ms: int | None
    ) -> list[np.ndarray]:
        if timeout_ms is None:
            return cast("list[np.ndarray]", session.run(fetches, given))
        options = self._run_options()
        with self._deadlines.within(timeout_ms, partial(_terminate, options)):
            return cast("list[np.ndarray]", session.run(fetches, given, options))

    def _given(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what onnxruntime gets: texts for byte strings, and no initializer that the request left out."""
        if not self._texts and not self._initializers:
            return dict(feeds)
        return {
            name: texts_of(name, array) if name in self._texts and array.dtype.hasobject else array
            for name, array in feeds.items()
            if array is not self._initializers.get(name)
        }

    def _failure(self, error: Exception, feeds: Mapping[str, np.ndarray]) -> ServingError:
        """Return what a client is told; names the inputs that have wrong types, which onnxruntime does not."""
        wrong = wrong_types(feeds, self._types)
        return onnx_run_error("InvalidArgument" if wrong else type(error).__name__, wrong or str(error))

    def close(self) -> None:
        """Refuse further calls; the memory is freed when the calls that still run have ended."""
        self._session = None


def _readers(session: InferenceSession) -> Mapping[str, Callable[..., np.ndarray]]:
    """Return how outputs become arrays of ours, for those that are not such arrays already."""
    outputs = session.get_outputs()
    scores = {
        one.name: partial(score_columns, one.name, dtype=np.dtype(np.float64 if "double" in one.type else np.float32))
        for one in outputs
        if gives_scores(one)
    }
    return {**scores, **{one.name: byte_strings_of for one in outputs if one.type == "tensor(string)"}}


def _terminate(options: Any) -> None:
    options.terminate = True


def _may_loop(file: Path) -> bool:
    """Whether a model has loops, or is too large to be read for that: its runs are never short."""
    return file.stat().st_size > LARGEST_READ_BYTES or may_loop_onnx(file.read_bytes())


def _is_light(file: Path, files_size: int) -> bool:
    try:
        return files_size <= LARGEST_LIGHT_BYTES and is_light_onnx(file.read_bytes())
    except OSError:
        return False
