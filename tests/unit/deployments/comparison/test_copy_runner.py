"""Tests of copies as a model server works on them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core.comparison.copy_message import RequestCopy, packed_copy
from core.comparison.pair_message import unpacked_report
from core.delivery.pair_report import PairReport, PairResult
from core.delivery.split import Tolerance
from core.errors import Code
from core.inference.dtypes import DataType
from core.inference.giving_up import go_on
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.oip.rest_body import footer
from core.routing.transport import Answer, Call, Method
from deployments.comparison import copy_runner
from deployments.comparison.copy_runner import LONGEST_JSON_BYTES, MOST_QUEUED, MOST_TIMES_LONGER, CopyRunner, compared
from deployments.telemetry.spare_time import IDLE_CPUS, SpareTime
from tests.support.direct_sites import until

ONE_OUTPUT = Signature({}, {"scores": TensorSpec("s:0", DataType.FLOAT, None)})


class Answers:
    """Answers copies from a function's worth of bytes; `gate` holds them."""

    def __init__(self, answer: Answer | Exception | None = None) -> None:
        self.served = ServedModel("m", 8, {"serving_default": ONE_OUTPUT})
        self.result = answer or Answer(Code.OK, b'{"predictions": [1.0]}')
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[Call] = []

    def answer(self, call: Call) -> tuple[Answer, str]:
        """Return the answer once the gate is open."""
        self.calls.append(call)
        while not self.gate.wait(0.005):
            go_on()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result, "serving_default"


class StillTime(SpareTime):
    """Time that does not change by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_cpus = 2 * IDLE_CPUS

    def start(self) -> None:
        """Do not look."""


def copy_call(answer: bytes = b'{"predictions": [1.0]}', timeout_s: float = 30.0) -> Call:
    call = packed_copy(RequestCopy(Call(Method.REST_PREDICT, b"{}"), answer), timeout_s)
    assert call is not None
    return call


class Site:
    """A runner whose calls and time to spare are in the hands of the test, and the reports of its copies."""

    def __init__(self, answers: Answers) -> None:
        self.is_busy = False
        self.spare = StillTime()
        self.runner = CopyRunner(answers, lambda: self.is_busy, self.spare)
        self.replies: list[Answer] = []

    def take(self, call: Call) -> copy_runner.QueuedCopy | None:
        """Take a copy."""
        return self.runner.take(call, self.replies.append)

    @property
    def results(self) -> list[PairResult]:
        """What was reported."""
        return [unpacked_report(one.body).result for one in self.replies]


async def test_a_copy_is_answered_compared_and_reported() -> None:
    """The report says how the answers differ, and has no value of them."""
    site = Site(Answers())
    site.take(copy_call())
    site.take(copy_call(b'{"predictions": [2.0]}'))
    await until(lambda: len(site.replies) == 2)
    assert site.replies[0] == Answer(Code.OK, b"")
    report = unpacked_report(site.replies[1].body)
    assert (report.result, list(report.outputs)) == (PairResult.OUTSIDE, ["scores"])
    site.runner.close()


async def test_a_warning_comes_once_before_the_first_copy() -> None:
    """Whoever asks for copies of a model that learns finds it in the log."""
    warnings: list[int] = []
    runner = CopyRunner(Answers(), lambda: False, StillTime(), lambda: warnings.append(1))
    replies: list[Answer] = []
    assert not warnings
    runner.take(copy_call(), replies.append)
    runner.take(copy_call(), replies.append)
    await until(lambda: len(replies) == 2)
    assert warnings == [1]
    runner.close()


async def test_a_copy_has_its_turn_when_no_call_is_open() -> None:
    """Calls come first, however long that takes within the time of the copy."""
    answers = Answers()
    site = Site(answers)
    site.is_busy = True
    site.take(copy_call())
    await asyncio.sleep(5 * copy_runner.LOOK_AGAIN_S)
    assert not answers.calls
    site.is_busy = False
    await until(lambda: bool(site.replies))
    assert site.results == [PairResult.IDENTICAL]
    site.runner.close()


async def test_a_copy_that_waited_too_long_is_dropped() -> None:
    """While calls are open there is no turn for it; the router has its answer all the same."""
    answers = Answers()
    site = Site(answers)
    site.is_busy = True
    site.take(copy_call(timeout_s=0.02))
    await until(lambda: bool(site.replies))
    assert site.results == [PairResult.DROPPED]
    assert not answers.calls
    site.runner.close()


async def test_without_time_to_spare_copies_rest_long_after_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has its turn at once, the next one after a multiple of the time that it took."""
    monkeypatch.setattr(copy_runner, "REST_RATIO", 1e9)
    answers = Answers()
    site = Site(answers)
    site.spare.idle_cpus = 0.0
    site.take(copy_call())
    await until(lambda: bool(site.replies))
    site.take(copy_call(timeout_s=0.05))
    await until(lambda: len(site.replies) == 2)
    assert site.results == [PairResult.IDENTICAL, PairResult.DROPPED]
    site.spare.idle_cpus = 2 * IDLE_CPUS
    site.take(copy_call())
    await until(lambda: len(site.replies) == 3)
    assert site.results[-1] is PairResult.IDENTICAL
    site.runner.close()


async def test_there_is_one_copy_at_a_time() -> None:
    """The second one waits until the first is reported."""
    answers = Answers()
    answers.gate.clear()
    site = Site(answers)
    site.take(copy_call())
    site.take(copy_call())
    await until(lambda: bool(answers.calls))
    await asyncio.sleep(0.01)
    assert len(answers.calls) == 1
    answers.gate.set()
    await until(lambda: len(site.replies) == 2)
    site.runner.close()


