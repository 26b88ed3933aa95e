"""How a model server works on calls with batching: the same answers as without, and a free event loop."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code
from core.inference import run_plan
from core.inference.signature import Signature, TensorSpec
from core.inference.tensor_proto import to_array
from core.oip.rest_body import LENGTH_BYTES
from core.protos import oip_pb2, serving_pb2
from core.routing.transport import TIMED_OUT, Answer, Call, Method
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.direct_server import Arrival
from deployments.inference.execution import Execution
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeLoaded
from tests.support.infer_bodies import FORMS, infer_call
from tests.support.loaded_models import loaded
from tests.support.mixed_calls import MAKERS, mixed_calls, predict, rest
from tests.support.served_models import half_plus_two, spec, with_signature
from tests.unit.deployments.inference.test_batcher import directly

TWO = Call(Method.REST_PREDICT, b'{"instances": [2.0, 4.0]}')
PREDICTIONS = {"predictions": [3.0, 4.0]}


class Gate:
    """A model function that waits until it may go on."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.fed: list[list] = []

    def __call__(self, fed: np.ndarray) -> np.ndarray:
        self.entered.release()
        assert self.may_go_on.wait(60)
        self.fed.append(fed.tolist())
        return fed / 2 + 2


def execution_of(model: object, parameters: BatchingParameters | None = None) -> BatchedExecution:
    """Make an execution that needs no replica around it."""
    return BatchedExecution(model, parameters or BatchingParameters(8, num_batch_threads=1), through=directly)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def execution(gate: Gate):
    """Half plus two, behind a gate that is open."""
    gate.may_go_on.set()
    made = execution_of(FakeLoaded(half_plus_two(), gate))
    yield made
    gate.may_go_on.set()
    made.close()


async def entered(gate: Gate) -> None:
    """Wait until a run has begun."""
    assert await asyncio.to_thread(gate.entered.acquire, timeout=60)


async def test_calls_share_a_run_and_get_their_own_answers(execution, gate) -> None:
    """Whatever door they came through."""
    replied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    execution.submit(Call(Method.REST_PREDICT, b'{"inputs": [8.0]}'), replied.set_result)
    answer = await execution.call(TWO)

    assert json.loads(answer.body) == PREDICTIONS
    assert json.loads((await replied).body) == {"outputs": [6.0]}
    assert gate.fed == [[2.0, 4.0, 8.0]]


@pytest.mark.parametrize("outputs", [{"y": spec("y:0")}, {"z": spec("z:0"), "y": spec("y:0")}], ids=["one", "two"])
async def test_q_requests_of_every_protocol_share_a_run(gate: Gate, outputs: dict[str, TensorSpec]) -> None:
    """Bodies and messages, JSON and raw: what waits together runs together, and each gets an answer of its own kind."""
    execution = execution_of(FakeLoaded(with_signature(Signature({"x": spec("x:0")}, outputs)), gate))
    rows = {"x": np.array([[2.0]], np.float32)}
    first = asyncio.ensure_future(execution.call(Call(Method.REST_PREDICT, b'{"inputs": [[0.0]]}')))
    await entered(gate)
    asked = [
        Call(Method.REST_PREDICT, b'{"instances": [[2.0]]}'),
        predict("m", "x", rows["x"]),
        *(infer_call(form, rows) for form in FORMS),
    ]

    waiting = asyncio.gather(*map(execution.call, asked))
    gate.may_go_on.set()
    answers = await waiting

    await first
    assert gate.fed == [[[0.0]]] * len(outputs) + [[[2.0]] * len(asked)] * len(outputs)
    assert [one.code for one in answers] == [Code.OK] * len(asked)
    json_answer = json.loads(bytes(answers[2].body)[:-LENGTH_BYTES])
    assert [(one["name"], one["shape"], one["data"]) for one in json_answer["outputs"]] == [
        (name, [1, 1], [3.0]) for name in sorted(outputs)
    ]
    raw = oip_pb2.ModelInferResponse.FromString(bytes(answers[4].body))
    assert list(raw.raw_output_contents) == [np.float32(3.0).tobytes()] * len(outputs)
    execution.close()


