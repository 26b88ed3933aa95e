"""How a model server works on its calls when batching is on: plan, wait in a queue, run with others, print."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import numpy as np

from core.config import BatchingParameters
from core.errors import Code, ResourceExhausted, ServingError
from core.methods import RESPONDERS, planners
from core.run_plan import RunPlan
from core.server_settings import AnswerSettings
from core.transport import Answer, Call
from deployments.batching import Batcher
from deployments.direct_server import Ticket, error_answer
from deployments.execution import Loaded

log = logging.getLogger(__name__)

LARGE_BODY_BYTES = 64 * 1024
"""Bodies from this size are parsed in a thread, so that the event loop goes on."""


class BatchedExecution:
    """Works on the calls of one loaded version, several requests to a run."""

    def __init__(self, loaded: Loaded, parameters: BatchingParameters, answers: AnswerSettings | None = None) -> None:
        self._loaded = loaded
        self._planners = planners(answers or AnswerSettings())
        self._batcher = Batcher(self._run, parameters)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Count the calls that are not answered yet."""
        return len(self._tasks)

    def _run(self, plan: RunPlan) -> list[np.ndarray]:
        return self._loaded.run(plan.feeds, plan.fetches)

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> Ticket | None:
        """Work on a call; `reply` is called on this event loop."""

        async def work() -> None:
            reply(await self.call(call))

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _TaskTicket(task)

    async def call(self, call: Call) -> Answer:
        """Work on a call; errors become answers too."""
        try:
            return Answer(Code.OK, await self._respond(call))
        except ServingError as error:
            return error_answer(error.code, str(error))
        except Exception as error:
            log.exception("call_failed method=%s", call.method.name)
            return error_answer(Code.INTERNAL, f"{type(error).__name__}: {error}")

    async def _respond(self, call: Call) -> bytes:
        served = self._loaded.served
        responder = RESPONDERS.get(call.method)
        if responder is not None:
            return responder(served, call.body)
        planner = self._planners[call.method]
        if len(call.body) < LARGE_BODY_BYTES:
            plan = planner(served, call.body)
        else:
            plan = await asyncio.to_thread(planner, served, call.body)
        try:
            outputs = await asyncio.wait_for(self._batcher.run(plan), call.timeout_s)
        except TimeoutError:
            raise ResourceExhausted("Run() timeout exceeded while waiting in batching queue") from None
        return plan.encode(outputs)

    def close(self) -> None:
        """Take no further calls."""
        self._batcher.close()


class _TaskTicket:
    """A call that waits in a queue or runs in a batch."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()
