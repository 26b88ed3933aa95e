"""The loader: turns the directory of a version into a servable that can be called.

Load errors are those that users of TensorFlow Serving know: its texts for a directory without a SavedModel,
TensorFlow's own code and text for every fault inside of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from core.errors import NotFound, RuntimeFailure, Unimplemented
from core.inference.signature import ServedModel, signature
from core.platforms.platform import unloaded_error
from core.protos import saved_model_pb2, serving_pb2, tensor_pb2
from core.versions.servable import ServableId
from deployments.runtime.compiled import runs_by
from deployments.runtime.damaged_files import damage_in
from deployments.runtime.library import ffi, library
from deployments.runtime.session import (
    IN_CALLER_THREAD,
    GraphCall,
    Session,
    content_of,
    new_buffer,
    open_session,
    run_options,
)
from deployments.runtime.signature_file import may_loop

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
SESSION_BUNDLE_FILE = "export.meta"
VARIABLES_INDEX = "variables/variables.index"
VARIABLE_OPERATIONS = frozenset({"VarHandleOp", "Variable", "VariableV2"})

WAYS_KEPT = 1024
"""Ways of calling one model that are remembered; clients that name outputs in ever new orders must not fill memory."""


class RunRecorder(Protocol):
    """Chooses runs to be traced and takes their metadata; called by the threads that run."""

    def begin(self) -> int | None:
        """Return the present time in nanoseconds if the run that begins now should be traced."""
        ...

    def end(self, began_ns: int, metadata: bytes) -> None:
        """Take TensorFlow's metadata of a run."""


class LoadedModel:
    """One loaded version; may be called from several threads at once. A profile sets `recorder` while it lasts."""

    __slots__ = ("_session", "_ways", "recorder", "served")

    def __init__(self, served: ServedModel, session: Session) -> None:
        self.served = served
        self._session: Session | None = session
        self._ways: dict[tuple[tuple[str, ...], tuple[str, ...]], GraphCall] = {}
        self.recorder: RunRecorder | None = None

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run the graph once; names are the graph's own, answers come in the order of `fetches` and are read-only.

        In the caller's thread a small model answers soonest, but TensorFlow does not watch the timeout there.
        """
        session = self._session
        if session is None:
            raise unloaded_error(ServableId(self.served.name, self.served.version))
        way = self._way(session, (tuple(feeds), tuple(fetches)))
        recorder = self.recorder
        began_ns = None if recorder is None else recorder.begin()
        if recorder is None or began_ns is None:
            options = IN_CALLER_THREAD if in_caller_thread else run_options(timeout_ms)
            return way.run(session.handle, feeds.values(), options, ffi.NULL)
        options = run_options(timeout_ms, in_caller_thread=in_caller_thread, is_traced=True)
        metadata = new_buffer()
        outputs = way.run(session.handle, feeds.values(), options, metadata)
        recorder.end(began_ns, content_of(metadata))
        return outputs

    def close(self) -> None:
        """Refuse further calls; the memory is freed when the calls that still run have ended."""
        self._session = None

    def _way(self, session: Session, names: tuple[tuple[str, ...], tuple[str, ...]]) -> GraphCall:
        way = self._ways.get(names)
        if way is None:
            way = session.wire(*names)
            if len(self._ways) >= WAYS_KEPT:
                self._ways.clear()
            self._ways[names] = way
        return way


def load(path: str, *, tags: frozenset[str], name: str, version: int, session_config: bytes = b"") -> LoadedModel:
    """Load the SavedModel in a directory: restore variables, run its initializers, read its signatures.

    `session_config` is a serialized ConfigProto of TensorFlow's, as `core.config.session_options` makes it.
    """
    _expect_saved_model(Path(path))
    session, meta_graph = _opened(path, tags, session_config)
    _expect_variables(Path(path), session, meta_graph)
    definitions = tensor_pb2.MetaGraphDef.FromString(meta_graph).signature_def
    served = ServedModel(
        name=name,
        version=version,
        signatures=MappingProxyType({key: signature(definition) for key, definition in definitions.items()}),
        signature_def_map=serving_pb2.SignatureDefMap(signature_def=definitions).SerializeToString(deterministic=True),
        runs_by=runs_by(library()),
        may_loop=may_loop(Path(path)),
    )
    return LoadedModel(served, session)


def _opened(path: str, tags: frozenset[str], session_config: bytes) -> tuple[Session, bytes]:
    """Open a session; an error that comes of a damaged file names it, with the runtime's own text behind it."""
    try:
        return open_session(path, sorted(tags), session_config)
    except RuntimeFailure as error:
        found = damage_in(path)
        if not found or found in str(error):
            raise
        raise RuntimeFailure(error.code, f"{found} ({str(error).splitlines()[0]})") from error


def _expect_saved_model(path: Path) -> None:
    if (path / SESSION_BUNDLE_FILE).exists():
        raise Unimplemented("Session Bundle is deprecated and removed.")
    if not any((path / file).exists() for file in SAVED_MODEL_FILES):
        raise NotFound(
            "Specified file path does not appear to contain a SavedModel bundle "
            f"(should have a file called `saved_model.pb`)\nSpecified file path: {path}"
        )


def _expect_variables(path: Path, session: Session, meta_graph: bytes) -> None:
    """Refuse a version whose variables were not copied: TensorFlow loads it, and then every call of it fails."""
    if (path / VARIABLES_INDEX).exists():
        return
    restores = saved_model_pb2.RestoreEnvelope.FromString(meta_graph).saver_def.restore_op_name
    if restores and not VARIABLE_OPERATIONS.isdisjoint(session.operation_types()):
        raise NotFound(f"The model has variables, but the file that lists them is missing: {path / VARIABLES_INDEX}")
