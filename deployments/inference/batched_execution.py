"""Execution of calls with batching: read a body, queue its plan, run it together with others, print the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from core.config.model_config import BatchingParameters
from core.config.server_settings import AnswerSettings
from core.errors import Code, DeadlineExceeded
from core.inference.giving_up import GivenUp, after, giving_up_after, giving_up_when
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel, fixed_tensors
from core.methods import Planner
from core.platforms.platform import Loaded
from core.routing.transport import TIMED_OUT, Answer, Call
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.inference.answering import LARGE_BYTES, LONGEST_ON_LOOP_S, Answering
from deployments.inference.batcher import Batcher, BatchTraces, Through, through_serve
from deployments.inference.direct_server import Arrival, Reply, Ticket
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

BYTES_OF_A_TEXT = 64
"""Assumed size of a string, because its real length is not known without looking at it."""


class BatchedExecution:
    """Works on the calls of one loaded version, several requests to a run."""

    def __init__(
        self,
        loaded: Loaded,
        parameters: BatchingParameters,
        answers: AnswerSettings | None = None,
        *,
        threads: int = 1,
        through: Through = through_serve,
        traces: BatchTraces | None = None,
    ) -> None:
        served = loaded.served
        self.answering = Answering(loaded, answers)
        self._batcher = Batcher(
            loaded.run,
            parameters,
            served=(served.name, str(served.version)),
            threads=threads,
            through=through,
            traces=traces,
        )
        self._steps = _BatchedSteps(served, self._batcher)
        _note_unbatched(served)
        self._tasks: set[asyncio.Task[None]] = set()
        self._name = served.name

    def submit(self, call: Call, reply: Reply) -> Ticket:
        """Work on a call; `reply` is called on this event loop."""

        async def work() -> None:
            reply(await self.call(call))

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _TaskTicket(task)

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many calls are submitted together: all, because a batch takes as many as it can."""
        return len(arrivals)

    def submit_together(self, arrivals: Sequence[Arrival]) -> list[Ticket | None]:
        """Work on calls, each in a task of its own until it is a part of a batch; one whose time is up is dropped."""
        now_s = time.monotonic()
        return [self._submit_in_time(one, now_s) for one in arrivals]

    def _submit_in_time(self, arrival: Arrival, now_s: float) -> Ticket | None:
        if not arrival.is_late(now_s):
            return self.submit(arrival.begun(now_s), arrival.reply)
        METRICS.count(DROPPED_REQUESTS, self._name, "expired")
        arrival.reply(Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT))
        return None

    def drop(self, arrival: Arrival) -> None:
        """Do nothing for a call whose caller has gone before it was submitted."""

    async def call(self, call: Call) -> Answer:
        """Work on a call; errors become answers too. When the waiting task is cancelled the call is withdrawn."""
        return await self.answering.in_steps(call, self._steps)

    def close(self) -> None:
        """Take no further calls."""
        self._batcher.close()


class _BatchedSteps:
    """Where a call is read, run and printed: on the event loop while that is short, else in a thread."""

    def __init__(self, served: ServedModel, batcher: Batcher) -> None:
        self._served = served
        self._batcher = batcher
        self._fixed = fixed_tensors(served.signatures)

    async def read(self, planner: Planner, call: Call) -> RunPlan:
        """Read a body: a small one here unless that takes long, any other in a thread."""
        if len(call.body) < LARGE_BYTES:
            with suppress(GivenUp), giving_up_after(LONGEST_ON_LOOP_S):
                return planner(self._served, call.body)
        work = _Work(call.timeout_s)
        try:
            with giving_up_when(work.is_over):
                return await asyncio.to_thread(planner, self._served, call.body)
        except GivenUp:
            raise DeadlineExceeded(TIMED_OUT) from None
        finally:
            work.is_abandoned = True

    async def run(self, plan: RunPlan, call: Call, left_s: float | None) -> Sequence[np.ndarray]:
        """Run a plan in a batch; alone where an input has a fixed number of rows."""
        if self._fixed and not self._fixed.isdisjoint(plan.feeds):
            return await self._batcher.run_alone(plan, left_s)
        return await self._batcher.run(plan, left_s, call.trace)

    async def write(self, plan: RunPlan, outputs: Sequence[np.ndarray]) -> bytes:
        """Print outputs: small ones here, large ones in a thread."""
        if sum(map(printed_bytes, outputs)) < LARGE_BYTES:
            return plan.answer(outputs)
        return await asyncio.to_thread(plan.answer, outputs)


def _note_unbatched(served: ServedModel) -> None:
    """Log the signatures whose requests are not batched although the model is."""
    names = sorted(name for name, one in served.signatures.items() if fixed_tensors({name: one}))
    if names:
        log.warning(
            "not_batched model=%s version=%d signatures=%s reason=an input has a fixed first dimension",
            served.name,
            served.version,
            ",".join(names),
        )


def printed_bytes(output: np.ndarray) -> int:
    """Estimate the bytes to print for an output."""
    return output.size * BYTES_OF_A_TEXT if output.dtype.hasobject else output.nbytes


class _Work:
    """Reading in a thread for a call: over when the call is, which the thread cannot see."""

    def __init__(self, timeout_s: float | None) -> None:
        self.is_abandoned = False
        self._is_late = after(math.inf if timeout_s is None else timeout_s)

    def is_over(self) -> bool:
        return self.is_abandoned or self._is_late()


class _TaskTicket:
    """A call that waits in a queue or runs in a batch."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()
