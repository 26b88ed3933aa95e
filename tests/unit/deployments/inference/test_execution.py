"""Tests of how a model server works on its calls, with a model that needs no TensorFlow."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.errors import Code, FailedPrecondition
from core.inference import run_plan
from core.inference.call_groups import LONGEST_GROUP_S
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.routing.transport import TIMED_OUT, Answer, Call, Method
from core.routing.waiting_line import WaitingLine
from core.telemetry.metric_names import DROPPED_REQUESTS, FULL, REFUSED_REQUESTS
from deployments.inference import execution as execution_module
from deployments.inference.answering import LONGEST_ON_LOOP_S
from deployments.inference.direct_server import Arrival
from deployments.inference.execution import WITHDRAWN_AS_EXPIRED_S, Execution
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeLoaded
from tests.support.infer_bodies import infer_call
from tests.support.served_models import half_plus_two

BODY = b'{"instances": [2.0, 4.0]}'
PREDICTIONS = {"predictions": [3.0, 4.0]}


class JumpingClock:
    """The clock that calls are measured with, which can be put ahead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        monkeypatch.setattr(execution_module, "time", self)

    def perf_counter(self) -> float:
        """Return the time that is measured."""
        return time.perf_counter() + self.ahead_s

    def monotonic(self) -> float:
        """Return the time of deadlines."""
        return time.monotonic()


