"""The steps from a call to its answer: what is counted, who is called with it, and what a failure becomes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.errors import Code, FailedPrecondition, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.giving_up import GivenUp, giving_up_when
from core.inference.run_plan import RunPlan
from core.inference.signature import Signature
from core.methods import Planner
from core.routing.transport import TIMED_OUT, Answer, Call, Method
from core.telemetry.metrics import Metrics
from core.versions.run_health import FIRST_RUNS, LATER_RUNS, SOUND, UNTRIED
from deployments.inference.answering import Answering, AnsweringAside, failure_answer
from deployments.inference.call_meter import VersionMeter
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeLoaded
from tests.support.infer_bodies import FORMS, arrays_of, bits, infer_call, is_carried
from tests.support.loaded_models import loaded
from tests.support.saved_models import expected_calls
from tests.support.served_models import half_plus_two, spec, with_signature

CALL = Call(Method.REST_PREDICT, b'{"instances": [2.0, 4.0]}')
LONG = Call(Method.REST_PREDICT, b'{"instances": [%b{"x":1}]}' % (b'{"x":[],"x":1},' * 4_000))
METADATA = Call(Method.REST_METADATA, b"")
PREDICTIONS = {"predictions": [3.0, 4.0]}

Respond = Callable[[Answering, Call], Answer]


class Here:
    """Steps that never wait."""

    def __init__(self, loaded: FakeLoaded) -> None:
        self._loaded = loaded

    async def read(self, planner: Planner, call: Call) -> RunPlan:
        """Make the plan."""
        return planner(self._loaded.served, call.body)

    async def run(self, plan: RunPlan, call: Call, left_s: float | None) -> Sequence[np.ndarray]:
        """Run it."""
        del call
        timeout_ms = None if left_s is None else int(left_s * 1000)
        return self._loaded.run(plan.feeds, plan.fetches, timeout_ms=timeout_ms)

    async def write(self, plan: RunPlan, outputs: Sequence[np.ndarray]) -> bytes:
        """Print."""
        return plan.answer(outputs)


def at_once(answering: Answering, call: Call) -> Answer:
    """Answer as without batching."""
    return answering.at_once(call)


def in_steps(answering: Answering, call: Call) -> Answer:
    """Answer as with batching."""
    work = answering.in_steps(call, Here(answering.loaded))
    with pytest.raises(StopIteration) as ended:
        work.send(None)
    return ended.value.value


both_ways = pytest.mark.parametrize("respond", [at_once, in_steps])


class NotingMeter(VersionMeter):
    """Notes the codes of the answers that are counted."""

    def __init__(self) -> None:
        super().__init__(half_plus_two(), Metrics())
        self.codes: list[Code] = []

    def count_answer(self, method: Method, signature: str, code: Code, took_s: float) -> None:
        """Note a code."""
        self.codes.append(code)


@pytest.fixture
def meter() -> NotingMeter:
    """A meter of a version that was not called yet."""
    return NotingMeter()


@pytest.fixture
def answering(meter) -> Answering:
    """Half plus two."""
    return Answering(FakeLoaded(half_plus_two()), AnswerSettings(), meter)


def failing(error: Exception, meter: VersionMeter) -> Answering:
    """Make what answers for a model whose runs fail."""

    def fail(_: np.ndarray) -> np.ndarray:
        raise error

    return Answering(FakeLoaded(half_plus_two(), fail), AnswerSettings(), meter)


@both_ways
def test_a_call_is_read_run_and_printed(answering, meter, respond: Respond) -> None:
    """The answer is the response body, and it is counted."""
    answer = respond(answering, CALL)

    assert (answer.code, json.loads(answer.body)) == (Code.OK, PREDICTIONS)
    assert meter.codes == [Code.OK]


@both_ways
def test_a_question_about_the_model_runs_nothing(answering, meter, respond: Respond) -> None:
    """Metadata is answered from the signatures, and counted as any answer."""
    answer = respond(answering, METADATA)

    assert json.loads(answer.body)["model_spec"]["name"] == "h2"
    assert (answering.loaded.runs, meter.codes) == ([], [Code.OK])


@both_ways
def test_good_answers_are_passed_on(answering, respond: Respond) -> None:
    """The request log gets them, with their calls."""
    passed: list[tuple[Call, Answer]] = []
    answering.on_answer = lambda call, answer: passed.append((call, answer))

    answer = respond(answering, CALL)

    assert passed == [(CALL, answer)]


@both_ways
def test_a_failure_is_an_answer_that_is_counted_but_not_passed_on(meter, respond: Respond) -> None:
    """Whatever fails: here it is the run."""
    answering = failing(FailedPrecondition("not now"), meter)
    passed: list[Answer] = []
    answering.on_answer = lambda _call, answer: passed.append(answer)

    assert respond(answering, CALL) == Answer(Code.FAILED_PRECONDITION, b"not now")
    assert (passed, meter.codes) == ([], [Code.FAILED_PRECONDITION])


@both_ways
def test_reading_that_is_given_up_is_not_an_answer(answering, meter, respond: Respond) -> None:
    """The execution decides what follows; nothing is counted."""
    with giving_up_when(lambda: True), pytest.raises(GivenUp):
        respond(answering, LONG)

    assert meter.codes == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FailedPrecondition("not now"), Answer(Code.FAILED_PRECONDITION, b"not now")),
        (
            MemoryError(),
            Answer(Code.RESOURCE_EXHAUSTED, b"The model server has not enough memory for this request."),
        ),
        (KeyError("y"), Answer(Code.INTERNAL, b"KeyError: 'y'")),
    ],
    ids=["ours", "memory", "defect"],
)
def test_the_code_of_a_failure_follows_from_its_kind(error, expected, caplog) -> None:
    """Only a defect is logged, because only it is a surprise to the operator."""
    assert failure_answer(CALL, error) == expected
    assert ("call_failed method=REST_PREDICT" in caplog.text) == (expected.code is Code.INTERNAL)


class Failing(FakeLoaded):
    """Half plus two; every run fails as long as `error` is set."""

    def __init__(self, error: RuntimeFailure | None) -> None:
        self.error = error
        super().__init__(half_plus_two(), self._answer)

    def _answer(self, fed: np.ndarray) -> np.ndarray:
        if self.error is not None:
            raise self.error
        return fed / 2 + 2


UNFILLED = RuntimeFailure(Code.FAILED_PRECONDITION, "Table not initialized.")


@pytest.mark.parametrize("respond", [at_once, in_steps])
def test_a_version_whose_runs_all_fail_is_failing_until_one_succeeds(respond: Respond, caplog) -> None:
    """It is logged once; requests that cannot be read never reach a run."""
    model = Failing(UNFILLED)
    answering = Answering(model)
    for _ in range(2 * FIRST_RUNS):
        respond(answering, CALL)
        respond(answering, Call(Method.REST_PREDICT, b"no JSON"))

    assert answering.health.is_failing
    assert caplog.text.count("version_failing model=") == 1

    model.error = None
    respond(answering, CALL)
    assert answering.health is SOUND


def test_a_model_with_a_table_that_nothing_fills_is_failing(saved_models: Path) -> None:
    """TensorFlow loads it, and answers every request with the same error."""
    answering = Answering(loaded(saved_models, "unfilled_table"))

    codes = {at_once(answering, Call(Method.REST_PREDICT, b'{"instances": ["zero"]}')).code for _ in range(FIRST_RUNS)}

    assert codes == {Code.FAILED_PRECONDITION}
    assert "Table not initialized" in answering.health.text
    assert answering.health.is_failing


def test_requests_of_the_wrong_size_leave_a_model_with_a_fixed_batch_sound(saved_models: Path) -> None:
    """The graph refuses them, and answers those that fit."""
    answering = Answering(loaded(saved_models, "two_rows"))

    for _ in range(LATER_RUNS):
        assert (
            at_once(answering, Call(Method.REST_PREDICT, b'{"instances": [[1, 2, 3]]}')).code is Code.INVALID_ARGUMENT
        )

    assert not answering.health.is_failing


X = {"x": np.array([[2.0]], np.float32)}
A_MINUTE_MICROS = 60_000_000


@both_ways
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("timeout_s", "most_ms"), [(None, 60_000), (600.0, 60_000), (10.0, 10_000)])
def test_a_run_has_the_time_of_the_caller_or_of_the_request_whichever_is_less(
    answering: Answering, respond: Respond, form: str, timeout_s: float | None, most_ms: int
) -> None:
    """The parameter `timeout` of the Open Inference Protocol, in microseconds."""
    answer = respond(answering, infer_call(form, X, timeout_s, parameters={"timeout": A_MINUTE_MICROS}))

    ((timeout_ms, _),) = answering.loaded.runs
    assert answer.code is Code.OK
    assert most_ms / 2 < timeout_ms <= most_ms


@both_ways
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("timeout_s", [None, 600.0])
def test_a_request_whose_own_time_is_up_is_not_run(
    answering: Answering, respond: Respond, form: str, timeout_s: float | None
) -> None:
    """Reading it takes longer than a microsecond."""
    answer = respond(answering, infer_call(form, X, timeout_s, parameters={"timeout": 1}))

    assert answer == Answer(Code.DEADLINE_EXCEEDED, TIMED_OUT.encode())
    assert answering.loaded.runs == []


@pytest.mark.parametrize("in_caller_thread", [False, True])
def test_the_time_that_a_request_gives_itself_begins_when_it_comes(
    answering: Answering, *, in_caller_thread: bool
) -> None:
    """Not when a thread comes to it; a run on the event loop has no time of its own, because it is short."""
    call = infer_call("grpc raw", X, parameters={"timeout": A_MINUTE_MICROS})

    late = answering.at_once(call, in_caller_thread=in_caller_thread, since_s=time.monotonic() - 61)
    good = answering.at_once(call, in_caller_thread=in_caller_thread, since_s=time.monotonic() - 50)

    assert (late.code, good.code) == (Code.DEADLINE_EXCEEDED, Code.OK)
    ((timeout_ms, _),) = answering.loaded.runs
    assert timeout_ms is None if in_caller_thread else timeout_ms <= 10_000


@pytest.mark.parametrize("form", FORMS)
def test_p_every_form_of_an_inference_gets_the_bits_that_tensorflow_gave(saved_models: Path, form: str) -> None:
    """All calls that were recorded beside the test models, as far as the form has a place for their tensors."""
    asked = set()
    for one in expected_calls(saved_models):
        if not is_carried(form, one.inputs) or not is_carried("rest binary", one.outputs):
            continue
        call = infer_call(form, one.inputs, parameters={"signature_name": one.signature})
        answer = Answering(loaded(saved_models, one.model, one.version)).at_once(call)
        assert answer.code is Code.OK, (one, answer)
        assert bits(arrays_of(call.method, answer.body)) == bits(one.outputs)
        asked.add(one.model)

    assert len(asked) > 10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_p_types_that_the_open_inference_protocol_lacks_are_refused(saved_models: Path, form: str, kind: str) -> None:
    """The text names the tensor, its type, and where it is served."""
    call = infer_call(form, {"x": np.zeros(2, np.float32)}, parameters={"signature_name": kind})

    answer = Answering(loaded(saved_models, "all_dtypes")).at_once(call)

    assert answer.code is Code.INVALID_ARGUMENT
    assert f"input 'x' of model 'all_dtypes' has type DT_{kind.upper()}" in answer.text
    assert "/v1" in answer.text


@pytest.mark.parametrize("form", FORMS)
def test_p_an_output_of_another_type_is_refused_only_if_it_is_asked_for(form: str) -> None:
    """Its neighbours can be had."""
    outputs = {"y": spec("y:0"), "z": spec("z:0", DataType.COMPLEX64)}
    answering = Answering(Complex(with_signature(Signature({"x": spec("x:0")}, outputs))))
    x = {"x": np.array([[2.0]], np.float32)}

    refused = answering.at_once(infer_call(form, x))
    answered = answering.at_once(infer_call(form, x, outputs=("y",)))

    assert refused.code is Code.INVALID_ARGUMENT
    assert "output 'z' has type DT_COMPLEX64" in refused.text
    assert answered.code is Code.OK


class Complex(FakeLoaded):
    """Answers complex numbers where these are declared."""

    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        answers = super().run(feeds, fetches, **options)
        return [one.astype(np.complex64) if name == "z:0" else one for name, one in zip(fetches, answers, strict=True)]


def test_a_copy_is_answered_aside() -> None:
    """The answer is that of a call, with its signature; but no metric counts it, no log gets it, no run is judged."""
    model = FakeLoaded(half_plus_two())
    counted = Answering(model)
    counted.on_answer = lambda call, answer: pytest.fail(f"{call} {answer}")
    before = METRICS.snapshot().lasting()
    aside = AnsweringAside(model)

    answer, signature = aside.answer(CALL)

    assert (json.loads(answer.body), signature) == (PREDICTIONS, "serving_default")
    assert METRICS.snapshot().lasting() == before
    assert counted.health is UNTRIED


def test_a_copy_that_fails_has_its_error_as_answer() -> None:
    """An unreadable body is an answer too, and has no signature."""
    answer, signature = AnsweringAside(FakeLoaded(half_plus_two())).answer(CALL._replace(body=b"{"))
    assert (answer.code, signature) == (Code.INVALID_ARGUMENT, "")


@both_ways
def test_outputs_of_good_answers_are_observed_while_somebody_wants_them(meter, respond: Respond) -> None:
    """With the plan that asked for them, and after the answer is certain."""
    seen: list[tuple[tuple[str, ...], list[float]]] = []
    good = Answering(FakeLoaded(half_plus_two()), AnswerSettings(), meter)
    bad = failing(RuntimeFailure(Code.INTERNAL, "no"), meter)
    for one in (good, bad):
        one.on_outputs = lambda plan, outputs: seen.append((plan.fetches, outputs[0].ravel().tolist()))

    assert (respond(good, CALL).code, respond(bad, CALL).code) == (Code.OK, Code.INTERNAL)
    respond(good, METADATA)

    assert seen == [(("y:0",), [3.0, 4.0])]