async def test_a_question_about_the_model_runs_nothing(execution, gate) -> None:
    """Metadata is answered from the signatures."""
    answer = await execution.call(Call(Method.REST_METADATA, b""))

    assert json.loads(answer.body)["model_spec"]["name"] == "h2"
    assert gate.fed == []


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MemoryError(), Code.RESOURCE_EXHAUSTED, b"The model server has not enough memory for this request."),
        (KeyError("y"), Code.INTERNAL, b"KeyError: 'y'"),
    ],
    ids=["memory", "defect"],
)
async def test_every_failure_is_an_answer(error, code, text) -> None:
    """Of the model, too."""

    def fail(_: np.ndarray) -> np.ndarray:
        raise error

    execution = execution_of(FakeLoaded(half_plus_two(), fail))

    assert await execution.call(TWO) == Answer(code, text)
    execution.close()


async def test_an_answer_that_cannot_travel_is_an_error(execution, monkeypatch) -> None:
    """As without batching."""
    monkeypatch.setattr(run_plan, "LARGEST_ANSWER_BYTES", 8)

    answer = await execution.call(TWO)

    assert answer == Answer(Code.RESOURCE_EXHAUSTED, b"The model's answer is larger than 8 bytes, the most one can be.")


async def test_a_malformed_request_is_the_callers_mistake(execution) -> None:
    """It never gets into the queue."""
    answer = await execution.call(Call(Method.REST_PREDICT, b"{}"))

    assert answer == Answer(Code.INVALID_ARGUMENT, b"Missing 'inputs' or 'instances' key")


async def test_calls_of_both_transports_are_answered(execution, gate) -> None:
    """Those over the direct transport by a callback, those through a handle by the awaited result."""
    gate.may_go_on.clear()
    replied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    execution.submit(TWO, replied.set_result)
    other = asyncio.ensure_future(execution.call(TWO))
    await entered(gate)

    gate.may_go_on.set()

    assert [json.loads(answer.body) for answer in await asyncio.gather(other, replied)] == [PREDICTIONS] * 2


async def test_a_cancelled_call_gets_no_answer(execution, gate) -> None:
    """In the queue it costs no run, during its run nobody waits for its result."""
    gate.may_go_on.clear()
    answers: list[Answer] = []
    running = execution.submit(TWO, answers.append)
    await entered(gate)
    waiting = execution.submit(TWO, answers.append)

    for ticket in (running, waiting):
        ticket.cancel()
    gate.may_go_on.set()
    last = await execution.call(Call(Method.REST_PREDICT, b'{"instances": [1.0]}'))

    assert last.code is Code.OK
    assert gate.fed == [[2.0, 4.0], [1.0]]
    assert answers == []