class Gate:
    """A model function that waits until it may go on."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()

    def __call__(self, fed: np.ndarray) -> np.ndarray:
        """Halve and add two, once allowed."""
        self.entered.release()
        assert self.may_go_on.wait(60)
        return fed / 2 + 2


def predict(timeout_s: float | None = None, body: bytes = BODY) -> Call:
    """Make a call."""
    return Call(Method.REST_PREDICT, body, timeout_s)


@pytest.fixture
def loaded() -> FakeLoaded:
    """Half plus two."""
    return FakeLoaded(half_plus_two())


@pytest.fixture
def execution(loaded):
    """An execution with one thread."""
    made = Execution(loaded, 1)
    yield made
    made.close()


def gated() -> tuple[Execution, Gate]:
    """Make an execution whose runs wait."""
    gate = Gate()
    return Execution(FakeLoaded(half_plus_two(), gate), 1), gate


def dropped(reason: str) -> float:
    """Read how many calls of the model were dropped so far."""
    return METRICS.counter(DROPPED_REQUESTS, half_plus_two().name, reason).value


async def entered(gate: Gate) -> None:
    """Wait until a run has begun."""
    assert await asyncio.to_thread(gate.entered.acquire, timeout=60)


async def test_a_call_is_parsed_run_and_printed(execution) -> None:
    """The answer is the response body."""
    answer = await execution.call(predict())

    assert answer.code is Code.OK
    assert json.loads(answer.body) == PREDICTIONS


@pytest.mark.parametrize("body", [bytearray(BODY), bytearray(b'{"instances": [%b]}' % b",".join([b"2.0"] * 99999))])
async def test_a_body_may_be_the_memory_it_was_received_into(execution, body) -> None:
    """Large bodies come as bytearray and are not copied."""
    answer = await execution.call(predict(body=body))

    assert answer.code is Code.OK


async def test_a_question_about_the_model_runs_nothing(execution, loaded) -> None:
    """Metadata is answered from the signatures."""
    answer = await execution.call(Call(Method.REST_METADATA, b""))

    assert json.loads(answer.body)["model_spec"] == {"name": "h2", "signature_name": "", "version": "123"}
    assert loaded.runs == []


async def test_short_calls_run_on_the_event_loop_once_they_are_known_to_be_short(execution, loaded) -> None:
    """The first of its kind goes to a thread; a quick one is answered before `submit` returns."""
    await execution.call(predict())
    assert loaded.runs == [(None, False)]
    execution._expected_s = dict.fromkeys(execution._expected_s, 0.0)

    answers: list[Answer] = []
    assert execution.submit(predict(60.0), answers.append) is None

    assert json.loads(answers[0].body) == PREDICTIONS
    assert loaded.runs[1] == (None, True)


async def test_what_is_expected_follows_what_is_measured(execution) -> None:
    """A kind that has become slow leaves the event loop; kinds differ by method and size."""
    await execution.call(predict())
    ((kind, first_s),) = execution._expected_s.items()
    assert kind == (Method.REST_PREDICT, len(BODY).bit_length())
    execution._expected_s[kind] = first_s + 100.0

    await execution.call(predict())

    assert first_s < execution._expected_s[kind] < first_s + 100.0


async def test_the_callers_time_reaches_the_run(execution, loaded) -> None:
    """TensorFlow gets what is left of it, at least a millisecond."""
    await execution.call(predict(60.0))

    ((timeout_ms, _),) = loaded.runs
    assert 1 <= timeout_ms <= 60_000


async def test_the_time_that_a_request_gives_itself_passes_while_it_waits() -> None:
    """It is not run when a thread comes to it too late."""
    execution, gate = gated()
    first = asyncio.ensure_future(execution.call(predict()))
    await entered(gate)
    replied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    own = infer_call("rest json", {"x": np.array([[2.0]], np.float32)}, parameters={"timeout": 60_000_000})
    ticket = execution.submit(own, replied.set_result)
    assert ticket is not None

    ticket.begins_at -= 61
    gate.may_go_on.set()

    assert await replied == Answer(Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    assert (await first).code is Code.OK
    execution.close()


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (FailedPrecondition("not now"), Code.FAILED_PRECONDITION, b"not now"),
        (MemoryError(), Code.RESOURCE_EXHAUSTED, b"The model server has not enough memory for this request."),
        (KeyError("y"), Code.INTERNAL, b"KeyError: 'y'"),
        (RuntimeError("odd \ud800 text"), Code.INTERNAL, b"RuntimeError: odd ? text"),
        (RuntimeError("raw \udcff byte"), Code.INTERNAL, b"RuntimeError: raw \xff byte"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("expected_s", [1.0, 0.0], ids=["in_thread", "on_loop"])
async def test_every_failure_is_an_answer(execution, loaded, error, code, text, expected_s) -> None:
    """No caller waits for an answer that never comes, whatever the text of the error."""

    def fail(_: np.ndarray) -> np.ndarray:
        raise error

    loaded._function = fail
    execution._expected_s[Method.REST_PREDICT, len(BODY).bit_length()] = expected_s

    assert await execution.call(predict()) == Answer(code, text)
    assert execution.in_flight == 0


async def test_an_answer_that_cannot_travel_is_an_error_and_not_a_broken_connection(monkeypatch) -> None:
    """Other calls of the connection go on."""
    monkeypatch.setattr(run_plan, "LARGEST_ANSWER_BYTES", 8)
    execution = Execution(FakeLoaded(half_plus_two()), threads=1)

    answer = await execution.call(predict())

    assert answer == Answer(Code.RESOURCE_EXHAUSTED, b"The model's answer is larger than 8 bytes, the most one can be.")
    execution.close()


async def test_a_malformed_request_is_the_callers_mistake(execution) -> None:
    """The text is that of the parser."""
    answer = await execution.call(predict(body=b"{}"))

    assert answer == Answer(Code.INVALID_ARGUMENT, b"Missing 'inputs' or 'instances' key")


async def test_a_call_whose_caller_has_gone_before_its_turn_is_dropped() -> None:
    """It costs no run, and no answer is given."""
    execution, gate = gated()
    answers: list[Answer] = []
    first = execution.submit(predict(), answers.append)
    await entered(gate)
    second = execution.submit(predict(), answers.append)
    assert (first is not None, second is not None, execution.in_flight) == (True, True, 2)

    before = dropped("cancelled")
    second.cancel()
    assert (execution.in_flight, dropped("cancelled") - before) == (1, 1)
    gate.may_go_on.set()
    await execution.call(predict())

    assert len(answers) == 1
    assert execution.in_flight == 0
    execution.close()


async def test_the_body_of_a_withdrawn_call_is_released_while_other_runs_go_on() -> None:
    """Calls that are sent and withdrawn pile nothing up behind a long run."""
    execution, gate = gated()
    first = asyncio.ensure_future(execution.call(predict()))
    await entered(gate)
    ticket = execution.submit(predict(body=bytes(1000)), lambda _: None)
    body = ticket.call.body

    ticket.cancel()

    assert not [one for one in gc.get_referrers(body) if isinstance(one, Call)]
    gate.may_go_on.set()
    await first
    execution.close()


async def test_a_call_whose_caller_goes_during_its_run_gets_no_answer() -> None:
    """The run itself cannot be stopped; its result is dropped."""
    execution, gate = gated()
    call = asyncio.ensure_future(execution.call(predict()))
    await entered(gate)

    call.cancel()
    gate.may_go_on.set()
    await execution.call(predict())

    assert call.cancelled()
    assert execution.in_flight == 0
    execution.close()


async def test_a_call_whose_time_is_up_before_its_turn_is_not_run() -> None:
    """It is answered as a time-out as soon as a thread is free."""
    execution, gate = gated()
    first = asyncio.ensure_future(execution.call(predict()))
    await entered(gate)
    late: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    ticket = execution.submit(predict(60.0), late.set_result)
    ticket.ends_at = ticket.begins_at

    before = dropped("expired")
    gate.may_go_on.set()

    assert await late == Answer(Code.DEADLINE_EXCEEDED, b"Timed out waiting for notification")
    assert (await first).code is Code.OK
    assert (dropped("expired") - before, len(execution._loaded.runs)) == (1, 1)
    execution.close()


async def test_a_ticket_cancelled_in_the_last_moment_is_dropped(execution, loaded) -> None:
    """Its thread has begun, the model has not."""
    ticket = execution.submit(predict(), lambda _: None)
    ticket.cancelled = True
    before = dropped("cancelled")

    assert execution._begin(predict(), (Method.REST_PREDICT, 1), ticket).code is Code.CANCELLED
    assert dropped("cancelled") - before == 1


async def test_a_call_that_is_withdrawn_at_its_deadline_has_expired() -> None:
    """Its caller and its router notice that a moment before the model server does."""
    execution, gate = gated()
    first = asyncio.ensure_future(execution.call(predict()))
    await entered(gate)
    late = execution.submit(predict(WITHDRAWN_AS_EXPIRED_S / 2), lambda _: None)
    before = dropped("expired")

    late.cancel()

    assert dropped("expired") - before == 1
    gate.may_go_on.set()
    await first
    execution.close()


async def test_calls_in_threads_run_side_by_side() -> None:
    """As many as there are threads."""
    gate = Gate()
    execution = Execution(FakeLoaded(half_plus_two(), gate), 2)
    calls = [asyncio.ensure_future(execution.call(predict())) for _ in range(2)]
    await entered(gate)
    await entered(gate)
    assert execution.in_flight == 2

    gate.may_go_on.set()

    assert [json.loads((await call).body) for call in calls] == [PREDICTIONS] * 2
    execution.close()


class Stages:
    """The stages of calls, noted; each call is known by the number that it asks about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, function: Callable[[np.ndarray], np.ndarray] | None = None):
        self.noted: list[tuple[str, float]] = []
        self.threads: set[tuple[float, bool]] = set()
        self.function = function or (lambda fed: fed / 2 + 2)
        self.loaded = FakeLoaded(half_plus_two(), self._run)
        self.execution = Execution(self.loaded, 1)
        self.answers: dict[float, Answer] = {}
        plan = self.execution.answering.planners[Method.REST_PREDICT]

        def noted(served: ServedModel, body: bytes) -> RunPlan:
            planned = plan(served, body)
            (fed,) = planned.feeds.values()
            number = float(fed[0])
            self.noted.append(("read", number))
            self.threads.add((number, threading.current_thread() is threading.main_thread()))

            def encode(outputs: Sequence[np.ndarray]) -> bytes:
                self.noted.append(("write", number))
                return planned.encode(outputs)

            return planned._replace(encode=encode)

        monkeypatch.setattr(self.execution.answering, "planners", {Method.REST_PREDICT: noted})

    def _run(self, fed: np.ndarray) -> np.ndarray:
        self.noted.append(("run", float(fed[0])))
        return self.function(fed)

    def arrival(
        self, number: float, timeout_s: float | None = None, body: bytes = b"", waited_s: float = 0.0
    ) -> Arrival:
        """Make a call that asks about a number."""
        body = body or b'{"instances": [%.1f]}' % number

        def reply(answer: Answer) -> None:
            self.noted.append(("reply", number))
            self.answers[number] = answer

        return Arrival(predict(timeout_s, body), reply, time.monotonic() - waited_s)

    def expects(self, expected_s: float, arrival: Arrival) -> Arrival:
        """Let calls like this one be expected to take so long."""
        self.execution._expected_s[arrival.call.method, len(arrival.call.body).bit_length()] = expected_s
        return arrival

    async def answered(self, count: int) -> None:
        """Wait for so many answers."""
        while len(self.answers) < count:
            await asyncio.sleep(0.001)


