"""Bodies that take long to read hold up nobody else, and are read no longer than somebody waits for them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code
from core.inference import giving_up
from core.inference.giving_up import GivenUp
from core.inference.run_plan import RunPlan
from core.oip.rest_body import ALL_JSON, footer
from core.routing.transport import TIMED_OUT, Call, Method
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.inference import answering, execution
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.execution import Execution
from deployments.system import process_tuning
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeLoaded
from tests.support.infer_bodies import infer_call
from tests.support.served_models import half_plus_two
from tests.unit.deployments.inference.test_batcher import directly

SMALL = b'{"instances": [2.0, 4.0]}'
SLOW = b'{"instances": [%b{"x":1}]}' % (b'{"x":[],"x":1},' * 40_000)
"""A body that takes a while to be read, and is refused."""

TEXTS = {"x": np.full(250_000, b"", object)}
"""Texts are read one by one, to a model that takes numbers."""

SLOW_CALLS = {
    "predict": Call(Method.REST_PREDICT, SLOW),
    "rest binary": infer_call("rest binary", TEXTS),
    "grpc raw": infer_call("grpc raw", TEXTS),
}
MANY_OUTPUTS = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}],"outputs":[%b{"name":"y"}]}'
SLOW_CALLS["rest json"] = Call(Method.OIP_REST_INFER, MANY_OUTPUTS % (b'{"name":"y"},' * 60_000) + footer(ALL_JSON))
slow_calls = pytest.mark.parametrize("slow", SLOW_CALLS.values(), ids=SLOW_CALLS)

MEDIUM = b'{"instances": [%b{"x":1}]}' % (b'{"x":[],"x":1},' * 4_000)
"""One of less than 64 KiB."""


def predict(body: bytes = SMALL, timeout_s: float | None = None) -> Call:
    """Make a call."""
    return Call(Method.REST_PREDICT, body, timeout_s)


def dropped(reason: str) -> float:
    """Read how many calls of the model were dropped so far."""
    return METRICS.counter(DROPPED_REQUESTS, half_plus_two().name, reason).value


@pytest.fixture
def loaded() -> FakeLoaded:
    """Half plus two."""
    return FakeLoaded(half_plus_two())


@pytest.fixture
def plain(loaded):
    """An execution with one thread."""
    made = Execution(loaded, 1)
    yield made
    made.close()


@pytest.fixture
def batched(loaded):
    """An execution with batching."""
    made = BatchedExecution(loaded, BatchingParameters(8, num_batch_threads=1), through=directly)
    yield made
    made.close()


def clock_that_jumps(monkeypatch: pytest.MonkeyPatch, module: Any, *, after_looks: int) -> None:
    """Return a module a clock by which everybody is late once it has looked so often."""
    looks = iter(range(10**9))

    def monotonic() -> float:
        return time.monotonic() + (1000.0 if next(looks) >= after_looks else 0.0)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic, perf_counter=time.perf_counter))


def noted_threads(
    monkeypatch: pytest.MonkeyPatch, one: Execution | BatchedExecution, method: Method = Method.REST_PREDICT
) -> list[threading.Thread]:
    """Note in which thread each body is read."""
    threads: list[threading.Thread] = []
    plan = one.answering.planners[method]

    def noted(*given: Any) -> RunPlan:
        threads.append(threading.current_thread())
        return plan(*given)

    monkeypatch.setattr(one.answering, "planners", {method: noted})
    return threads


@slow_calls
async def test_reading_ends_when_the_callers_time_is_up(plain, loaded, monkeypatch, slow: Call) -> None:
    """The answer is that of a run whose time was up, and the model never sees the request."""
    clock_that_jumps(monkeypatch, execution, after_looks=10)
    before = dropped("expired")

    answer = await plain.call(slow._replace(timeout_s=5.0))

    assert (answer.code, answer.body) == (Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    assert loaded.runs == []
    assert dropped("expired") == before + 1


@slow_calls
async def test_reading_ends_when_the_caller_has_gone(plain, loaded, monkeypatch, slow: Call) -> None:
    """The thread is free for others."""
    before = dropped("cancelled")
    begun = threading.Event()
    monkeypatch.setattr(execution, "go_on", begun.set)

    ticket = plain.submit(slow, lambda _: None)
    assert await asyncio.to_thread(begun.wait, 10)
    ticket.cancel()

    assert (await plain.call(predict())).code is Code.OK
    assert len(loaded.runs) == 1
    assert dropped("cancelled") == before + 1


@slow_calls
async def test_a_body_that_is_long_in_being_read_leaves_the_event_loop(plain, monkeypatch, slow: Call) -> None:
    """Bodies of its size were short so far; it is read anew in a thread, and so is the next one."""
    plain._expected_s[slow.method, len(slow.body).bit_length()] = 0.0
    threads = noted_threads(monkeypatch, plain, slow.method)

    answers = [await plain.call(slow), await plain.call(slow)]

    assert [answer.code for answer in answers] == [Code.INVALID_ARGUMENT] * 2
    assert [one is threading.main_thread() for one in threads] == [True, False, False]


@pytest.mark.parametrize("form", ["rest binary", "grpc raw"])
async def test_large_bodies_are_not_read_on_the_event_loop(plain, monkeypatch, form: str) -> None:
    """Raw tensors are read in no time, and others of their size were; the next body may be anything."""
    large = infer_call(form, {"x": np.zeros((answering.LARGEST_ON_LOOP_BYTES // 4, 1), np.float32)})
    smaller = infer_call(form, {"x": np.zeros((answering.LARGEST_ON_LOOP_BYTES // 8, 1), np.float32)})
    for one in (large, smaller):
        plain._expected_s[one.method, len(one.body).bit_length()] = 0.0
    threads = noted_threads(monkeypatch, plain, large.method)

    answers = [await plain.call(large), await plain.call(smaller)]

    assert [answer.code for answer in answers] == [Code.OK] * 2
    assert [one is threading.main_thread() for one in threads] == [False, True]


@slow_calls
async def test_short_calls_are_answered_while_a_long_body_is_read(plain, slow: Call) -> None:
    """All threads are busy with reading; the event loop is not."""
    await plain.call(predict())
    plain._expected_s = dict.fromkeys(plain._expected_s, 0.0)
    reading = asyncio.create_task(plain.call(slow._replace(timeout_s=60.0)))
    while not plain.in_flight:
        await asyncio.sleep(0)

    answers = [await plain.call(predict()) for _ in range(3)]

    assert not reading.done()
    assert [answer.code for answer in answers] == [Code.OK] * 3
    assert (await reading).code is Code.INVALID_ARGUMENT


async def test_the_time_that_reading_took_is_taken_off_the_runs(plain, loaded, monkeypatch) -> None:
    """TensorFlow gets what is left after reading, not what was left before."""
    plan = plain.answering.planners[Method.REST_PREDICT]
    passed = [0.0]

    def slowly(*given: Any) -> RunPlan:
        passed[0] = 30.0
        return plan(*given)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(plain.answering, "planners", {Method.REST_PREDICT: slowly})
    monkeypatch.setattr(answering, "time", clock)

    await plain.call(predict(timeout_s=60.0))

    ((timeout_ms, _),) = loaded.runs
    assert 1 <= timeout_ms <= 30_000


@slow_calls
async def test_with_batching_reading_ends_when_the_callers_time_is_up(batched, loaded, monkeypatch, slow: Call) -> None:
    """The same answer."""
    clock_that_jumps(monkeypatch, giving_up, after_looks=10)

    answer = await batched.call(slow._replace(timeout_s=5.0))

    assert (answer.code, answer.body) == (Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    assert loaded.runs == []


async def test_with_batching_small_bodies_leave_the_event_loop_too(batched, monkeypatch) -> None:
    """Those that are not read soon are read in a thread."""
    threads = noted_threads(monkeypatch, batched)
    assert len(MEDIUM) < answering.LARGE_BYTES

    answer = await batched.call(predict(MEDIUM))

    assert answer.code is Code.INVALID_ARGUMENT
    assert [one is threading.main_thread() for one in threads] == [True, False]


@slow_calls
async def test_with_batching_reading_ends_when_the_caller_has_gone(batched, monkeypatch, slow: Call) -> None:
    """A cancelled task leaves no thread behind that reads on."""
    ended = threading.Event()
    begun = threading.Event()
    plan = batched.answering.planners[slow.method]

    def noted(*given: Any) -> RunPlan:
        begun.set()
        try:
            return plan(*given)
        except GivenUp:
            ended.set()
            raise

    monkeypatch.setattr(batched.answering, "planners", {slow.method: noted})
    call = asyncio.create_task(batched.call(slow))
    assert await asyncio.to_thread(begun.wait, 10)
    call.cancel()

    assert await asyncio.to_thread(ended.wait, 10)


IMAGE = """
    import resource, sys
    import numpy as np, orjson
    from core.rest import predict as rest_predict
    from deployments.system.process_tuning import keep_freed_memory
    from tests.support.served_models import half_plus_two

    assert keep_freed_memory()
    image = np.random.default_rng(7).random((1, 224, 224, 3), dtype=np.float32)
    body = orjson.dumps({"instances": image}, option=orjson.OPT_SERIALIZE_NUMPY)
    model = half_plus_two()
    for _ in range(3):
        rest_predict.plan_predict(model, bytearray(body))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        rest_predict.plan_predict(model, bytearray(body))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_images_are_read_into_memory_that_is_there_already() -> None:
    """Their copies have some two thousand pages; the next image finds them where the last one left them."""
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(IMAGE)], check=True, capture_output=True, text=True)

    assert int(run.stdout) < 100


def test_other_c_libraries_are_left_as_they_are(monkeypatch) -> None:
    """Nothing fails where there is nothing to set."""
    monkeypatch.setattr(process_tuning.ctypes, "CDLL", lambda _: object())

    assert not process_tuning.keep_freed_memory()


def test_a_process_that_answers_shares_its_interpreter_in_short_turns() -> None:
    """And looks for garbage less often than Python does by itself."""
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        process_tuning.settle()

        assert sys.getswitchinterval() == pytest.approx(process_tuning.SHORTEST_TURN_S)
        assert gc.get_threshold() == process_tuning.COLLECT_AFTER
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
