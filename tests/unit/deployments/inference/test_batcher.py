"""Batching with a model that needs no TensorFlow: who shares a run, who waits, who fails."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Self

import numpy as np
import pytest
from ray import serve

from core.config.model_config import BatchingParameters
from core.errors import (
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    RuntimeFailure,
    ServingError,
    Unavailable,
)
from core.inference.run_plan import RunPlan
from core.telemetry.metric_names import (
    BATCH_INPUT_SIZE,
    BATCH_PADDING_SIZE,
    BATCH_PROCESSED_SIZE,
    BATCH_QUEUING_LATENCY,
    BATCH_RUN_COUNT,
    DROPPED_REQUESTS,
    QUEUE_LENGTH,
)
from deployments.inference.batcher import Batcher, HandOver, Work, through_serve
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeClock

QUEUE_TIMEOUT = "Run() timeout exceeded while waiting in batching queue"
POISON = 666.0
Outputs = list[np.ndarray]


def directly(work: Work, limit: int, slots: int) -> HandOver:
    """Hand batches over without Serve, which wants a replica around it."""
    del limit, slots
    return work


class FakeRun:
    """Doubles its only input, remembers what it was asked, and fails for rows that hold poison."""

    def __init__(self) -> None:
        self.fed: list[list] = []
        self.timeouts: list[int | None] = []
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.answer: Callable[[np.ndarray], np.ndarray] = lambda x: x * 2

    def __call__(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], *, timeout_ms: int | None = None
    ) -> Outputs:
        (x,) = feeds.values()
        self.fed.append(x.tolist())
        self.timeouts.append(timeout_ms)
        self.entered.release()
        assert self.may_go_on.wait(60)
        if (x == POISON).any():
            raise InvalidArgument("poisoned")
        return [self.answer(x) for _ in fetches]

    @property
    def sizes(self) -> list[int]:
        """Rows of each run."""
        return [len(rows) for rows in self.fed]


def plan(*rows: float, shape: tuple[int, ...] = (), name: str = "x", fetches: tuple[str, ...] = ("y",)) -> RunPlan:
    """Make a request of these rows, each a number or a block of that shape."""
    array = np.array(rows, np.float32)
    if shape:
        array = np.repeat(array, math.prod(shape)).reshape(len(rows), *shape)
    return RunPlan({name: array}, fetches, lambda _: b"")


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def batcher_of(run: FakeRun):
    """Make batchers that end with the test."""
    made: list[Batcher] = []

    def make(parameters: BatchingParameters | None = None, **options: object) -> Batcher:
        chosen = parameters or BatchingParameters(max_batch_size=8, num_batch_threads=1)
        made.append(Batcher(run, chosen, **({"served": ("m", "1"), "through": directly} | options)))
        return made[-1]

    yield make
    run.may_go_on.set()
    for one in made:
        one.close()


async def entered(run: FakeRun) -> None:
    """Wait until a run has begun."""
    assert await asyncio.to_thread(run.entered.acquire, timeout=60)


class Busy:
    """All slots taken: what is asked in the meantime waits together."""

    def __init__(self, batcher: Batcher, run: FakeRun) -> None:
        self.batcher, self.run = batcher, run

    async def __aenter__(self) -> Self:
        self.run.may_go_on.clear()
        self.first = asyncio.ensure_future(self.batcher.run(plan(1.0)))
        await entered(self.run)
        return self

    async def ask(self, *plans: RunPlan, timeout_s: float | None = None) -> list[asyncio.Future[Outputs]]:
        """Let requests wait."""
        asked = [asyncio.ensure_future(self.batcher.run(one, timeout_s)) for one in plans]
        for _ in range(2):
            await asyncio.sleep(0)
        return asked

    async def __aexit__(self, *error: object) -> None:
        self.run.may_go_on.set()
        await self.first


async def outcome(asked: Awaitable[Outputs]) -> list | ServingError:
    """Return the first output, or the error."""
    try:
        return (await asked)[0].tolist()
    except ServingError as error:
        return error


async def test_a_request_alone_runs_at_once(batcher_of, run) -> None:
    """Nobody waits for others while a slot is free and no time was given."""
    assert await outcome(batcher_of().run(plan(1.0, 2.0))) == [2.0, 4.0]
    assert run.fed == [[1.0, 2.0]]


async def test_what_arrives_together_runs_together(batcher_of, run) -> None:
    """Even when a slot is free."""
    batcher = batcher_of()

    answers = await asyncio.gather(*(outcome(batcher.run(plan(float(number)))) for number in range(5)))

    assert answers == [[0.0], [2.0], [4.0], [6.0], [8.0]]
    assert run.sizes == [5]


async def test_under_load_batches_fill_up_until_a_slot_is_free(batcher_of, run) -> None:
    """With timeout 0 too: that is what makes batching pay."""
    async with Busy(batcher_of(), run) as busy:
        asked = await busy.ask(*(plan(float(number)) for number in range(11)))

    assert [await outcome(one) for one in asked] == [[2.0 * number] for number in range(11)]
    assert run.sizes == [1, 8, 3]


async def test_an_open_batch_waits_for_its_time(batcher_of, run) -> None:
    """And runs without being full when it is over."""
    batcher = batcher_of(BatchingParameters(max_batch_size=8, batch_timeout_micros=20_000, num_batch_threads=2))

    first = asyncio.ensure_future(batcher.run(plan(1.0)))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(batcher.run(plan(2.0)))

    assert [await outcome(first), await outcome(second)] == [[2.0], [4.0]]
    assert run.sizes == [2]


async def test_a_full_batch_does_not_wait_for_its_time(batcher_of) -> None:
    """The time would be longer than this test may take."""
    batcher = batcher_of(BatchingParameters(max_batch_size=2, batch_timeout_micros=10**9, num_batch_threads=1))

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0))) for _ in range(2)))

    assert answers == [[2.0], [2.0]]


@pytest.mark.parametrize(
    ("parameters", "threads"), [(BatchingParameters(4, num_batch_threads=2), 1), (BatchingParameters(4), 2)]
)
async def test_as_many_batches_run_as_there_are_threads(batcher_of, run, parameters, threads) -> None:
    """Over all queues of a version; without a number, one for each CPU."""
    batcher = batcher_of(parameters, threads=threads)
    run.may_go_on.clear()
    asked = [asyncio.ensure_future(batcher.run(plan(1.0, name=name))) for name in "abc"]
    await entered(run)
    await entered(run)

    assert (len(run.fed), batcher._schedule.waiting) == (2, 1)
    run.may_go_on.set()
    assert [await outcome(one) for one in asked] == [[2.0]] * 3


async def test_a_request_without_rows_is_answered(batcher_of) -> None:
    """Alone and among others (in TensorFlow Serving it hangs until another one comes)."""
    batcher = batcher_of()
    assert await outcome(batcher.run(plan())) == []

    assert await asyncio.gather(*(outcome(batcher.run(one)) for one in (plan(), plan(3.0), plan()))) == [[], [6.0], []]


async def test_a_bad_request_fails_alone(batcher_of, run) -> None:
    """The run is repeated in halves, so many good neighbours cost few runs."""
    async with Busy(batcher_of(BatchingParameters(64, num_batch_threads=1)), run) as busy:
        asked = await busy.ask(*(plan(POISON if number == 5 else float(number)) for number in range(32)))

    answers = [await outcome(one) for one in asked]
    assert str(answers.pop(5)) == "poisoned"
    assert answers == [[2.0 * number] for number in range(32) if number != 5]
    assert len(run.fed) == 1 + 1 + 2 * 5


async def test_a_defect_fails_alone_too(batcher_of, run) -> None:
    """Whatever the model raises."""

    def break_down(x: np.ndarray) -> np.ndarray:
        if 7.0 in x:
            raise KeyError("y")
        return x

    run.answer = break_down
    batcher = batcher_of()

    good, bad = await asyncio.gather(batcher.run(plan(1.0)), batcher.run(plan(7.0)), return_exceptions=True)

    assert good[0].tolist() == [1.0]
    assert isinstance(bad, KeyError)


async def test_too_large_a_batch_for_the_memory_is_tried_in_halves(batcher_of, run) -> None:
    """So that a batch size that was set too high costs time, not answers."""

    def need_memory(x: np.ndarray) -> np.ndarray:
        if len(x) > 2:
            raise RuntimeFailure(Code.RESOURCE_EXHAUSTED, "OOM when allocating tensor")
        return x

    run.answer = need_memory
    batcher = batcher_of()

    answers = await asyncio.gather(*(outcome(batcher.run(plan(float(number)))) for number in range(4)))

    assert answers == [[0.0], [1.0], [2.0], [3.0]]
    assert run.sizes == [4, 2, 2]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(lambda x: x.sum(), "Batched output tensor has 0 dimensions", id="case_N23"),
        pytest.param(lambda x: x[:0], "Batched output tensor's 0th dimension does not equal", id="not_per_row"),
    ],
)
async def test_outputs_that_are_not_per_row_are_refused(batcher_of, run, answer, message) -> None:
    """For every request of the batch."""
    run.answer = answer
    batcher = batcher_of()

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0))) for _ in range(3)))

    assert {type(one) for one in answers} == {FailedPrecondition}
    assert all(str(one).startswith(message) for one in answers)


async def test_case_N3_a_request_larger_than_a_batch(batcher_of, run) -> None:
    """It never gets into the queue."""
    answer = await outcome(batcher_of(BatchingParameters(3)).run(plan(*[1.0] * 4)))

    assert str(answer) == "Task size 4 is larger than maximum input batch size 3"
    assert (type(answer), run.fed) == (InvalidArgument, [])


async def test_case_N5_rows_of_different_shape_without_padding(batcher_of, run) -> None:
    """They are answered in batches of their own, where TensorFlow Serving fails both."""
    async with Busy(batcher_of(), run) as busy:
        asked = await busy.ask(plan(1.0, shape=(2,)), plan(2.0, shape=(3,)), plan(3.0, shape=(2,)))

    assert [await outcome(one) for one in asked] == [[[2.0, 2.0]], [[4.0, 4.0, 4.0]], [[6.0, 6.0]]]
    assert run.fed[1:] == [[[1.0, 1.0], [3.0, 3.0]], [[2.0, 2.0, 2.0]]]


async def test_rows_of_different_shape_with_padding_share_a_run(batcher_of, run) -> None:
    """And get answers as wide as the widest, as in TensorFlow Serving."""
    batcher = batcher_of(BatchingParameters(8, pad_variable_length_inputs=True))

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0, shape=(width,)))) for width in (1, 3)))

    assert answers == [[[2.0, 2.0, 2.0]], [[2.0, 2.0, 2.0]]]
    assert len(run.fed) == 1


async def test_a_request_that_cannot_be_padded_runs_alone(batcher_of, run) -> None:
    """It spoils nobody's answer, not even its own."""
    batcher = batcher_of(BatchingParameters(8, pad_variable_length_inputs=True))

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0, shape=(width,)))) for width in (0, 2)))

    assert answers == [[[]], [[2.0, 2.0]]]
    assert run.fed == [[[]], [[1.0, 1.0]]]