@pytest.fixture
def stages(monkeypatch):
    """Half plus two, whose calls are expected to be short."""
    made = Stages(monkeypatch)
    made.expects(0.0, made.arrival(1.0))
    yield made
    made.execution.close()


LONG_BODY = b'{"instances": [8.0], "signature_name": "serving_default"}'
"""Of another size than the other calls, so it may be expected to take longer."""


async def test_calls_that_came_together_are_read_then_run_then_printed(stages: Stages) -> None:
    """Each stage of all before the next one: the code of a stage stays in the processor's caches."""
    calls = [stages.arrival(number) for number in (1.0, 2.0, 3.0)]

    tickets = stages.execution.submit_together(calls)

    assert stages.noted == [
        (stage, number) for stage in ("read", "run", "write", "reply") for number in (1.0, 2.0, 3.0)
    ]
    assert tickets == [None] * 3
    assert {number: json.loads(answer.body) for number, answer in stages.answers.items()} == {
        number: {"predictions": [number / 2 + 2]} for number in (1.0, 2.0, 3.0)
    }
    assert {in_caller_thread for _, in_caller_thread in stages.loaded.runs} == {True}


async def test_a_long_call_is_left_to_a_thread_and_keeps_no_short_one_waiting(stages: Stages) -> None:
    """It takes no room in the group, and the others are answered before it is."""
    may_go_on = threading.Event()
    stages.function = lambda fed: fed if fed[0] != 8.0 else (may_go_on.wait(60), fed)[1]
    calls = [stages.expects(1.0, stages.arrival(8.0, body=LONG_BODY)), stages.arrival(1.0), stages.arrival(2.0)]

    assert stages.execution.group_size(calls) == 3
    tickets = stages.execution.submit_together(calls)

    assert set(stages.answers) == {1.0, 2.0}
    assert [one is None for one in tickets] == [False, True, True]
    may_go_on.set()
    await stages.answered(3)
    assert (8.0, False) in stages.threads


