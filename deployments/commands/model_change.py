"""Carries out a change of one model for a command: changes the list, prints the differences, waits for the outcome."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from core.admin.change_outcome import ChangeOutcome, Look, what_stays
from core.admin.model_changes import Change, differences, restored
from core.admin.status_text import printable
from deployments.commands.admin_client import AdminClient, Changed
from deployments.commands.arguments import DONE, FAILED, print_json

LABEL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change of a model, the look for its outcome, and the seconds to wait for that (0: not at all)."""

    model: str
    change: Change
    look: Look
    timeout_s: float = LABEL_TIMEOUT_S
    undo: bool = False
    """Take the change back when it fails."""


def carry_out(server: AdminClient, request: ModelChange, *, as_json: bool) -> int:
    """Carry out the change; returns the exit status."""
    changed = server.change(request.change)
    lines = sorted(differences(changed.before, changed.after))
    if not as_json:
        print("\n".join(map(printable, lines)) or f"{request.model}: nothing to change", flush=True)
    outcome = _outcome(server, request, changed)
    if outcome is not None and not as_json:
        print(printable(outcome.text), flush=True)
    stays = _what_stays(server, request, changed) if outcome is not None and _has_failed(outcome, changed) else ""
    if as_json:
        done = {"ok": outcome.is_good, "outcome": outcome.text} if outcome is not None else {}
        left = {"what_stays": stays} if stays else {}
        print_json({"model": request.model, "changes": lines, "generation": changed.generation, **done, **left})
    elif stays:
        print(printable(stays))
    return DONE if outcome is None or outcome.is_good else FAILED


def _has_failed(outcome: ChangeOutcome, changed: Changed) -> bool:
    return outcome.is_final and not outcome.is_good and changed.before != changed.after


def _outcome(server: AdminClient, request: ModelChange, changed: Changed) -> ChangeOutcome | None:
    if not request.timeout_s:
        return None
    return server.outcome(request.look, changed.generation, request.model, request.timeout_s, _tell)


def _tell(progress: str) -> None:
    """Say what is waited for where it does not disturb who reads the answer."""
    print(printable(progress), file=sys.stderr, flush=True)


def _what_stays(server: AdminClient, request: ModelChange, changed: Changed) -> str:
    """Take a change back that has failed, if that is wanted; return what stays of it.

    Only the model's own entry is put back: others may have been changed meanwhile.
    """
    if not request.undo:
        return what_stays(sorted(differences(changed.before, changed.after)), undone=False)
    before = next((one for one in changed.before if one.name == request.model), None)
    undone = server.change(restored(request.model, before))
    return what_stays(sorted(differences(undone.before, undone.after)), undone=True)
