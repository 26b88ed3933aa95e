"""Runs one batch in a worker thread: merges inputs, runs the model, splits outputs; a failing batch is bisected."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from core.config.model_config import BatchingParameters
from core.errors import Code, DeadlineExceeded, ServingError
from core.inference.batch_plan import Outputs, QueueKey, in_order, join, merge, queue_key, rows_between, split
from core.inference.batch_queue import Piece
from core.inference.run_plan import RunPlan
from core.routing.transport import TIMED_OUT
from core.telemetry.metric_names import BATCH_INPUT_SIZE, BATCH_PADDING_SIZE, BATCH_PROCESSED_SIZE, BATCH_RUN_COUNT
from core.telemetry.trace_context import TraceContext
from deployments.telemetry.process_metrics import METRICS


class Run(Protocol):
    """Runs the model; raises ServingError."""

    def __call__(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], *, timeout_ms: int | None = None
    ) -> Outputs: ...


class BatchedRequest:
    """One request in its queue: its plan, its deadline, and the parts of its answer."""

    __slots__ = ("answer", "ends_at", "key", "parts", "pieces", "plan", "trace")

    def __init__(
        self, plan: RunPlan, ends_at: float, answer: asyncio.Future[Outputs], trace: TraceContext | None = None
    ) -> None:
        self.plan = plan
        self.trace = trace
        self.key: QueueKey = queue_key(plan)
        self.ends_at = ends_at
        self.answer = answer
        self.pieces: list[Piece[BatchedRequest]] = []
        self.parts: dict[int, Outputs] = {}

    def settle(self, piece: Piece[BatchedRequest], result: Result) -> None:
        """Take the answer to a piece; the first error is the answer to all."""
        if isinstance(result, Exception):
            self.fail(result)
            return
        self.parts[piece.start] = result
        if len(self.parts) == len(self.pieces) and not self.answer.done():
            self._finish()

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless there is an answer already."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _finish(self) -> None:
        try:
            self.answer.set_result(join([self.parts[piece.start] for piece in self.pieces]))
        except ServingError as error:
            self.fail(error)


Pieces = Sequence[Piece[BatchedRequest]]
Result = Outputs | Exception


class BatchRun:
    """Runs batches of one version; may be called from several threads at once."""

    def __init__(self, run: Run, parameters: BatchingParameters, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._parameters = parameters
        self._clock = clock

    def results(self, pieces: Pieces) -> list[Result]:
        """Return for each piece its rows of the answer, or its error: a run that fails is repeated in halves."""
        try:
            return list(self._run_together(pieces))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer to one of the requests
            if len(pieces) == 1 or code_of(error) is Code.DEADLINE_EXCEEDED:
                return [light(error)] * len(pieces)
        half = len(pieces) // 2
        return [*self.results(pieces[:half]), *self.results(pieces[half:])]

    def _run_together(self, pieces: Pieces) -> list[Outputs]:
        parameters = self._parameters
        feeds = merge(
            [feeds_of(piece) for piece in pieces],
            parameters.allowed_batch_sizes,
            padded=parameters.pad_variable_length_inputs,
        )
        sizes = [piece.rows for piece in pieces]
        batch_rows = next(iter(feeds.values())).shape[0]
        count_run(sizes, len(feeds), batch_rows)
        fetches = pieces[0].request.plan.fetches
        outputs = self._run(feeds, fetches, timeout_ms=self._timeout_ms(pieces))
        parts = split(outputs, sizes, batch_rows)
        return [in_order(part, fetches, piece.request.plan.fetches) for part, piece in zip(parts, pieces, strict=True)]

    def _timeout_ms(self, pieces: Pieces) -> int | None:
        """Return the time that the latest deadline of the callers leaves (TensorFlow Serving, deadlines)."""
        ends_at = max(piece.request.ends_at for piece in pieces)
        if ends_at == math.inf:
            return None
        left_s = ends_at - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded(TIMED_OUT)
        return max(1, int(left_s * 1000))


def feeds_of(piece: Piece[BatchedRequest]) -> Mapping[str, np.ndarray]:
    """Return the rows of a piece, without copying them."""
    feeds = piece.request.plan.feeds
    return feeds if len(piece.request.pieces) == 1 else rows_between(feeds, piece.start, piece.start + piece.rows)


def code_of(error: Exception) -> Code:
    """Return the code that a caller sees."""
    return error.code if isinstance(error, ServingError) else Code.INTERNAL


def light(error: Exception) -> Exception:
    """Drop the traceback of an error that is an answer: it would keep the tensors of its whole batch."""
    return error.with_traceback(None) if isinstance(error, ServingError) else error


def count_run(sizes: Sequence[int], inputs: int, batch_rows: int) -> None:
    """Count a run as TensorFlow Serving does: input sizes once for each input tensor of each request."""
    METRICS.count(BATCH_RUN_COUNT)
    for rows in sizes:
        for _ in range(inputs):
            METRICS.observe(BATCH_INPUT_SIZE, value=rows)
    METRICS.observe(BATCH_PADDING_SIZE, str(batch_rows), value=batch_rows - sum(sizes))
    METRICS.observe(BATCH_PROCESSED_SIZE, value=batch_rows)
