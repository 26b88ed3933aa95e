"""Versions that are a `model.py`: a class `Model` with `load`, `predict` and a declared signature.

The code runs in the process of its version only, and only where the operator has allowed it.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from core.config.declared_batching import declared_batching
from core.config.extensions import PYTHON
from core.config.model_config import BatchingParameters
from core.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
    RuntimeFailure,
    ServingError,
    Unimplemented,
)
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, served_model
from core.platforms.code_faults import error_text, fault_text, own_text
from core.platforms.declared_signature import declared_signature
from core.platforms.given_arrays import DeclaredInputs, wanted_arrays
from core.platforms.platform import Estimate, unloaded_error
from core.platforms.returned_arrays import checked_arrays
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.platforms.python_environment import add_requirements
from deployments.storage.version_files import files_bytes
from deployments.system.code_file import imported_file

log = logging.getLogger(__name__)

MODEL_FILE = PYTHON.files[0]
MODEL_CLASS = "Model"
NOT_ALLOWED = (
    f"{MODEL_FILE} is Python code, which this server does not run: a model's folder would decide what it does. "
    "Start it with --allow_python_servables where everybody who can write models may run code"
)


class PythonModel:
    """A loaded version; `predict` may be called from several threads at once."""

    may_hang = True

    def __init__(self, served: ServedModel, model: Any, file: str, batching: BatchingParameters | None) -> None:
        self.served = served
        self.batching = batching
        self._model = model
        self._file = file
        self._where = f"{MODEL_CLASS}.predict of {file}"
        signature = served.signatures[DEFAULT_SIGNATURE]
        self._inputs = DeclaredInputs(signature.inputs)
        self._outputs = signature.outputs

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Call `predict` once; a ValueError of its own refuses the request, any other error is a fault of the model."""
        del timeout_ms, in_caller_thread  # nothing can interrupt it
        model = self._model
        if model is None:
            raise unloaded_error(ServableId(self.served.name, self.served.version))
        given = self._inputs.given(feeds)
        return wanted_arrays(checked_arrays(self._predicted(model, given), self._outputs, self._where), fetches)

    def _predicted(self, model: Any, given: dict[str, np.ndarray]) -> object:
        try:
            return model.predict(given)
        except (ServingError, MemoryError):
            raise
        except ValueError as error:
            log.info("predict_refused model=%s version=%d", self.served.name, self.served.version, exc_info=error)
            raise InvalidArgument(own_text(error) or error_text(error)) from None
        except BaseException as error:
            log.exception("predict_failed model=%s version=%d", self.served.name, self.served.version)
            raise RuntimeFailure(Code.INTERNAL, f"{self._where} failed: {error_text(error)}") from error

    def close(self) -> None:
        """Refuse further calls, and let the model free what it holds."""
        model, self._model = self._model, None
        close = getattr(model, "close", None)
        if close is not None:
            try:
                close()
            except BaseException:
                log.exception("close_failed model=%s version=%d", self.served.name, self.served.version)


class PythonModels:
    """Loads versions that are Python code."""

    kind = PYTHON

    def estimate(self, path: str) -> Estimate:
        """Judge a version by the sizes of its files; how much its code takes nobody knows."""
        return Estimate(files_bytes(Path(path)))

    def load(self, spec: ServableSpec) -> PythonModel:
        """Import `model.py` and load its model; raises ServingError with file, line and error."""
        if not spec.settings.platforms.allow_python:
            raise Unimplemented(NOT_ALLOWED)
        file = str(Path(spec.path) / MODEL_FILE)
        add_requirements(spec)
        kind = _model_class(file)
        model = _made(kind, spec.path)
        signature = declared_signature(getattr(model, "inputs", None), getattr(model, "outputs", None), file)
        batching = declared_batching(getattr(model, "batch", None), file)
        signatures = MappingProxyType({DEFAULT_SIGNATURE: signature})
        served = served_model(spec.servable.name, spec.servable.version, signatures)
        return PythonModel(served, model, file, batching)


PLATFORM = PythonModels()


def _model_class(file: str) -> Any:
    module = _imported(file)
    kind = getattr(module, MODEL_CLASS, None)
    if not isinstance(kind, type):
        raise InvalidArgument(f"{file} has no class {MODEL_CLASS}")
    for name in ("load", "predict"):
        method = getattr(kind, name, None)
        if not callable(method):
            raise InvalidArgument(f"{file}: class {MODEL_CLASS} has no method {name}")
        if inspect.iscoroutinefunction(method):
            raise InvalidArgument(f"{file}: {MODEL_CLASS}.{name} is a coroutine function, and must be an ordinary one")
    return kind


def _imported(file: str) -> ModuleType:
    try:
        return imported_file(file, f"python_servable_{hashlib.sha256(file.encode()).hexdigest()[:16]}")
    except BaseException as error:
        raise _load_failure(error, os.path.dirname(file)) from error


def _made(kind: Any, folder: str) -> Any:
    try:
        model = kind()
        model.load(folder)
    except BaseException as error:
        raise _load_failure(error, folder) from error
    return model


def _load_failure(error: BaseException, folder: str) -> ServingError:
    """Return what the operator is told; a syntax error stays until the file changes, others may pass."""
    log.error("python_load_failed folder=%s", folder, exc_info=error)
    text = fault_text(error, folder)
    return InvalidArgument(text) if isinstance(error, SyntaxError) else FailedPrecondition(text)
