"""One loaded TensorFlow Lite model: names of calls become indices of tensors, and a free interpreter runs them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from threading import Lock
from typing import Protocol

import numpy as np

from core.errors import DeadlineExceeded, InvalidArgument, Unavailable
from core.inference.batch_queue import FULL
from core.inference.dtypes import DataType, type_of
from core.inference.signature import ServedModel
from core.platforms.row_chunks import CHUNKS_OF_A_POOL, row_chunks
from core.platforms.tflite_signatures import LiteGraph, LiteTensor, known_name
from core.routing.transport import TIMED_OUT
from deployments.platforms.interpreter_pool import InterpreterPool, Interpreting

Indexed = Mapping[int, np.ndarray]


class RunsGraphs(Interpreting, Protocol):
    """Runs the graphs of a file."""

    def run(self, feeds: Indexed, fetches: Sequence[int]) -> list[np.ndarray]:
        """Run the first graph, by indices of tensors."""

    def run_signature(self, key: str, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Run the graph of one of the file's own signatures, by its keys."""


class LiteNames:
    """Finds the tensors that calls name; `calls` are those of further graphs, by signature and key."""

    def __init__(self, graph: LiteGraph, calls: Mapping[str, tuple[str, str]]) -> None:
        self._inputs = {tensor.name: (index, tensor) for index, tensor in graph.inputs}
        self._outputs = {tensor.name: index for index, tensor in graph.outputs}
        self._calls = calls

    def signature_of(self, names: Sequence[str]) -> str:
        """Return the key of the file's own signature that all names belong to; empty for tensors of the first graph."""
        keys = {self._calls[name][0] if name in self._calls else "" for name in names}
        if len(keys) > 1:
            raise InvalidArgument("Tensors of several graphs of a TensorFlow Lite model cannot be in one run")
        return keys.pop() if keys else ""

    def keys(self, names: Sequence[str]) -> list[str]:
        """Return the signature's keys of tensors that `signature_of` knows."""
        return [self._calls[name][1] for name in names]

    def feeds(self, named: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
        """Return arrays by indices: all inputs, for one that is not fed would have the value of an earlier run.

        Raises InvalidArgument for unknown and missing inputs, and for another type than the input's.
        """
        feeds: dict[int, np.ndarray] = {}
        for name, array in named.items():
            known = known_name(name, self._inputs)
            if known is None:
                raise InvalidArgument(f"Unknown tensor '{name}'.\n\tMissing input TFLite tensor: {name}")
            index, tensor = self._inputs[known]
            _expect_type(array, tensor)
            feeds[index] = array
        if len(feeds) < len(self._inputs):
            missing = sorted(name for name, (index, _) in self._inputs.items() if index not in feeds)
            raise InvalidArgument(f"The call has no value for these inputs of the model: {', '.join(missing)}")
        return feeds

    def fetches(self, names: Sequence[str]) -> list[int]:
        """Return the indices of outputs; raises InvalidArgument for one that the model does not have."""
        indices = []
        for name in names:
            known = known_name(name, self._outputs)
            if known is None:
                raise InvalidArgument(f"Missing output TFLite tensor: {name}: Unknown tensor '{name}'.")
            indices.append(self._outputs[known])
        return indices


def _expect_type(array: np.ndarray, tensor: LiteTensor) -> None:
    given = DataType.STRING if array.dtype.kind in "OSU" else type_of(array)
    if given is not tensor.dtype:
        text = f"Expects input {tensor.name} to be {tensor.dtype.label} but {given.label} is provided"
        raise InvalidArgument(text)


class LiteModel:
    """One loaded version; may be called from several threads at once."""

    def __init__(
        self,
        served: ServedModel,
        names: LiteNames,
        pool: InterpreterPool[RunsGraphs],
        splitter: RowSplitter | None = None,
    ) -> None:
        self.served = served
        self._names = names
        self._pool = pool
        self._splitter = splitter

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run once, when an interpreter is free; an interpreter that has begun cannot be stopped.

        `in_caller_thread`: the caller cannot wait, and has an interpreter of its own if no other is free.
        """
        ends_at = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        key = self._names.signature_of([*feeds, *fetches])
        if key:
            inputs = dict(zip(self._names.keys(list(feeds)), feeds.values(), strict=True))
            with self._pool.lent({}, _left_s(ends_at), may_wait=not in_caller_thread) as one:
                return one.run_signature(key, inputs, self._names.keys(fetches))
        indexed, wanted = self._names.feeds(feeds), self._names.fetches(fetches)
        if self._splitter is None:
            return self._run(indexed, wanted, ends_at, may_wait=not in_caller_thread)
        return self._splitter.run(indexed, lambda part: self._run(part, wanted, ends_at), ends_at)

    def _run(
        self, feeds: Indexed, fetches: Sequence[int], ends_at: float | None, *, may_wait: bool = True
    ) -> list[np.ndarray]:
        shapes = {index: array.shape for index, array in feeds.items()}
        with self._pool.lent(shapes, _left_s(ends_at), may_wait=may_wait) as one:
            return one.run(feeds, fetches)

    def close(self) -> None:
        """Refuse further calls; the memory is freed when the calls that still run have ended."""
        self._pool.close()


def _left_s(ends_at: float | None) -> float | None:
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())


class RowSplitter:
    """Splits the rows of large requests, so that several interpreters work on them."""

    def __init__(self, pools: int, interpreters: int, model_rows: int) -> None:
        self._most_waiting = pools * CHUNKS_OF_A_POOL
        self._interpreters = interpreters
        self._model_rows = model_rows
        self._threads = ThreadPoolExecutor(pools, thread_name_prefix="chunk")
        self._waiting = 0
        self._lock = Lock()

    def run(
        self, feeds: Indexed, run: Callable[[Indexed], list[np.ndarray]], ends_at: float | None
    ) -> list[np.ndarray]:
        """Run the parts of the one input, and join the rows of outputs.

        Raises InvalidArgument for too many rows, Unavailable if too many parts wait, and DeadlineExceeded.
        """
        ((index, array),) = feeds.items()
        if not array.ndim:
            return run(feeds)
        chunks = row_chunks(array.shape[0], self._model_rows, self._interpreters)
        if len(chunks) == 1:
            return run(feeds)
        parts = self._begin([functools.partial(run, {index: array[chunk]}) for chunk in chunks])
        try:
            answers = [part.result(_left_s(ends_at)) for part in parts]
        except NotInTime:
            raise DeadlineExceeded(TIMED_OUT) from None
        finally:
            for part in parts:
                part.cancel()
        return [np.concatenate(rows) for rows in zip(*answers, strict=True)]

    def _begin(self, works: Sequence[Callable[[], list[np.ndarray]]]) -> list[Future[list[np.ndarray]]]:
        with self._lock:
            if self._waiting + len(works) > self._most_waiting:
                raise Unavailable(f"{FULL} {self._waiting} parts of requests wait for {self._most_waiting} places")
            self._waiting += len(works)
        parts = [self._threads.submit(work) for work in works]
        for part in parts:
            part.add_done_callback(self._ended)
        return parts

    def _ended(self, _: Future[list[np.ndarray]]) -> None:
        with self._lock:
            self._waiting -= 1
