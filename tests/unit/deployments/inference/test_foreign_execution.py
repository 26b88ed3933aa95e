"""How calls of code that may hang are worked on: never on the event loop, and never all behind one that hangs."""

from __future__ import annotations

import asyncio
import json
import threading

import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.errors import Code, DeadlineExceeded
from core.routing.transport import TIMED_OUT, Answer, Call, Method
from core.telemetry.trace_context import TraceContext
from core.versions.servable import ServableId
from deployments.inference.call_traces import CallTraces, TracedCalls
from deployments.inference.execution import SHORT_CALL_S
from deployments.inference.foreign_execution import ForeignExecution, _Worker
from deployments.routing.awaited_call import call_over
from deployments.telemetry.tracing import Tracer
from tests.support.direct_sites import connected, serving
from tests.support.fakes import FakeLoaded
from tests.support.served_models import half_plus_two
from tests.support.span_collector import SpanList

BODY = b'{"instances": [2.0, 4.0]}'
HANGS = b'{"instances": [9.0, 9.0]}'
ROUTE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
KIND = (Method.REST_PREDICT, len(BODY).bit_length())


class Model:
    """Halves and adds two; hangs for nines until it is released, and remembers its threads."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.hanging = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, fed: np.ndarray) -> np.ndarray:
        """Answer, or hang."""
        self.threads.append(threading.current_thread())
        if fed.flat[0] == 9:
            self.hanging.release()
            assert self.release.wait(30)
        return fed / 2 + 2


def call(body: bytes = BODY, timeout_s: float | None = None) -> Call:
    """Make a call."""
    return Call(Method.REST_PREDICT, body, timeout_s)


@pytest.fixture
def model():
    """No thread of it outlives the test."""
    made = Model()
    yield made
    made.release.set()


def executing(model: Model, threads: int = 2, *, short: bool = True) -> ForeignExecution:
    """Make an execution that knows its calls as short, or not yet."""
    execution = ForeignExecution(FakeLoaded(half_plus_two(), model), threads)
    if short:
        execution._expected_s[KIND] = 0.0
    return execution


async def hangs(model: Model) -> None:
    """Wait until a call hangs."""
    assert await asyncio.to_thread(model.hanging.acquire, timeout=30)


@pytest.mark.parametrize("short", [False, True])
async def test_no_call_runs_on_the_event_loop(model: Model, short) -> None:
    """Neither an unknown one nor one that is known to be short."""
    execution = executing(model, short=short)

    answer = await execution.call(call())

    assert (answer.code, json.loads(answer.body)) == (Code.OK, {"predictions": [3.0, 4.0]})
    assert threading.current_thread() not in model.threads
    assert model.threads[0].daemon
    execution.close()


async def test_short_calls_share_one_thread(model: Model) -> None:
    """A thread for each would fight for the interpreter."""
    execution = executing(model)

    answers = await asyncio.gather(*(execution.call(call()) for _ in range(50)))

    assert {answer.code for answer in answers} == {Code.OK}
    assert len(set(model.threads)) == 1
    assert execution.in_flight == 0
    execution.close()


async def test_calls_behind_one_that_hangs_are_answered(model: Model) -> None:
    """Another thread takes the lane; the one that hangs answers when it is through."""
    execution = executing(model)
    kept = asyncio.create_task(execution.call(call(HANGS)))
    await hangs(model)

    answers = await asyncio.gather(*(execution.call(call()) for _ in range(20)))

    assert {answer.code for answer in answers} == {Code.OK}
    assert not kept.done()
    model.release.set()
    assert (await kept).code is Code.OK
    execution.close()


async def test_a_call_whose_time_is_up_before_its_turn_is_dropped(model: Model) -> None:
    """With every thread of the lane kept, those behind wait, and are not run when nobody waits any more."""
    execution = executing(model, 1)
    kept = asyncio.create_task(execution.call(call(HANGS)))
    await hangs(model)
    late = asyncio.create_task(execution.call(call(timeout_s=0.0)))
    await asyncio.sleep(0)

    model.release.set()

    assert (await late) == Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT)
    assert (await kept).code is Code.OK
    assert len(model.threads) == 1
    execution.close()


async def test_a_caller_that_goes_leaves_nothing_behind(model: Model) -> None:
    """Its call is not answered, and counts as in flight no longer than it runs."""
    execution = executing(model)
    kept = asyncio.create_task(execution.call(call(HANGS)))
    await hangs(model)

    kept.cancel()
    with pytest.raises(asyncio.CancelledError):
        await kept
    model.release.set()
    await execution.call(call())

    while execution.in_flight:
        await asyncio.sleep(0.001)
    execution.close()


async def test_a_long_call_goes_to_the_pool(model: Model) -> None:
    """It would keep the lane from all others."""
    execution = executing(model)
    execution._expected_s[KIND] = 2 * SHORT_CALL_S

    await execution.call(call())

    assert model.threads[0].name == "run"
    execution.close()


async def test_threads_end_after_the_last_call(model: Model) -> None:
    """A thread that was replaced ends with its call, the others when the execution is closed."""
    execution = executing(model)
    kept = asyncio.create_task(execution.call(call(HANGS)))
    await hangs(model)
    await execution.call(call())
    model.release.set()
    await kept

    execution.close()

    await asyncio.to_thread(lambda: [one.join(30) for one in model.threads])
    assert not any(one.is_alive() for one in model.threads)


async def test_a_thread_that_lost_the_lane_while_it_slept_hands_its_call_on(model: Model) -> None:
    """It may have ended its long call just before it was replaced, and be the one that is woken."""
    execution = executing(model)
    await execution.call(call())
    lane = execution._lane
    for _ in range(5):
        lane._workers[-1].has_lane = False
        lane._workers.append(_Worker(lane, asyncio.get_running_loop()))
        async with asyncio.timeout(30):
            assert (await execution.call(call())).code is Code.OK
    execution.close()


async def test_an_error_of_the_model_is_an_answer(model: Model) -> None:
    """The thread goes on."""
    execution = executing(model)

    wrong = await execution.call(call(b'{"instances": "text"}'))

    assert wrong.code is Code.INVALID_ARGUMENT
    assert (await execution.call(call())).code is Code.OK
    execution.close()


class Taking:
    """An execution as the taker of a server of the direct transport."""

    def __init__(self, execution: ForeignExecution) -> None:
        self.group_size = execution.group_size
        self.submit_together = execution.submit_together
        self.drop = execution.drop

    def release(self) -> None:
        """Nothing is held here."""


@pytest.mark.parametrize("short", [False, True])
async def test_callers_hear_at_their_deadline_while_the_thread_hangs(model: Model, short) -> None:
    """Over the direct transport, where other calls of the same connection are answered meanwhile."""
    execution = executing(model, short=short)
    async with serving(Taking(execution)) as (_, endpoint):
        connection = await connected(endpoint)
        late = asyncio.create_task(call_over(connection, call(HANGS, timeout_s=0.2)))
        await hangs(model)

        assert (await call_over(connection, call(timeout_s=30.0))).code is Code.OK
        with pytest.raises(DeadlineExceeded):
            await late

        assert not model.release.is_set()
        connection.close()
    execution.close()


async def test_traced_calls_of_the_lane_have_their_spans(model: Model) -> None:
    """A wait and a run below the call, made in the thread of the lane."""
    spans = SpanList()
    traces = CallTraces(Tracer(0.0, spans), ServableId("m", 3))
    execution = traces.execution(FakeLoaded(half_plus_two(), model), 2, AnswerSettings(), ForeignExecution)
    execution._expected_s[KIND] = 0.0

    answer = await TracedCalls(execution, traces).call(Call(Method.REST_PREDICT, BODY, None, ROUTE))

    assert answer.code is Code.OK
    assert sorted(one.name for one in spans.spans) == ["call", "queue", "run"]
    assert model.threads[0].name == "lane"
    execution.close()