async def test_two_calls_that_are_nearly_long_are_not_worked_on_together(stages: Stages) -> None:
    """The tiny ones before them are answered first, and none of them waits for more than one of those."""
    tiny = [stages.expects(LONGEST_GROUP_S / 100, stages.arrival(1.0)), stages.arrival(2.0)]
    nearly_long = [stages.expects(0.9 * LONGEST_GROUP_S, stages.arrival(8.0, body=LONG_BODY))] * 2

    sizes, waiting = [], [*nearly_long, *tiny, *nearly_long, *tiny]
    while waiting:
        sizes.append(stages.execution.group_size(waiting))
        del waiting[: sizes[-1]]

    assert sizes == [1, 3, 1, 3]


@pytest.mark.parametrize("bad", [b'{"instances": ["a"]}', b'{"instances": 2.0', b'{"instances": [9.0]}'])
async def test_a_call_that_fails_concerns_no_other_of_its_group(stages: Stages, bad: bytes) -> None:
    """Whether it cannot be read or cannot be run."""

    def function(fed: np.ndarray) -> np.ndarray:
        if fed[0] == 9.0:
            raise FailedPrecondition("not nine")
        return fed

    stages.function = function

    stages.execution.submit_together([stages.arrival(1.0), stages.arrival(9.0, body=bad), stages.arrival(2.0)])

    assert [stages.answers[number].code is Code.OK for number in (1.0, 9.0, 2.0)] == [True, False, True]