async def test_case_N8_a_combination_that_no_signature_declares(batcher_of, run) -> None:
    """Any tensors can be batched; different outputs are different queues."""
    batcher = batcher_of()

    both, one = await asyncio.gather(batcher.run(plan(1.0, fetches=("y", "z"))), batcher.run(plan(1.0)))

    assert (len(both), len(one)) == (2, 1)
    assert run.sizes == [1, 1]


@pytest.mark.parametrize(
    ("allowed", "rows", "fed", "padding"),
    [
        pytest.param((2, 4), [5.0, 6.0], [5.0, 6.0], 0, id="case_N10"),
        pytest.param((1, 3, 4), [5.0, 6.0], [5.0, 6.0, 5.0], 1, id="case_N11"),
    ],
)
async def test_batches_are_padded_to_an_allowed_size(batcher_of, run, allowed, rows, fed, padding) -> None:
    """The metrics tell by how much; the surplus rows reach nobody."""
    input_size, processed_size = METRICS.histogram(BATCH_INPUT_SIZE), METRICS.histogram(BATCH_PROCESSED_SIZE)
    padding_size = METRICS.histogram(BATCH_PADDING_SIZE, str(len(fed)))
    cells = (input_size, processed_size, padding_size)
    before = [cell.sum for cell in cells]
    seen = sum(padding_size.counts)

    answer = await outcome(batcher_of(BatchingParameters(4, allowed_batch_sizes=allowed)).run(plan(*rows)))

    assert answer == [2 * value for value in rows]
    assert run.fed == [fed]
    assert [cell.sum - start for cell, start in zip(cells, before, strict=True)] == [len(rows), len(fed), padding]
    assert sum(padding_size.counts) - seen == 1


