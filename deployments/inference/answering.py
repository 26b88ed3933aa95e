"""The steps from a call to its answer, with batching and without: read, run, print, count.

Every failure is an answer too. Without batching all steps take place in one thread; with batching the caller decides
where each of them does, so that the event loop is free in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from core.config.server_settings import AnswerSettings
from core.errors import Code, DeadlineExceeded, RuntimeFailure, ServingError
from core.inference.giving_up import GivenUp
from core.inference.run_plan import RunPlan
from core.methods import RESPONDERS, Planner, planners
from core.platforms.platform import Loaded
from core.routing.transport import TIMED_OUT, Answer, Call
from core.versions.run_health import SOUND, UNTRIED, RunHealth, after_failure
from deployments.inference.call_meter import CallMeter, VersionMeter

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
        self._loaded = loaded
        self._meter = meter or VersionMeter(loaded.served)
        self._planners = planners(answers or AnswerSettings())
        self.on_answer: Callable[[Call, Answer], None] | None = None
        """Is called with every answer that is not an error, in the thread that made it."""

        self.health: RunHealth = UNTRIED

    def at_once(self, call: Call, *, in_caller_thread: bool = False, since_s: float | None = None) -> Answer:
        """Answer in this thread; raises GivenUp while the body is read.

        `since_s` is when the call came, by the monotonic clock, if that was not now.
        """
        with _Attempt(self, self._meter.begin(call), call) as attempt:
            attempt.body = self._respond(call, attempt.meter, since_s, in_caller_thread=in_caller_thread)
        return attempt.answer

    def _respond(self, call: Call, meter: CallMeter, since_s: float | None, *, in_caller_thread: bool) -> bytes:
        responder = RESPONDERS.get(call.method)
        if responder is not None:
            return responder(self._loaded.served, call.body)
        began_s = time.monotonic()
        plan = self._planners[call.method](self._loaded.served, call.body)
        left_s = None if in_caller_thread else _left_s(call, began_s)
        if plan.timeout_s is not None:
            own_s = _own_left_s(plan.timeout_s, began_s if since_s is None else since_s)
            left_s = None if in_caller_thread else _sooner(left_s, own_s)
        timeout_ms = None if left_s is None else max(1, int(left_s * 1000))
        meter.planned(plan)
        outputs = self._loaded.run(plan.feeds, plan.fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread)
        meter.ran()
        if self.health is not SOUND:
            self.health = SOUND
        return plan.answer(outputs)

    async def in_steps(self, call: Call, steps: Steps) -> Answer:
        """Answer in steps that may wait; if the task is cancelled there is no answer, and none is counted."""
        with _Attempt(self, self._meter.begin(call), call) as attempt:
            attempt.body = await self._respond_in_steps(call, attempt.meter, steps)
        return attempt.answer

    async def _respond_in_steps(self, call: Call, meter: CallMeter, steps: Steps) -> bytes:
        responder = RESPONDERS.get(call.method)
        if responder is not None:
            return responder(self._loaded.served, call.body)
        began_s = time.monotonic()
        plan = await steps.read(self._planners[call.method], call)
        left_s = _left_s(call, began_s)
        if plan.timeout_s is not None:
            left_s = _sooner(left_s, _own_left_s(plan.timeout_s, began_s))
        meter.planned(plan)
        outputs = await steps.run(plan, call, left_s)
        meter.ran()
        if self.health is not SOUND:
            self.health = SOUND
        return await steps.write(plan, outputs)

    def run_failed(self, error: RuntimeFailure) -> None:
        """Judge the version by a run that failed; threads may count a run too few, which the next one makes up for."""
        before = self.health
        self.health = after_failure(before, error.code, str(error))
        problem = self.health.problem
        if problem is not None and not before.is_failing:
            served = self._loaded.served
            log.error("version_failing model=%s version=%d problem=%s", served.name, served.version, problem.message)


class _Attempt:
    """Context of one call: ends with its answer, a failure included, and counts it; GivenUp and cancellation pass."""

    __slots__ = ("_answering", "_call", "answer", "body", "meter")

    def __init__(self, answering: Answering, meter: CallMeter, call: Call) -> None:
        self._answering = answering
        self._call = call
        self.meter = meter
        self.body = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if error is None:
            self.answer = Answer(Code.OK, self.body)
        elif isinstance(error, Exception) and not isinstance(error, GivenUp):
            self.answer = failure_answer(self._call, error)
            if isinstance(error, RuntimeFailure):
                self._answering.run_failed(error)
        else:
            return False
        self.meter.ended(self.answer.code)
        on_answer = self._answering.on_answer
        if self.answer.code is Code.OK and on_answer is not None:
            on_answer(self._call, self.answer)
        return True


def failure_answer(call: Call, error: Exception) -> Answer:
    """Return the answer for a failed call; a defect of ours is logged too."""
    if isinstance(error, ServingError):
        return Answer.error(error.code, str(error))
    if isinstance(error, MemoryError):
        return Answer.error(Code.RESOURCE_EXHAUSTED, "The model server has not enough memory for this request.")
    log.error("call_failed method=%s", call.method.name, exc_info=error)
    return Answer.error(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _left_s(call: Call, began_s: float) -> float | None:
    """Return what is left of the caller's time after its body was read; None without a deadline."""
    return None if call.timeout_s is None else call.timeout_s - (time.monotonic() - began_s)


def _own_left_s(timeout_s: float, since_s: float) -> float:
    """Return what is left of the time that a request gave itself; raises DeadlineExceeded when that is nothing."""
    left_s = timeout_s - (time.monotonic() - since_s)
    if left_s <= 0:
        raise DeadlineExceeded(TIMED_OUT)
    return left_s


def _sooner(left_s: float | None, own_s: float) -> float:
    return own_s if left_s is None else min(left_s, own_s)