async def test_a_call_whose_time_is_up_before_its_group_is_not_worked_on(stages: Stages) -> None:
    """It waited for its turn behind others; those of its group are answered."""
    before = dropped("expired")

    late, good = stages.arrival(1.0, 0.5, waited_s=1.0), stages.arrival(2.0, 5.0, waited_s=1.0)
    tickets = stages.execution.submit_together([late, good])

    assert stages.answers[1.0] == Answer(Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    assert (stages.answers[2.0].code, tickets) == (Code.OK, [None, None])
    assert ("read", 1.0) not in stages.noted
    assert dropped("expired") == before + 1


@pytest.mark.parametrize(("timeout_s", "reason"), [(None, "cancelled"), (5.0, "cancelled"), (0.02, "expired")])
async def test_a_call_that_is_withdrawn_before_its_turn_is_counted(stages: Stages, timeout_s, reason: str) -> None:
    """As one that waited for a thread is."""
    before = dropped(reason)

    stages.execution.drop(stages.arrival(1.0, timeout_s))

    assert (dropped(reason), stages.noted) == (before + 1, [])


async def test_calls_of_a_model_with_loops_never_keep_the_event_loop(stages: Stages) -> None:
    """However short those before were: the next one may take hours, and its deadline is watched in a thread alone."""
    served = replace(stages.loaded.served, may_loop=True)
    execution = Execution(FakeLoaded(served), 1)
    arrivals = [stages.arrival(number, timeout_s=60.0) for number in (1.0, 2.0, 3.0)]
    for arrival in arrivals:
        assert execution.group_size([arrival]) == 1
        assert execution.submit_together([arrival])[0] is not None
        await stages.answered(len(stages.answers) + 1)

    assert {answer.code for answer in stages.answers.values()} == {Code.OK}
    execution.close()


@pytest.mark.parametrize("slow", ["read", "run", "write"])
async def test_a_stage_that_takes_too_long_leaves_the_other_calls_to_threads(
    stages: Stages, monkeypatch, slow: str
) -> None:
    """A call that turned out long keeps the loop once, not all of its kind; what was run is not run again."""
    runs: list[float] = []
    clock = JumpingClock(monkeypatch)
    planned = stages.execution.answering.planners[Method.REST_PREDICT]

    def jump(stage: str, number: float) -> None:
        if (stage, number) == (slow, 1.0):
            clock.ahead_s += 2 * LONGEST_ON_LOOP_S

    def reading(served: ServedModel, body: bytes) -> RunPlan:
        plan = planned(served, body)
        number = float(next(iter(plan.feeds.values()))[0])
        jump("read", number)

        def encode(outputs: Sequence[np.ndarray]) -> bytes:
            jump("write", number)
            return plan.encode(outputs)

        return plan._replace(encode=encode)

    monkeypatch.setattr(stages.execution.answering, "planners", {Method.REST_PREDICT: reading})

    def run(fed: np.ndarray) -> np.ndarray:
        runs.append(float(fed[0]))
        jump("run", runs[-1])
        return fed

    stages.function = run

    tickets = stages.execution.submit_together([stages.arrival(number) for number in (1.0, 2.0, 3.0)])

    are_printed = slow == "write"
    assert set(stages.answers) == ({1.0, 2.0, 3.0} if are_printed else {1.0})
    assert [one is None for one in tickets] == [True, are_printed, are_printed]
    await stages.answered(3)
    assert runs == [1.0, 2.0, 3.0]
    assert {answer.code for answer in stages.answers.values()} == {Code.OK}
    assert stages.execution.in_flight == 0


def refused_full() -> float:
    """Return how many calls were refused so far because the line was full."""
    return METRICS.snapshot().counters.get(REFUSED_REQUESTS.name, {}).get(("h2", FULL), 0)


async def test_only_a_set_number_of_calls_waits_for_a_thread() -> None:
    """The next one is refused at once, and neither runs nor waits."""
    execution, gate = gated()
    execution.line = WaitingLine(2)
    before = refused_full()
    waiting = [asyncio.create_task(execution.call(numbered(number))) for number in range(3)]
    await entered(gate)

    refused = await execution.call(numbered(3))

    assert (refused.code, "max_queued_requests" in refused.text) == (Code.UNAVAILABLE, True)
    assert refused_full() == before + 1
    gate.may_go_on.set()
    assert [answer.code for answer in await asyncio.gather(*waiting)] == [Code.OK] * 3
    assert execution.in_flight == 0
    assert (await execution.call(numbered(4))).code is Code.OK
    execution.close()


async def test_a_call_that_would_wait_beyond_its_deadline_is_refused() -> None:
    """Its caller learns at once what it would learn at its deadline, and the line stays short without a setting."""
    execution, gate = gated()
    for number in range(101):
        execution.line.ended(1000, time.monotonic() - 2.0 + number / 50)
    waiting = [asyncio.create_task(execution.call(numbered(number))) for number in range(2)]
    await entered(gate)

    late = await execution.call(Call(Method.REST_PREDICT, BODY, 0.01))
    in_time = asyncio.create_task(execution.call(Call(Method.REST_PREDICT, BODY, 30.0)))
    await asyncio.sleep(0)

    assert late.code is Code.UNAVAILABLE
    assert not in_time.done()
    gate.may_go_on.set()
    assert {answer.code for answer in await asyncio.gather(*waiting, in_time)} == {Code.OK}
    execution.close()


def numbered(number: int) -> Call:
    """Make a call of a kind that has no deadline."""
    return Call(Method.REST_PREDICT, b'{"instances": [%d.0]}' % number)