async def test_waits_and_runs_are_counted(batcher_of, run) -> None:
    """Input sizes once for each tensor of each request, waits for each request, and who waits now."""
    runs, inputs = METRICS.counter(BATCH_RUN_COUNT), METRICS.histogram(BATCH_INPUT_SIZE)
    waits = METRICS.histogram(BATCH_QUEUING_LATENCY, "")
    before = (runs.value, sum(inputs.counts), sum(waits.counts))

    async with Busy(batcher_of(served=("counted", "1")), run) as busy:
        asked = await busy.ask(plan(1.0), plan(2.0))
        assert METRICS.snapshot().gauges[QUEUE_LENGTH.name]["counted", "1"] == 2
    await asyncio.gather(*asked)

    assert (runs.value, sum(inputs.counts), sum(waits.counts)) == (before[0] + 2, before[1] + 3, before[2] + 3)


SPLITTING = BatchingParameters(
    100, num_batch_threads=1, enable_large_batch_splitting=True, max_execution_batch_size=2, max_enqueued_batches=4
)


async def test_case_N4_a_request_larger_than_a_batch_with_splitting(batcher_of, run) -> None:
    """Its answer is that of a run without splitting."""
    assert await outcome(batcher_of(SPLITTING).run(plan(1.0, 2.0, 3.0))) == [2.0, 4.0, 6.0]
    assert run.fed == [[1.0, 2.0], [3.0]]


