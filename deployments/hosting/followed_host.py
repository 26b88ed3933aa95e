"""One version host as the watcher follows it: what it answered last, the question that is open, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ray.exceptions import RayTaskError

from core.versions.hosted import LASTING
from core.versions.world import AppObservation
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

ASKED_EVERY_S = 1.0
"""Pause between two questions to a host in which nothing moves."""

SILENT_AFTER_S = 15.0
"""A host that has not answered for so long may have failed to start, or be gone: Serve knows. One that has raised
errors for so long, and nothing else, fails what waits for it."""


def raised_in_host(error: BaseException) -> BaseException | None:
    """Return what a host itself raised; None for a call that did not reach it, or got no answer."""
    return error.cause if isinstance(error, RayTaskError) else None


@dataclass(slots=True)
class CallErrors:
    """The errors that a host has raised in calls of one kind since one went well."""

    since_s: float | None = None
    text: str = ""

    def add(self, error: BaseException, now_s: float) -> None:
        """Remember an error, and since when there are only errors."""
        self.since_s = now_s if self.since_s is None else self.since_s
        self.text = brief(error) or type(error).__name__

    def lasting(self, now_s: float) -> str:
        """Return the last error once they have come for long enough; empty before."""
        return self.text if self.since_s is not None and now_s - self.since_s >= SILENT_AFTER_S else ""


@dataclass(slots=True)
class FollowedHost:
    """A host, followed since `since_s`; `used_s` is when it had a version last.

    `versions` is its last answer, of `answered_s`. `silent_s` is since when it has not answered, or Serve has not said
    why. An adopted one was there before this watcher: until it has answered, it is assumed to have the versions
    `assumed`, which a table leads to, and may have others.
    """

    node: str
    since_s: float
    is_adopted: bool = False
    assumed: frozenset[str] = frozenset()
    versions: Mapping[str, AppObservation] | None = None
    answered_s: float = 0.0
    silent_s: float = field(init=False)
    used_s: float = field(init=False)
    question: Future[Any] | None = None
    errors: CallErrors = field(default_factory=CallErrors)
    failures: RepeatedFailureLog = field(init=False)

    def __post_init__(self) -> None:
        self.silent_s = self.used_s = self.since_s
        self.failures = RepeatedFailureLog(f"host_does_not_answer node={self.node}", f"host_answers node={self.node}")

    def is_due(self, now_s: float) -> bool:
        """Whether to ask again: at once while a version comes or goes."""
        if self.question is not None:
            return False
        rests = self.versions is not None and all(one.condition in LASTING for one in self.versions.values())
        return not rests or now_s - self.answered_s >= ASKED_EVERY_S

    def is_unheard(self, now_s: float) -> bool:
        """Whether it was found, may have any version, and may still be expected to say so."""
        return self.is_adopted and self.versions is None and now_s - self.since_s <= SILENT_AFTER_S

    def may_run(self, app: str) -> bool:
        """Whether it has a version, or is assumed to."""
        return app in self.assumed or app in (self.versions or ())

    def take_answer(self, now_s: float) -> bool:
        """Take the answer to the open question, if it has come; returns whether the host has answered."""
        if self.question is None or not self.question.done():
            return False
        question, self.question = self.question, None
        try:
            self.versions = question.result()
        except SERVE_FAILURES as error:
            self._note_failure(error, now_s)
            return False
        self.assumed = frozenset()
        self.errors = CallErrors()
        self.answered_s = self.silent_s = now_s
        self.failures.went_well(now_s)
        return True

    def _note_failure(self, error: BaseException, now_s: float) -> None:
        raised = raised_in_host(error)
        self.failures.failed(now_s, raised or error)
        if raised is not None:
            self.errors.add(raised, now_s)
