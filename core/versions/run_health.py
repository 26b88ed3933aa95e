"""Judges a version by its runs: one that answers every request with the same error of its own is failing.

A version can load and then fail in every run: a graph of a newer compiler, tables without initializers, a device that
was lost. Errors that a caller's input may cause never count, because a load balancer that leaves a model out for them
would keep it from the requests that it can answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.errors import Code
from core.versions.record import Failure

FIRST_RUNS = 3
"""So many first runs in a row that fail alike make a version failing that never answered."""

LATER_RUNS = 20
"""The same for a version that has answered before."""

LONGEST_TEXT = 300

OF_THE_CALLER = frozenset({Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE})
"""Codes by which TensorFlow refuses values and shapes of inputs, and sometimes a graph that it cannot compile."""

OF_THE_MOMENT = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE})
"""Codes of load and of time: they say nothing about the graph."""

_GRAPH_FAULT = re.compile(
    r"vhlo|stablehlo|custom.?call|deserializ|not registered|No OpKernel|No registered|compil|not initialized"
    r"|not found: .*(?:Resource|Container)|platform",
    re.IGNORECASE,
)
"""Words of errors that no input causes: operations and modules that this TensorFlow or this device cannot run."""

_VARYING = re.compile(r"0x[0-9a-f]+|\d+|\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RunHealth:
    """The runs of a version in one process: the last ones in a row that failed alike, and whether one succeeded.

    `code` and `text` are those of the first of these errors: a text with other numbers at each run would be published
    to all routers again and again.
    """

    failures: int = 0
    code: Code = Code.OK
    text: str = ""
    has_answered: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether the next run is expected to fail as the last ones did."""
        return self.failures >= (LATER_RUNS if self.has_answered else FIRST_RUNS)

    @property
    def problem(self) -> Failure | None:
        """What to show of a version that is failing; None for any other."""
        if not self.is_failing:
            return None
        runs = "every run fails since some time" if self.has_answered else "every run failed so far"
        return Failure(self.code, f"{runs}: {' '.join(self.text.split())[:LONGEST_TEXT]}")


UNTRIED = RunHealth()
"""Before the first run."""

SOUND = RunHealth(has_answered=True)
"""After a run that succeeded."""


def after_failure(before: RunHealth, code: Code, text: str) -> RunHealth:
    """Return the health after a run that failed with an error of TensorFlow's."""
    if not is_of_the_version(code, text):
        return before
    if before.code is code and _likeness(before.text) == _likeness(text):
        return replace(before, failures=before.failures + 1)
    return RunHealth(1, code, text, before.has_answered)


def is_of_the_version(code: Code, text: str) -> bool:
    """Whether an error of a run shows a fault of the version, and not of the request or of the moment."""
    if code in OF_THE_MOMENT:
        return False
    return code not in OF_THE_CALLER or _GRAPH_FAULT.search(text) is not None


def version_problem(replicas: Iterable[RunHealth]) -> Failure | None:
    """Return what is wrong with a version by the health of its replicas; one that answers speaks for all."""
    seen = tuple(replicas)
    if any(one.has_answered and not one.is_failing for one in seen):
        return None
    return next((one.problem for one in seen if one.is_failing), None)


def _likeness(text: str) -> str:
    """Return a text without the numbers and addresses that differ between equal failures."""
    return _VARYING.sub("", text)