async def test_pieces_share_batches_with_others(batcher_of, run) -> None:
    """Everybody gets its own rows."""
    async with Busy(batcher_of(SPLITTING), run) as busy:
        asked = await busy.ask(plan(1.0), plan(2.0, 3.0, 4.0), plan(5.0, 6.0))

    assert [await outcome(one) for one in asked] == [[2.0], [4.0, 6.0, 8.0], [10.0, 12.0]]
    assert run.fed[1:] == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


async def test_the_first_error_of_the_pieces_is_the_answer(batcher_of, run) -> None:
    """The pieces that still wait are not run any more."""
    async with Busy(batcher_of(SPLITTING), run) as busy:
        asked = await busy.ask(plan(POISON, 2.0, 3.0, 4.0, 5.0, 6.0), plan(7.0))

    assert str(await outcome(asked[0])) == "poisoned"
    assert await outcome(asked[1]) == [14.0]
    assert [5.0, 6.0] not in run.fed
    assert busy.batcher._schedule.waiting == 0


async def test_pieces_that_do_not_fit_together_are_an_error(batcher_of, run) -> None:
    """The model gave rows of another width for each."""
    run.answer = lambda x: np.zeros((len(x), int(x[0])))

    answer = await outcome(batcher_of(SPLITTING).run(plan(1.0, 1.0, 2.0)))

    assert (answer.code, str(answer).split(":")[0]) == (Code.INTERNAL, "Tensor concat operation failed")


async def test_a_request_that_needs_several_runs_does_not_grow(batcher_of, run) -> None:
    """Its pieces meet rows of the same width only, so that their answers fit together."""
    parameters = BatchingParameters(
        100, enable_large_batch_splitting=True, max_execution_batch_size=2, pad_variable_length_inputs=True
    )
    async with Busy(batcher_of(parameters), run) as busy:
        asked = await busy.ask(plan(1.0, 2.0, 3.0, shape=(1,)), plan(4.0, shape=(2,)))

    assert [await outcome(one) for one in asked] == [[[2.0], [4.0], [6.0]], [[8.0, 8.0]]]


