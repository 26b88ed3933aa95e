"""Asks the gates of rollout steps: a URL that answers 200 when the next step may begin. Never in the way of a tick."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from core.telemetry.redaction import without_secrets
from deployments.delivery.web_calls import OK, web_answer
from deployments.system.daemon_threads import DaemonThreads

log = logging.getLogger(__name__)

ASKED_EVERY_S = 5.0
GATES_AT_A_TIME = 4


@dataclass(slots=True)
class _Gate:
    """One gate that somebody waits for: what was asked last, and when it is asked again."""

    step: str
    asked: Future[str] | None = None
    due_s: float = 0.0
    answer: str = ""


class Gates:
    """The gate that each rollout waits for; one that has opened stays open for its step."""

    def __init__(self, ask: Callable[[str], str] = web_answer) -> None:
        self._ask = ask
        self._threads = DaemonThreads("asks gates", GATES_AT_A_TIME)
        self._gates: dict[str, _Gate] = {}

    def is_open(self, model: str, step: str, url: str, now_s: float) -> bool:
        """Whether the gate has answered 200 in this step; asks it when that is due, and does not wait."""
        gate = self._gates.get(model)
        if gate is None or gate.step != step:
            gate = self._gates[model] = _Gate(step)
        if gate.asked is not None and gate.asked.done():
            _note(model, url, gate, gate.asked.result())
        if gate.asked is None and gate.answer != OK and now_s >= gate.due_s:
            gate.due_s = now_s + ASKED_EVERY_S
            gate.asked = self._threads.submit(lambda: self._ask(url))
        return gate.answer == OK

    def forget(self, model: str) -> None:
        """Forget the gate of a model that waits for none any more."""
        self._gates.pop(model, None)


def _note(model: str, url: str, gate: _Gate, answer: str) -> None:
    """Take an answer; one that differs from the last is logged."""
    gate.asked = None
    if answer != gate.answer:
        gate.answer = answer
        log.info("rollout_gate model=%s url=%s answer=%s", model, without_secrets(url), answer)
