"""Carries out a change of one model for a command: changes the list, prints the differences, waits for the outcome."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from core.admin.change_outcome import ChangeOutcome, Look, what_may_come, what_stays, what_was_taken_back
from core.admin.model_changes import Change, differences, restored
from core.admin.status_text import printable
from core.config.model_config import ModelConfig
from core.errors import ServingError
from deployments.commands.admin_client import AdminClient, Changed
from deployments.commands.arguments import DONE, FAILED, print_json, report_error

LABEL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change of a model, the look for its outcome, and the seconds to wait for that (0: not at all)."""

    model: str
    change: Change
    look: Look
    timeout_s: float = LABEL_TIMEOUT_S
    undo: bool | None = None
    """Whether to take the change back when it fails; None: the command cannot do that."""


def carry_out(server: AdminClient, request: ModelChange, *, as_json: bool) -> int:
    """Carry out the change; returns the exit status."""
    changed = server.change(request.change)
    lines = _lines(changed)
    if not as_json:
        print("\n".join(map(printable, lines)) or f"{request.model}: nothing to change", flush=True)
    told: dict[str, Any] = {"model": request.model, "changes": lines, "generation": changed.generation}
    may_come = {"what_stays": what_may_come(lines)} if lines else {}
    try:
        outcome = _outcome(server, request, changed)
    except ServingError as error:
        _say_what_stays(may_come, as_json=as_json)
        return report_error(error, as_json=as_json, beside={**told, **may_come})
    except KeyboardInterrupt:
        if as_json:
            print_json({**told, **may_come})
        _say_what_stays(may_come, as_json=as_json)
        raise
    if outcome is not None:
        if not as_json:
            print(printable(outcome.text), flush=True)
        left = may_come if not outcome.is_final else _left(server, request, changed, outcome)
        return _end(outcome, told, left, as_json=as_json)
    if as_json:
        print_json(told)
    return DONE


def _end(outcome: ChangeOutcome, told: dict[str, Any], left: dict[str, str], *, as_json: bool) -> int:
    if as_json:
        print_json({**told, "ok": outcome.is_good, "outcome": outcome.text, **left})
    _say_what_stays(left, as_json=as_json)
    return DONE if outcome.is_good else FAILED


def _say_what_stays(left: dict[str, str], *, as_json: bool) -> None:
    if left and not as_json:
        print(printable(left["what_stays"]), flush=True)


def _lines(changed: Changed) -> list[str]:
    return sorted(differences(changed.before, changed.after))


def _outcome(server: AdminClient, request: ModelChange, changed: Changed) -> ChangeOutcome | None:
    if not request.timeout_s:
        return None
    return server.outcome(request.look, changed.generation, request.model, request.timeout_s, _tell)


def _tell(progress: str) -> None:
    """Say what is waited for where it does not disturb who reads the answer."""
    print(printable(progress), file=sys.stderr, flush=True)


def _left(server: AdminClient, request: ModelChange, changed: Changed, outcome: ChangeOutcome) -> dict[str, str]:
    """Take a change back that has failed, if that is wanted; return what stays of it, if anything may.

    Only the model's own entry is put back: others may have been changed meanwhile.
    """
    before, written = (_entry(models, request.model) for models in (changed.before, changed.after))
    if outcome.is_good or outcome.is_overtaken or before == written:
        return {}
    if not request.undo or written is None:
        return {"what_stays": what_stays(_lines(changed), has_undo=request.undo is not None)}
    undone = server.change(restored(before, written))
    return {"what_stays": what_was_taken_back(request.model, _lines(undone))}


def _entry(models: tuple[ModelConfig, ...], name: str) -> ModelConfig | None:
    return next((one for one in models if one.name == name), None)
