"""Batching: requests of one version that fit together share a run, through Ray Serve's batch queues.

There is one queue for each combination of tensors, types and row shapes, so requests that cannot be merged never
meet. A run that fails is repeated request by request: a bad one fails alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ray import serve

from core.batch_plan import BatchKey, Outputs, batch_key, merge, rows_of, split
from core.config import BatchingParameters
from core.errors import ServingError, Unavailable
from core.run_plan import RunPlan

MOST_QUEUES = 256
"""Kinds of requests that get a queue; requests of further kinds run alone."""

MICROS_PER_S = 1e6

Run = Callable[[RunPlan], Outputs]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request in a queue."""

    plan: RunPlan
    rows: int


Result = Outputs | ServingError
Queue = Callable[[Waiting], Coroutine[Any, Any, Result]]


def total_rows(batch: Sequence[Waiting]) -> int:
    """Count the rows of a batch; total, because an error here would end Serve's queue for ever."""
    return sum(one.rows for one in batch)


class Batcher:
    """Forms batches on one event loop and runs them in threads."""

    def __init__(self, run: Run, parameters: BatchingParameters) -> None:
        self._run = run
        self._parameters = parameters
        self._threads = parameters.num_batch_threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=parameters.thread_pool_name)
        self._queues: dict[BatchKey, Queue] = {}
        self._rows_waiting = 0

    async def run(self, plan: RunPlan) -> Outputs:
        """Run a request together with others.

        Raises ServingError: the rules of `rows_of`, Unavailable for a full queue, or what the run gave.
        """
        rows = rows_of(plan, self._parameters.max_batch_size)
        self._require_room(rows)
        queue = self._queue(batch_key(plan))
        if queue is None or not rows:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, plan)
        self._rows_waiting += rows
        try:
            result = await queue(Waiting(plan, rows))
        finally:
            self._rows_waiting -= rows
        if isinstance(result, ServingError):
            raise result
        return result

    def _require_room(self, rows: int) -> None:
        """Bound what waits: batches that run, and `max_enqueued_batches` full ones behind them."""
        most = max(1, self._parameters.max_enqueued_batches)
        room = (most + self._threads) * self._parameters.max_batch_size
        if self._rows_waiting + rows > room:
            raise Unavailable(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{most} batches enqueued and max_enqueued_batches is {most}"
            )

    def _queue(self, key: BatchKey) -> Queue | None:
        queue = self._queues.get(key)
        if queue is None and len(self._queues) < MOST_QUEUES:
            queue = self._queues[key] = self._new_queue()
        return queue

    def _new_queue(self) -> Queue:
        @serve.batch(
            max_batch_size=self._parameters.max_batch_size,
            batch_wait_timeout_s=self._parameters.batch_timeout_micros / MICROS_PER_S,
            max_concurrent_batches=self._threads,
            batch_size_fn=total_rows,
        )
        async def run_batch(batch: list[Waiting]) -> list[Result]:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run_merged, batch)

        queue: Queue = run_batch
        return queue

    def _run_merged(self, batch: Sequence[Waiting]) -> list[Result]:
        try:
            return list(self._run_together(batch))
        except ServingError as error:
            if len(batch) == 1:
                return [error]
        return [self._run_merged([one])[0] for one in batch]

    def _run_together(self, batch: Sequence[Waiting]) -> list[Outputs]:
        plans = [one.plan for one in batch]
        feeds = merge(plans, self._parameters.allowed_batch_sizes)
        outputs = self._run(RunPlan(feeds, plans[0].fetches, plans[0].encode))
        batch_rows = next(iter(feeds.values())).shape[0]
        return split(outputs, [one.rows for one in batch], batch_rows)

    def close(self) -> None:
        """Take no further batches."""
        self._pool.shutdown(wait=False, cancel_futures=True)
