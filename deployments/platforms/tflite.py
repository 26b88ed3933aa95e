"""TensorFlow Lite models, run by ai-edge-litert, which is imported when a version is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from core.config.extensions import TFLITE
from core.errors import FailedPrecondition, NotFound, RuntimeFailure, ServingError
from core.inference.signature import ServedModel
from core.platforms.platform import Estimate, unloaded_error
from core.platforms.tflite_signatures import LiteFile, signatures_of
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import usable_cpus
from deployments.platforms.interpreter_pool import InterpreterPool
from deployments.platforms.lite_model import LiteModel, LiteNames, RowSplitter, RunsGraphs

FILE: Final = TFLITE.files[0]
COPIES: Final = 2
"""Times the file's size that a version takes: the file, and the weights as an interpreter packs them."""


class LiteModels:
    """Loads TensorFlow Lite models."""

    kind = TFLITE

    def estimate(self, path: str) -> Estimate:
        """Judge a model by the size of its file."""
        try:
            return Estimate(COPIES * (Path(path) / FILE).stat().st_size)
        except OSError:
            return Estimate(0)

    def load(self, spec: ServableSpec) -> LiteModel:
        """Load `model.tflite`; raises ServingError with TensorFlow Serving's text, and then the cause."""
        runtime, trial = _modules()
        path = Path(spec.path) / FILE
        content = _content(path)
        with _naming(runtime.NOT_A_MODEL, path, len(content)):
            any_rows = trial.tried_rows(str(path))
            first: RunsGraphs = runtime.LiteInterpreter(content)
            file: LiteFile = runtime.read_file(content)
        found = signatures_of(file, any_rows=any_rows)
        servable = spec.servable
        served = ServedModel(servable.name, servable.version, found.signatures, found.definitions)
        closed = str(unloaded_error(servable))
        pool = InterpreterPool(lambda: runtime.LiteInterpreter(content), first, pool_size(spec), closed)
        return LiteModel(served, LiteNames(file.graphs[0], found.calls), pool, _splitter(spec, file))


PLATFORM = LiteModels()


@contextmanager
def _naming(not_a_model: str, path: Path, size_bytes: int) -> Iterator[None]:
    """Add to the error of a file that is not a model which file it is, and what was expected."""
    try:
        yield
    except ServingError as error:
        if not str(error).startswith(not_a_model):
            raise
        expected = "a FlatBuffer of TensorFlow Lite, with TFL3 from the fifth byte on, was expected"
        raise RuntimeFailure(error.code, f"{error} ({path}, {size_bytes:,} bytes: {expected})") from None


def pool_size(spec: ServableSpec) -> int:
    """Return the number of interpreters: as configured, else one for each CPU that the replica may use."""
    return spec.settings.platforms.tflite_pools or spec.usable_cpus(usable_cpus())


def _splitter(spec: ServableSpec, file: LiteFile) -> RowSplitter | None:
    """Return what splits large requests, where that is configured and the model has one input."""
    interpreters = spec.settings.platforms.tflite_interpreters_per_pool
    inputs = [tensor for _, tensor in file.graphs[0].inputs]
    if interpreters < 2 or len(inputs) != 1 or not inputs[0].shape:
        return None
    return RowSplitter(pool_size(spec), interpreters, inputs[0].shape[0])


def _modules() -> tuple[Any, Any]:
    """Import the interpreter; raises FailedPrecondition where it is not installed."""
    try:
        from deployments.platforms import tflite_runtime, tflite_trial  # noqa: PLC0415 - no other version loads them
    except ImportError as error:
        text = f"TensorFlow Lite models need ai-edge-litert: install ray-model-server[lite] on every node ({error})"
        raise FailedPrecondition(text) from None
    return tflite_runtime, tflite_trial


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"The TensorFlow Lite model {file} cannot be read: {error}") from None
