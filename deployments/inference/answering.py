"""The steps from a call to its answer, with batching and without: read, run, print, count.

Every failure is an answer too. Without batching all steps take place in one thread; with batching the caller decides
where each of them does, so that the event loop is free in between.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from core.config.server_settings import AnswerSettings
from core.errors import Code, DeadlineExceeded, RuntimeFailure, ServingError
from core.inference.giving_up import GivenUp
from core.inference.run_plan import RunPlan
from core.methods import RESPONDERS, Planner, planners
from core.platforms.platform import Loaded
from core.routing.transport import TIMED_OUT, Answer, Call
from core.telemetry.metrics import Metrics
from core.versions.run_health import SOUND, UNTRIED, RunHealth, after_failure
from deployments.inference.call_meter import VersionMeter

log = logging.getLogger(__name__)

LONGEST_ON_LOOP_S = 0.01
"""Work that takes longer than this keeps other calls waiting if it is done on the event loop."""

HARMLESS_BYTES = 4096
"""A body up to this size is always read sooner; larger ones are watched while the event loop reads them."""

LARGEST_ON_LOOP_BYTES = 1024 * 1024
"""The event loop reads no larger body, though honest ones of raw tensors would take no time: in the time above a parser
that nobody can interrupt reads about a mebibyte of nonsense."""

LARGE_BYTES = 64 * 1024
"""With batching, bodies and outputs from this size are read and printed in a thread at once."""


class Steps(Protocol):
    """Where the steps of a batched call take place."""

    async def read(self, planner: Planner, call: Call) -> RunPlan:
        """Make the plan of a call."""
        ...

    async def run(self, plan: RunPlan, call: Call, left_s: float | None) -> Sequence[np.ndarray]:
        """Run a plan, together with others."""
        ...

    async def write(self, plan: RunPlan, outputs: Sequence[np.ndarray]) -> bytes:
        """Print the outputs."""
        ...


class Answering:
    """Answers the calls of one loaded version."""

    def __init__(
        self, loaded: Loaded, answers: AnswerSettings | None = None, meter: VersionMeter | None = None
    ) -> None:
        self.loaded = loaded
        self.meter = meter or VersionMeter(loaded.served)
        self.planners = planners(answers or AnswerSettings())
        self.on_answer: Callable[[Call, Answer], None] | None = None
        """Is called with every answer that is not an error, in the thread that made it."""

        self.on_outputs: Callable[[RunPlan, Sequence[np.ndarray]], None] | None = None
        """Is called with the outputs of every such answer; must not raise."""

        self.health: RunHealth = UNTRIED

    def at_once(self, call: Call, *, in_caller_thread: bool = False, since_s: float | None = None) -> Answer:
        """Answer in this thread; raises GivenUp, most likely while the body is read.

        `since_s` is when the call came, by the monotonic clock, if that was not now.
        """
        attempt = Attempt(self, call, since_s)
        attempt.read()
        attempt.run(in_caller_thread=in_caller_thread)
        attempt.write()
        return attempt.outcome

    async def in_steps(self, call: Call, steps: Steps) -> Answer:
        """Answer in steps that may wait; if the task is cancelled there is no answer, and none is counted."""
        attempt = Attempt(self, call)
        try:
            body = await self._respond_in_steps(attempt, steps)
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            attempt.fail(error)
        else:
            attempt.succeed(body)
        return attempt.outcome

    async def _respond_in_steps(self, attempt: Attempt, steps: Steps) -> bytes:
        call = attempt.call
        responder = RESPONDERS.get(call.method)
        if responder is not None:
            return responder(self.loaded.served, call.body)
        plan = await steps.read(self.planners[call.method], call)
        left_s = attempt.left_s(plan)
        attempt.meter.planned(plan)
        outputs = await steps.run(plan, call, left_s)
        attempt.ran()
        body = await steps.write(plan, outputs)
        if self.on_outputs is not None:
            self.on_outputs(plan, outputs)
        return body

    def run_failed(self, error: RuntimeFailure) -> None:
        """Judge the version by a run that failed; threads may count a run too few, which the next one makes up for."""
        before = self.health
        self.health = after_failure(before, error.code, str(error))
        problem = self.health.problem
        if problem is not None and not before.is_failing:
            served = self.loaded.served
            log.error("version_failing model=%s version=%d problem=%s", served.name, served.version, problem.message)


class AnsweringAside:
    """Answers copies of requests: nothing counts or logs them, and nothing judges the version by them.

    Implements `deployments.comparison.copy_runner.CopyAnswering`.
    """

    def __init__(self, loaded: Loaded, answers: AnswerSettings | None = None) -> None:
        self.served = loaded.served
        self._answering = Answering(loaded, answers, VersionMeter(loaded.served, Metrics()))

    def answer(self, call: Call) -> tuple[Answer, str]:
        """Answer in this thread alone; return the answer, and the signature that it is of. May raise GivenUp.

        Without batching: a copy never waits for others, and others never for a copy.
        """
        attempt = Attempt(self._answering, call)
        attempt.read()
        signature = attempt.signature
        attempt.run(in_caller_thread=not self.served.may_loop)
        attempt.write()
        return attempt.outcome, signature


class Attempt:
    """One call on its way to its answer, a failure included, which is counted; `answer` is None until there is one.

    The steps are taken in turn; one for which nothing is left to do does nothing. Each may raise GivenUp: then there is
    no answer, and none is counted.
    """

    __slots__ = ("_answering", "_outputs", "_plan", "_since_s", "answer", "call", "meter")

    def __init__(self, answering: Answering, call: Call, since_s: float | None = None) -> None:
        self._answering = answering
        self._since_s = time.monotonic() if since_s is None else since_s
        self._plan: RunPlan | None = None
        self._outputs: Sequence[np.ndarray] | None = None
        self.call = call
        self.meter = answering.meter.begin(call)
        self.answer: Answer | None = None

    def read(self) -> None:
        """Read the body, or answer where no run is needed."""
        call, served = self.call, self._answering.loaded.served
        responder = RESPONDERS.get(call.method)
        try:
            if responder is None:
                self._plan = self._answering.planners[call.method](served, call.body)
                return
            body = responder(served, call.body)
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            self.fail(error)
        else:
            self.succeed(body)

    def run(self, *, in_caller_thread: bool) -> None:
        """Run the model; in the caller's thread nobody watches the caller's deadline."""
        plan = self._plan
        if plan is None:
            return
        try:
            left_s = self.left_s(plan)
            timeout_ms = None if left_s is None or in_caller_thread else max(1, int(left_s * 1000))
            self.meter.planned(plan)
            self._outputs = self._answering.loaded.run(
                plan.feeds, plan.fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread
            )
            self.ran()
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            self.fail(error)

    def ran(self) -> None:
        """Count a run that succeeded."""
        self.meter.ran()
        if self._answering.health is not SOUND:
            self._answering.health = SOUND

    def write(self) -> None:
        """Print the outputs."""
        if self._outputs is None or self._plan is None:
            return
        try:
            body = self._plan.answer(self._outputs)
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            self.fail(error)
        else:
            self.succeed(body)
            on_outputs = self._answering.on_outputs
            if on_outputs is not None:
                on_outputs(self._plan, self._outputs)

    def left_s(self, plan: RunPlan) -> float | None:
        """Return what is left of the caller's time, or of what the request gives itself; None without a deadline.

        Raises DeadlineExceeded when the request's own time is up.
        """
        if plan.timeout_s is None and self.call.timeout_s is None:
            return None
        spent_s = time.monotonic() - self._since_s
        left_s = math.inf if self.call.timeout_s is None else self.call.timeout_s - spent_s
        if plan.timeout_s is None:
            return left_s
        if plan.timeout_s <= spent_s:
            raise DeadlineExceeded(TIMED_OUT)
        return min(left_s, plan.timeout_s - spent_s)

    def succeed(self, body: bytes) -> None:
        """End with a body."""
        answer = self.answer = Answer(Code.OK, body)
        self.meter.ended(Code.OK)
        on_answer = self._answering.on_answer
        if on_answer is not None:
            on_answer(self.call, answer)

    def fail(self, error: Exception) -> None:
        """End with the answer for a failure; GivenUp is none, and goes on to the caller."""
        if isinstance(error, GivenUp):
            raise error
        self.answer = failure_answer(self.call, error)
        self._plan = None
        if isinstance(error, RuntimeFailure):
            self._answering.run_failed(error)
        self.meter.ended(self.answer.code)

    @property
    def signature(self) -> str:
        """The signature that is to run; empty for a call that failed or needs none."""
        return "" if self._plan is None else self._plan.signature

    @property
    def outcome(self) -> Answer:
        """The answer, after all steps."""
        assert self.answer is not None  # noqa: S101 - every step ends with an answer, or leaves the next one something
        return self.answer


def failure_answer(call: Call, error: Exception) -> Answer:
    """Return the answer for a failed call; a defect of ours is logged too."""
    if isinstance(error, ServingError):
        return Answer.error(error.code, str(error))
    if isinstance(error, MemoryError):
        return Answer.error(Code.RESOURCE_EXHAUSTED, "The model server has not enough memory for this request.")
    log.error("call_failed method=%s", call.method.name, exc_info=error)
    return Answer.error(Code.INTERNAL, f"{type(error).__name__}: {error}")
