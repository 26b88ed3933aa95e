"""One loaded graph with its session: names are resolved to graph outputs once, and runs cost as little as possible."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np

from core.errors import InvalidArgument, Unimplemented
from core.inference.dtypes import NUMPY_DTYPE, DataType, data_type
from core.protos import tensor_pb2
from deployments.runtime.compiled import compiled
from deployments.runtime.compiled_run import CompiledRun
from deployments.runtime.library import c_text, check, ffi, library, new_status
from deployments.runtime.python_run import PythonRun, Wiring

CALLER_THREAD_POOL = -1
SOFTWARE_TRACE = 1
"""TensorFlow reports the time of each operation, without asking the driver of a device."""


class GraphCall(Protocol):
    """A way of calling a graph: names looked up once, and run many times."""

    @property
    def wiring(self) -> Wiring:
        """The graph's side of it."""
        ...

    def run(self, session: Any, arrays: Collection[np.ndarray], options: Any, metadata: Any) -> list[np.ndarray]:
        """Run the graph of a session once; `arrays` come in the order of the feeds.

        TensorFlow works without Python's lock. An error carries TensorFlow's own code and message. What the options ask
        TensorFlow to report about the run comes into the buffer `metadata`, which may be NULL.
        """
        ...


class Session:
    """A graph and its session, freed together with the last reference to them.

    Runs may overlap. Whoever runs holds a reference, so giving up a session never takes it away from a run.
    """

    __slots__ = ("_graph", "_lib", "handle")

    def __init__(self, lib: Any, graph: Any, session: Any) -> None:
        self._lib = lib
        self._graph = graph
        self.handle = ffi.gc(session, functools.partial(_close, lib, graph))

    def wire(self, feeds: Iterable[str], fetches: Iterable[str]) -> GraphCall:
        """Look the names of a call up in the graph; they may lack the `:0`."""
        inputs = [self._output(name) for name in feeds]
        outputs = [self._output(name) for name in fetches]
        wiring = Wiring(
            feeds=ffi.new("TF_Output[]", inputs),
            feed_types=tuple(self._type(output) for output in inputs),
            fetches=ffi.new("TF_Output[]", outputs),
            fetch_types=tuple(
                _fetchable(self._type(output), name) for output, name in zip(outputs, fetches, strict=True)
            ),
        )
        extension = compiled(self._lib)
        return PythonRun(self._lib, wiring) if extension is None else CompiledRun(self._lib, extension, wiring)

    def operation_types(self) -> Iterator[str]:
        """List the type of every operation in the graph, repeated as often as it stands there."""
        position = ffi.new("size_t*")
        while operation := self._lib.TF_GraphNextOperation(self._graph, position):
            yield c_text(self._lib.TF_OperationOpType(operation))

    def _output(self, name: str) -> tuple[Any, int]:
        operation_name, _, index = name.rpartition(":")
        if not operation_name:
            operation_name, index = name, "0"
        # For C, a name ends at a NUL, and the rest of it would not count.
        known = "\0" not in operation_name
        operation = known and self._lib.TF_GraphOperationByName(self._graph, operation_name.encode())
        if operation and index.isdecimal() and int(index) < self._lib.TF_OperationNumOutputs(operation):
            return operation, int(index)
        raise InvalidArgument(f"Tensor {name} is not in the graph of the model")

    def _type(self, output: tuple[Any, int]) -> DataType:
        return data_type(self._lib.TF_OperationOutputType(ffi.new("TF_Output*", output)[0]))


def open_session(path: str, tags: Sequence[str], session_config: bytes) -> tuple[Session, bytes]:
    """Load the meta graph that has exactly these tags; answers with the session and the serialized meta graph."""
    lib, status = library(), new_status(library())
    meta_graph = new_buffer()
    graph = lib.TF_NewGraph()
    tag_texts = [ffi.new("char[]", tag.encode()) for tag in tags]
    session = lib.TF_LoadSessionFromSavedModel(
        _session_options(lib, session_config),
        ffi.NULL,
        os.fsencode(path),
        ffi.new("char*[]", tag_texts),
        len(tags),
        graph,
        meta_graph,
        status,
    )
    if not session:
        lib.TF_DeleteGraph(graph)
        check(lib, status)
    return Session(lib, graph, session), content_of(meta_graph)


@functools.lru_cache(maxsize=1024)
def run_options(timeout_ms: int | None, *, in_caller_thread: bool = False, is_traced: bool = False) -> Any:
    """Serialize the options of a run as TensorFlow reads them; None or 0 is no timeout."""
    if not timeout_ms and not in_caller_thread and not is_traced:
        return ffi.NULL
    options = tensor_pb2.RunOptions(
        trace_level=SOFTWARE_TRACE if is_traced else 0,
        timeout_in_ms=timeout_ms or 0,
        inter_op_thread_pool=CALLER_THREAD_POOL if in_caller_thread else 0,
    )
    return _buffer(options.SerializeToString())


def new_buffer() -> Any:
    """Make an empty buffer for TensorFlow's metadata of a run."""
    return ffi.gc(library().TF_NewBuffer(), library().TF_DeleteBuffer)


def content_of(buffer: Any) -> bytes:
    """Read a buffer."""
    content: bytes = ffi.buffer(buffer.data, buffer.length)[:] if buffer.length else b""
    return content


def _buffer(content: bytes) -> Any:
    """Make a TF_Buffer over bytes, which live as long as it does."""
    memory = ffi.from_buffer(content)
    return ffi.gc(ffi.new("TF_Buffer*", {"data": memory, "length": len(content)}), lambda _: memory)


def _session_options(lib: Any, session_config: bytes) -> Any:
    options, status = ffi.gc(lib.TF_NewSessionOptions(), lib.TF_DeleteSessionOptions), new_status(lib)
    lib.TF_SetConfig(options, session_config, len(session_config), status)
    check(lib, status)
    return options


def _close(lib: Any, graph: Any, session: Any) -> None:
    status = new_status(lib)
    lib.TF_CloseSession(session, status)
    lib.TF_DeleteSession(session, status)
    lib.TF_DeleteGraph(graph)


def _fetchable(dtype: DataType, name: str) -> DataType:
    if dtype not in NUMPY_DTYPE:
        raise Unimplemented(f"Tensor {name} has type {dtype.label}, which cannot leave the model")
    return dtype


IN_CALLER_THREAD: Final = run_options(None, in_caller_thread=True)
"""Without a timeout: there it has no effect, and each value would have options of its own."""
