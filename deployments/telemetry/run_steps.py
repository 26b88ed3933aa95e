"""The steps of a run beside the model's own, such as hooks: platforms note them, traces show them."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStep:
    """A step that has ended; `error` names the code of a failure."""

    name: str
    begin_ns: int
    end_ns: int
    error: str = ""


NOTED_STEPS: ContextVar[list[RunStep] | None] = ContextVar("run_steps", default=None)
"""Where the steps of this thread's run are noted; None where nobody traces it."""


def note_step(name: str, took_s: float, error: str = "") -> None:
    """Note a step that ends now, if the run is traced."""
    steps = NOTED_STEPS.get()
    if steps is not None:
        end_ns = time.time_ns()
        steps.append(RunStep(name, end_ns - int(took_s * 1e9), end_ns, error))
