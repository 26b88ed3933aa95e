"""How a model server works on its calls when batching is on: plan, wait in a queue, run with others, print."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from core.config.model_config import BatchingParameters
from core.config.server_settings import AnswerSettings
from core.errors import Code, DeadlineExceeded
from core.inference.giving_up import GivenUp, giving_up_when
from core.inference.run_plan import RunPlan
from core.methods import RESPONDERS, planners
from core.routing.transport import TIMED_OUT, Answer, Call
from deployments.inference.batcher import Batcher, BatchTraces, Through, through_serve
from deployments.inference.call_meter import CallMeter, VersionMeter
from deployments.inference.direct_server import Ticket
from deployments.inference.execution import Loaded, failure_answer

LARGE_BYTES = 64 * 1024
"""Bodies from this size are parsed, and tensors printed, in a thread: the event loop goes on."""

LONGEST_ON_LOOP_S = 0.01
"""A smaller body that is not read after this time is read anew in a thread."""

BYTES_OF_A_TEXT = 64
"""What an element that is no number is taken for, because its real length is not known without a look at it."""


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
        self._loaded = loaded
        self._meter = VersionMeter(served)
        self._planners = planners(answers or AnswerSettings())
        self._batcher = Batcher(
            loaded.run,
            parameters,
            served=(served.name, str(served.version)),
            threads=threads,
            through=through,
            traces=traces,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        """Calls that are not answered yet."""
        self.on_answer: Callable[[Call, Answer], None] | None = None
        """Is told every answer that is no error."""

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> Ticket | None:
        """Work on a call; `reply` is called on this event loop."""

        async def work() -> None:
            reply(await self.call(call))

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _TaskTicket(task)

    async def call(self, call: Call) -> Answer:
        """Work on a call; errors become answers too. When the waiting task is cancelled the call is withdrawn."""
        self.in_flight += 1
        meter = self._meter.begin(call)
        try:
            answer = Answer(Code.OK, await self._respond(call, meter))
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            answer = failure_answer(call, error)
        finally:
            self.in_flight -= 1
        meter.ended(answer.code)
        if answer.code is Code.OK and self.on_answer is not None:
            self.on_answer(call, answer)
        return answer

    async def _respond(self, call: Call, meter: CallMeter) -> bytes:
        responder = RESPONDERS.get(call.method)
        if responder is not None:
            return responder(self._loaded.served, call.body)
        began_s = time.monotonic()
        plan = await self._plan(call)
        left_s = None if call.timeout_s is None else call.timeout_s - (time.monotonic() - began_s)
        meter.planned(plan)
        outputs = await self._batcher.run(plan, left_s, call.trace)
        meter.ran()
        if sum(map(printed_bytes, outputs)) < LARGE_BYTES:
            return plan.answer(outputs)
        return await asyncio.to_thread(plan.answer, outputs)

    async def _plan(self, call: Call) -> RunPlan:
        planner = self._planners[call.method]
        if len(call.body) < LARGE_BYTES:
            with suppress(GivenUp), giving_up_when(_later(LONGEST_ON_LOOP_S)):
                return planner(self._loaded.served, call.body)
        work = _Work(call.timeout_s)
        try:
            with giving_up_when(work.is_over):
                return await asyncio.to_thread(planner, self._loaded.served, call.body)
        except GivenUp:
            raise DeadlineExceeded(TIMED_OUT) from None
        finally:
            work.is_abandoned = True

    def close(self) -> None:
        """Take no further calls."""
        self._batcher.close()


def printed_bytes(output: np.ndarray) -> int:
    """Estimate what an output costs to print."""
    return output.size * BYTES_OF_A_TEXT if output.dtype.hasobject else output.nbytes


def _later(delay_s: float) -> Callable[[], bool]:
    """Return when so much time has passed."""
    ends_at = time.monotonic() + delay_s
    return lambda: time.monotonic() >= ends_at


class _Work:
    """What a thread reads for a call: over when the call is, which the thread cannot see."""

    def __init__(self, timeout_s: float | None) -> None:
        self.is_abandoned = False
        self._is_late = _later(math.inf if timeout_s is None else timeout_s)

    def is_over(self) -> bool:
        return self.is_abandoned or self._is_late()


class _TaskTicket:
    """A call that waits in a queue or runs in a batch."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()