async def test_too_many_copies_are_dropped_at_once() -> None:
    """The queue is short, and so is the memory that it holds."""
    site = Site(Answers())
    site.is_busy = True
    for _ in range(MOST_QUEUED):
        assert site.take(copy_call()) is not None
    assert site.take(copy_call()) is None
    assert site.results == [PairResult.DROPPED]
    site.runner.close()


async def test_the_bytes_of_waiting_copies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large copies of many routers do not fill the memory."""
    monkeypatch.setattr(copy_runner, "MOST_QUEUED_BYTES", 100)
    site = Site(Answers())
    site.is_busy = True
    assert site.take(copy_call(bytes(60))) is not None
    assert site.take(copy_call(bytes(60))) is None
    site.runner.close()


async def test_a_cancelled_copy_is_neither_run_nor_reported() -> None:
    """Nobody waits for it, whether it waits or runs."""
    answers = Answers()
    answers.gate.clear()
    site = Site(answers)
    running, waiting = site.take(copy_call()), site.take(copy_call())
    await until(lambda: bool(answers.calls))
    assert running is not None
    assert waiting is not None
    running.cancel()
    waiting.cancel()
    site.take(copy_call())
    answers.gate.set()
    await until(lambda: bool(site.replies))
    assert len(site.replies) == 1
    assert len(answers.calls) == 2
    site.runner.close()


async def test_a_defect_harms_no_later_copy() -> None:
    """Whatever is raised becomes an error, which the router counts as dropped."""
    answers = Answers(ValueError("broken"))
    site = Site(answers)
    site.take(copy_call())
    await until(lambda: bool(site.replies))
    assert site.replies[0].code is Code.INTERNAL
    answers.result = Answer(Code.OK, b'{"predictions": [1.0]}')
    site.take(copy_call())
    await until(lambda: len(site.replies) == 2)
    assert site.replies[1].code is Code.OK
    site.runner.close()


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (Code.INVALID_ARGUMENT, PairResult.FAILED),
        (Code.INTERNAL, PairResult.FAILED),
        (Code.UNAVAILABLE, PairResult.DROPPED),
        (Code.DEADLINE_EXCEEDED, PairResult.DROPPED),
    ],
)
def test_an_error_of_the_version_is_a_failed_copy_and_want_of_time_is_none(code: Code, result: PairResult) -> None:
    """The caller got an answer; that the copy had to wait is not the version's fault."""
    report = compared(Answers(Answer.error(code, "why")), copy_call().body, 5.0)
    assert report.result is result
    if result is PairResult.FAILED:
        assert report == PairReport(PairResult.FAILED, reason=f"{code.name}: why")


def test_a_broken_copy_is_dropped() -> None:
    """What cannot be read is no copy."""
    answers = Answers()
    assert compared(answers, b"xx", 5.0).result is PairResult.DROPPED
    assert not answers.calls


def test_a_copy_has_what_is_left_of_its_time() -> None:
    """The run ends with the time of the copy."""
    answers = Answers()
    compared(answers, copy_call().body, 0.25)
    assert answers.calls[0].timeout_s == 0.25


@pytest.mark.parametrize(("name", "result"), [("scores", "WITHIN"), ("", "WITHIN"), ("other", "OUTSIDE")])
def test_the_tolerance_is_that_of_the_output_or_of_no_name(name: str, result: str) -> None:
    """A rule for no output in particular counts for all that have no other."""
    request = RequestCopy(Call(Method.REST_PREDICT, b"{}"), b'{"predictions": [1.1]}', {name: Tolerance(0.5, 0.0)})
    call = packed_copy(request, 5.0)
    assert call is not None
    assert compared(Answers(), call.body, 5.0).result.name == result


def padded(size: int) -> bytes:
    return b'{"predictions": [1.0]}'.ljust(size)


def test_long_answers_in_json_are_not_compared() -> None:
    """All calls of the model server would wait while they are read; that they are equal must not count alone."""
    answers = Answers(Answer(Code.OK, padded(LONGEST_JSON_BYTES + 1)))
    assert compared(answers, copy_call(padded(LONGEST_JSON_BYTES + 1)).body, 5.0).result is PairResult.DROPPED
    assert not answers.calls
    assert compared(answers, copy_call(padded(LONGEST_JSON_BYTES)).body, 5.0).result is PairResult.IDENTICAL


def test_an_answer_in_json_that_is_much_longer_is_structural() -> None:
    """A version that answers with masses of text is not read, and does not pass for lost."""
    answers = Answers(Answer(Code.OK, padded(MOST_TIMES_LONGER * LONGEST_JSON_BYTES + 1)))
    assert compared(answers, copy_call().body, 5.0).result is PairResult.STRUCTURAL


@pytest.mark.parametrize(("json", "result"), [(LONGEST_JSON_BYTES + 1, "DROPPED"), (7, "IDENTICAL")])
def test_of_answers_of_version_2_only_the_json_counts(json: int, result: str) -> None:
    """Raw tensors behind it are not read number by number."""
    body = bytes(2 * LONGEST_JSON_BYTES) + footer(json)
    call = packed_copy(RequestCopy(Call(Method.OIP_REST_INFER, b"{}"), body), 5.0)
    assert call is not None
    assert compared(Answers(Answer(Code.OK, body)), call.body, 5.0).result.name == result