async def test_a_full_queue_refuses(batcher_of, run) -> None:
    """With the numbers of the queue; what waits is answered all the same."""
    async with Busy(batcher_of(BatchingParameters(1, max_enqueued_batches=2, num_batch_threads=1)), run) as busy:
        asked = await busy.ask(*(plan(float(number)) for number in range(3)))
        refused = await outcome(asked[2])

    assert isinstance(refused, Unavailable)
    assert str(refused) == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and "
        "max_enqueued_batches is 2"
    )
    assert [await outcome(one) for one in asked[:2]] == [[0.0], [2.0]]


async def test_a_cancelled_request_leaves_its_queue(batcher_of, run) -> None:
    """It costs no run and no room, and is counted."""
    dropped = METRICS.counter(DROPPED_REQUESTS, "m", "cancelled")
    before = dropped.value
    async with Busy(batcher_of(BatchingParameters(1, max_enqueued_batches=1, num_batch_threads=1)), run) as busy:
        (gone,) = await busy.ask(plan(5.0))
        gone.cancel()
        await asyncio.wait([gone])
        assert (busy.batcher._schedule.waiting, dropped.value) == (0, before + 1)
        (asked,) = await busy.ask(plan(6.0))

    assert await outcome(asked) == [12.0]
    assert run.fed == [[1.0], [6.0]]


async def test_a_request_cancelled_during_its_run_disturbs_nobody(batcher_of, run) -> None:
    """Its neighbour gets its rows; it is no request that was dropped before its work began."""
    dropped = METRICS.counter(DROPPED_REQUESTS, "m", "cancelled")
    before = dropped.value
    batcher = batcher_of()
    run.may_go_on.clear()
    gone, asked = (asyncio.ensure_future(batcher.run(plan(value))) for value in (1.0, 2.0))
    await entered(run)

    gone.cancel()
    await asyncio.wait([gone])
    run.may_go_on.set()

    assert await outcome(asked) == [4.0]
    assert dropped.value == before


async def test_a_request_whose_time_is_up_in_the_queue_is_answered_then(batcher_of, run) -> None:
    """Not only when its turn comes, and its neighbours go on waiting."""
    dropped = METRICS.counter(DROPPED_REQUESTS, "m", "expired")
    before = dropped.value
    async with Busy(batcher_of(), run) as busy:
        (patient,) = await busy.ask(plan(2.0))
        late = await outcome(busy.batcher.run(plan(3.0), 0.001))
        assert not patient.done()

    assert (type(late), str(late), dropped.value) == (ResourceExhausted, QUEUE_TIMEOUT, before + 1)
    assert await outcome(patient) == [4.0]
    assert run.fed == [[1.0], [2.0]]


async def test_a_request_whose_time_is_up_at_its_turn_is_not_run(batcher_of, run, clock) -> None:
    """The clock says so though no timer has fired; one who has time left is run."""
    async with Busy(batcher_of(clock=clock.steady_s), run) as busy:
        asked = [*await busy.ask(plan(2.0), timeout_s=60.0), *await busy.ask(plan(3.0), timeout_s=120.0)]
        clock.advance(60.0)

    assert str(await outcome(asked[0])) == QUEUE_TIMEOUT
    assert await outcome(asked[1]) == [6.0]
    assert run.fed == [[1.0], [3.0]]


async def test_a_batch_of_late_requests_takes_no_slot(batcher_of, run, clock) -> None:
    """All are answered, nothing runs, and the next batch has the slot."""
    async with Busy(batcher_of(BatchingParameters(2, num_batch_threads=1), clock=clock.steady_s), run) as busy:
        late = await busy.ask(plan(2.0), plan(3.0), timeout_s=60.0)
        patient = await busy.ask(plan(4.0))
        clock.advance(61.0)

    assert [str(await outcome(one)) for one in late] == [QUEUE_TIMEOUT] * 2
    assert await outcome(patient[0]) == [8.0]
    assert run.fed == [[1.0], [4.0]]


async def test_a_late_request_in_pieces_is_dropped_once(batcher_of, run, clock) -> None:
    """Though each of its pieces had a batch of its own."""
    dropped = METRICS.counter(DROPPED_REQUESTS, "m", "expired")
    before = dropped.value
    async with Busy(batcher_of(SPLITTING, clock=clock.steady_s), run) as busy:
        (late,) = await busy.ask(plan(2.0, 3.0, 4.0), timeout_s=60.0)
        clock.advance(61.0)

    assert str(await outcome(late)) == QUEUE_TIMEOUT
    assert (dropped.value, run.fed) == (before + 1, [[1.0]])