async def test_time_that_is_up_in_the_queue_is_told_so(execution, gate) -> None:
    """It is no time-out of the run."""
    gate.may_go_on.clear()
    first = asyncio.ensure_future(execution.call(TWO))
    await entered(gate)

    late = await execution.call(Call(TWO.method, TWO.body, 0.001))

    assert late == Answer(Code.RESOURCE_EXHAUSTED, b"Run() timeout exceeded while waiting in batching queue")
    gate.may_go_on.set()
    assert (await first).code is Code.OK


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("waits", [True, False], ids=["in the queue", "in the run"])
async def test_the_time_that_a_request_gives_itself_ends_its_wait(execution, gate, form: str, *, waits: bool) -> None:
    """Wherever it waits; a run that others may share goes on."""
    gate.may_go_on.clear()
    first = asyncio.ensure_future(execution.call(TWO))
    await entered(gate)
    micros = 1000
    if not waits:
        gate.may_go_on.set()
        await first
        gate.may_go_on.clear()
        micros = 500_000

    late = await execution.call(infer_call(form, {"x": np.array([[9.0]], np.float32)}, parameters={"timeout": micros}))

    assert late == Answer(Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    gate.may_go_on.set()
    await first
    assert (await execution.call(TWO)).code is Code.OK
    assert ([[9.0]] in gate.fed) is not waits


async def test_the_callers_time_reaches_the_run() -> None:
    """As what is left of it."""
    model = FakeLoaded(half_plus_two())
    execution = execution_of(model)

    await execution.call(Call(TWO.method, TWO.body, 60.0))

    ((timeout_ms, _),) = model.runs
    assert 1 <= timeout_ms <= 60_000
    execution.close()


@pytest.mark.parametrize("count", [2, 20_000])
async def test_large_bodies_and_answers_leave_the_event_loop_alone(monkeypatch, count) -> None:
    """Small ones are read and written on it: a thread would cost more."""
    hand_overs = []

    async def to_thread(function, *arguments):
        hand_overs.append(function)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    body = json.dumps({"instances": [0.125] * count}).encode()

    wide = execution_of(FakeLoaded(half_plus_two()), BatchingParameters(50_000))
    answer = await wide.call(Call(Method.REST_PREDICT, bytearray(body)))

    assert json.loads(answer.body)["predictions"] == [2.0625] * count
    assert len(hand_overs) == (0 if count == 2 else 2)
    wide.close()


async def test_many_texts_are_a_large_answer(saved_models: Path, monkeypatch) -> None:
    """Though numpy holds but a pointer for each."""
    hand_overs = []

    async def to_thread(function, *arguments):
        hand_overs.append(function)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    execution = execution_of(loaded(saved_models, "text_upper"), BatchingParameters(2000))

    answer = await execution.call(rest(Method.REST_PREDICT, instances=["a"] * 1500))

    assert json.loads(answer.body)["predictions"] == ["A"] * 1500
    assert len(hand_overs) == 1
    execution.close()


SETTINGS = {
    "at_once": BatchingParameters(),
    "small": BatchingParameters(4, 2000, 1000, num_batch_threads=2),
    "padded": BatchingParameters(16, 1000, 1000, num_batch_threads=1, allowed_batch_sizes=(1, 8, 16)),
    "split": BatchingParameters(
        16, 500, 1000, num_batch_threads=2, enable_large_batch_splitting=True, max_execution_batch_size=2
    ),
}


@pytest.mark.parametrize("parameters", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("model", MAKERS)
async def test_answers_with_batching_are_those_without(saved_models: Path, model, parameters) -> None:
    """Two hundred mixed calls at once, bad ones among them: the same codes, texts and bytes for each."""
    served = loaded(saved_models, model, 123 if model.startswith("tf1") else 1)
    calls = list(mixed_calls(model, 200, seed=len(model)))
    alone, batched = Execution(served, 1), execution_of(served, parameters)

    answers = await asyncio.gather(*map(batched.call, calls))

    for call, answer in zip(calls, answers, strict=True):
        expected = alone.answering.at_once(call)
        assert (answer.code, bytes(answer.body)) == (expected.code, bytes(expected.body))
    alone.close()
    batched.close()


async def test_a_model_whose_answers_are_no_rows_says_so_with_batching(saved_models: Path) -> None:
    """As in TensorFlow Serving (case N23)."""
    execution = execution_of(loaded(saved_models, "scalar_output"))

    answers = await asyncio.gather(*(execution.call(TWO) for _ in range(2)))

    assert answers == [Answer(Code.FAILED_PRECONDITION, b"Batched output tensor has 0 dimensions")] * 2
    execution.close()


async def test_rows_of_a_real_model_grow_together(saved_models: Path) -> None:
    """The narrower request gets an answer as wide as its neighbour's."""
    parameters = BatchingParameters(8, 10**9, num_batch_threads=1, pad_variable_length_inputs=True)
    execution = execution_of(loaded(saved_models, "half_plus_two"), parameters)
    arrays = [np.full((4, 1), 2.0, np.float32), np.full((4, 3), 4.0, np.float32)]

    answers = await asyncio.gather(*(execution.call(predict("half_plus_two", "x", one)) for one in arrays))

    narrow, wide = (to_array(serving_pb2.PredictResponse.FromString(one.body).outputs["y"]) for one in answers)
    assert (narrow.tolist(), wide.tolist()) == ([[3.0] * 3] * 4, [[4.0] * 3] * 4)
    execution.close()


@pytest.mark.parametrize("form", FORMS)
async def test_inferences_of_a_signature_with_a_fixed_batch_run_alone(saved_models: Path, form: str) -> None:
    """As predictions do."""
    execution = execution_of(loaded(saved_models, "two_rows"), BatchingParameters(8, 10**6, num_batch_threads=1))
    rows = {"x": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)}

    answers = await asyncio.gather(*(execution.call(infer_call(form, rows, 30.0)) for _ in range(4)))

    assert [one.code for one in answers] == [Code.OK] * 4, answers
    assert len({bytes(one.body) for one in answers}) == 1
    execution.close()


@pytest.mark.parametrize("form", FORMS)
async def test_an_inference_without_rows_cannot_be_batched(form: str) -> None:
    """A scalar has no first dimension to merge along; the text is that of every batched request."""
    execution = execution_of(FakeLoaded(with_signature(Signature({"x": spec("x:0", shape=())}, {"y": spec("y:0")}))))

    answer = await execution.call(infer_call(form, {"x": np.array(2.0, np.float32)}))

    assert answer == Answer(Code.INVALID_ARGUMENT, b"Batching Run() input tensors must have at least one dimension")
    execution.close()


async def test_requests_of_a_signature_with_a_fixed_batch_run_alone(saved_models: Path, caplog) -> None:
    """Merged, their rows would not fit the graph: every request would fail that is right by itself."""
    served = loaded(saved_models, "two_rows")
    execution = execution_of(served, BatchingParameters(8, 10**6, num_batch_threads=1))
    rows = b'{"instances": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}'

    answers = await asyncio.gather(*(execution.call(Call(Method.REST_PREDICT, rows, 30.0)) for _ in range(4)))
    wrong = await execution.call(Call(Method.REST_PREDICT, b'{"instances": [[1.0, 2.0, 3.0]]}'))

    assert {json.loads(one.body)["predictions"][1][2] for one in answers} == {12.0}
    assert wrong.code is Code.INVALID_ARGUMENT
    assert "not_batched model=two_rows version=1 signatures=serving_default" in caplog.text
    execution.close()


async def test_calls_that_came_together_are_handed_over_together(execution) -> None:
    """Each is a call of its own until it is a part of a batch: one is withdrawn, the other answered."""
    answers: list[Answer] = []
    calls = [Arrival(TWO, answers.append, time.monotonic()) for _ in range(40)]
    assert execution.group_size(calls) == len(calls)

    tickets = execution.submit_together(calls)
    for ticket in tickets[1:]:
        ticket.cancel()
    execution.drop(calls[0])
    while not answers:
        await asyncio.sleep(0.001)

    assert [one.code for one in answers] == [Code.OK]


async def test_the_time_of_a_call_that_waited_counts_from_its_arrival() -> None:
    """What is left reaches the run; a call without any left is told so, and counted, before it is read."""
    model = FakeLoaded(half_plus_two())
    execution = execution_of(model)
    answers: list[Answer] = []
    dropped = METRICS.counter(DROPPED_REQUESTS, model.served.name, "expired")
    before = dropped.value
    waited, late, endless = 60.0, 1.0, None
    since_s = time.monotonic() - 30.0

    calls = [Arrival(Call(TWO.method, TWO.body, time_s), answers.append, since_s) for time_s in (late, waited, endless)]
    tickets = execution.submit_together(calls)
    while len(answers) < len(calls):
        await asyncio.sleep(0.001)

    assert (answers[0], tickets[0], dropped.value) == (
        Answer.error(Code.DEADLINE_EXCEEDED, TIMED_OUT),
        None,
        before + 1,
    )
    assert {one.code for one in answers[1:]} == {Code.OK}
    assert all(timeout_ms is None or timeout_ms <= 30_000 for timeout_ms, _ in model.runs)
    assert {type(timeout_ms) for timeout_ms, _ in model.runs} <= {int, type(None)}
    execution.close()
