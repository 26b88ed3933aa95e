"""Tests of the gates of rollout steps."""

from __future__ import annotations

import threading

from deployments.delivery.gates import ASKED_EVERY_S, Gates
from tests.support.clients import wait_until


class Answers:
    """Answers with what the test says, and counts."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, url: str) -> str:
        self.asked.append(url)
        self.may_answer.wait(30)
        return self.answer


def answered(gates: Gates, now_s: float, step: str = "r 0") -> bool:
    """Ask at a time, and give the answer that has come some moments later."""
    gates.is_open("m", step, "http://gate", now_s)
    wait_until(lambda: not answers_open(gates), "the gate has answered")
    return gates.is_open("m", step, "http://gate", now_s)


def answers_open(gates: Gates) -> bool:
    """Whether a question is under way."""
    gate = gates._gates["m"]
    return gate.asked is not None and not gate.asked.done()


def test_a_gate_is_open_once_it_says_200() -> None:
    """It is asked again some seconds later as long as it says anything else, and then no more."""
    answers = Answers("503")
    gates = Gates(answers)
    assert not answered(gates, 0.0)
    assert not answered(gates, ASKED_EVERY_S - 1.0)
    assert len(answers.asked) == 1

    answers.answer = "200"

    assert answered(gates, ASKED_EVERY_S)
    answers.answer = "503"
    assert answered(gates, 2 * ASKED_EVERY_S)
    assert len(answers.asked) == 2


def test_another_step_has_a_gate_of_its_own() -> None:
    """What one step was allowed, the next one is not."""
    answers = Answers("200")
    gates = Gates(answers)
    assert answered(gates, 0.0)

    answers.answer = "403"

    assert not answered(gates, 1.0, "r 1")


def test_a_gate_that_hangs_keeps_nobody_waiting() -> None:
    """The question stays open, and is not asked a second time meanwhile."""
    answers = Answers("200")
    answers.may_answer.clear()
    gates = Gates(answers)

    assert not gates.is_open("m", "r 0", "http://gate", 0.0)
    assert not gates.is_open("m", "r 0", "http://gate", 100.0)
    answers.may_answer.set()

    wait_until(lambda: gates.is_open("m", "r 0", "http://gate", 100.0), "it answers at last")
    assert len(answers.asked) == 1


def test_a_gate_is_forgotten_when_nothing_waits_for_it() -> None:
    """The next rollout asks anew."""
    answers = Answers("200")
    gates = Gates(answers)
    assert answered(gates, 0.0)
    answers.answer = "404"

    gates.forget("m")
    gates.forget("m")

    assert not answered(gates, 1.0)