async def test_a_run_has_the_time_of_its_most_patient_caller(batcher_of, run, clock) -> None:
    """Without a deadline among them, any time."""
    batcher = batcher_of(clock=clock.steady_s)

    await asyncio.gather(batcher.run(plan(1.0), 5.0), batcher.run(plan(1.0), 7.5))
    await asyncio.gather(batcher.run(plan(1.0), 5.0), batcher.run(plan(1.0)))
    await batcher.run(plan(1.0), 0.0001)

    assert run.timeouts == [7500, None, 1]


async def test_a_run_that_takes_too_long_fails_for_all_of_its_requests(batcher_of, run) -> None:
    """It is not repeated: there is no time left."""

    def take_too_long(_: np.ndarray) -> np.ndarray:
        raise RuntimeFailure(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")

    run.answer = take_too_long
    batcher = batcher_of()

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0), 5.0)) for _ in range(3)))

    assert {one.code for one in answers} == {Code.DEADLINE_EXCEEDED}
    assert len(run.fed) == 1


async def test_a_repeated_run_ends_with_its_time(batcher_of, run, clock) -> None:
    """The bad request took it all; the run has begun, so it is the session's time-out."""

    def take_long_and_fail(_: np.ndarray) -> np.ndarray:
        clock.advance(6.0)
        raise InvalidArgument("poisoned")

    run.answer = take_long_and_fail
    batcher = batcher_of(clock=clock.steady_s)

    answers = await asyncio.gather(*(outcome(batcher.run(plan(1.0), 5.0)) for _ in range(2)))

    assert [(type(one), str(one)) for one in answers] == [(DeadlineExceeded, "Timed out waiting for notification")] * 2


async def test_time_that_is_up_during_the_run_is_the_runs_matter(batcher_of, run) -> None:
    """Its timer finds nothing in the queue."""
    batcher = batcher_of()
    run.may_go_on.clear()
    asked = asyncio.ensure_future(batcher.run(plan(1.0), 1.0))
    await entered(run)
    timer_fired = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1.01, timer_fired.set_result, None)
    await timer_fired

    run.may_go_on.set()

    assert await outcome(asked) == [2.0]


async def test_a_hand_over_that_breaks_fails_its_batch_only(batcher_of, run) -> None:
    """The slot is free again."""
    is_broken = [True]

    def through(work: Work, limit: int, slots: int) -> HandOver:
        async def hand_over(pieces):
            if is_broken.pop():
                raise RuntimeError("broken")
            return await work(pieces)

        del limit, slots
        return hand_over

    batcher = batcher_of(through=through)
    with pytest.raises(RuntimeError, match="broken"):
        await batcher.run(plan(1.0))
    is_broken.append(False)

    assert await outcome(batcher.run(plan(2.0))) == [4.0]


@pytest.mark.parametrize("value", [1.0, POISON], ids=["answered", "failed"])
async def test_tensors_are_freed_with_the_answer(batcher_of, value) -> None:
    """Not when the garbage collector comes by: they may be large."""
    batcher = batcher_of()
    requests = [plan(value, value) for _ in range(2)]
    fed = [weakref.ref(one.feeds["x"]) for one in requests]
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(outcome(batcher.run(one)) for one in requests))
        requests.clear()
        async with asyncio.timeout(5):
            while any(one() is not None for one in fed):
                await asyncio.sleep(0)
    finally:
        gc.enable()


async def test_serves_batch_queue_runs_what_was_formed(batcher_of, run, monkeypatch) -> None:
    """Batches stay as they are, of any size up to the limit, also when several are handed over at once."""
    context = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=100))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    batcher = batcher_of(BatchingParameters(4, num_batch_threads=2), through=through_serve)

    asked = [batcher.run(plan(float(number), name=name)) for number in range(8) for name in "ab"]
    answers = await asyncio.gather(*map(outcome, asked))

    assert answers == [[2.0 * number] for number in range(8) for _ in "ab"]
    assert run.sizes == [4, 4, 4, 4]
    assert str(await outcome(batcher.run(plan(POISON)))) == "poisoned"
