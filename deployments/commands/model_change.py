"""Carries out a change of one model for a command: changes the list, prints the differences, waits for the outcome."""

from __future__ import annotations

from dataclasses import dataclass

from core.admin.change_outcome import ChangeOutcome, Look
from core.admin.model_changes import Change, differences
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


def carry_out(server: AdminClient, request: ModelChange, *, as_json: bool) -> int:
    """Carry out the change; returns the exit status."""
    changed = server.change(request.change)
    lines = sorted(differences(changed.before, changed.after))
    if not as_json:
        print("\n".join(map(printable, lines)) or f"{request.model}: nothing to change", flush=True)
    outcome = _outcome(server, request, changed)
    if as_json:
        done = {"ok": outcome.is_good, "outcome": outcome.text} if outcome is not None else {}
        print_json({"model": request.model, "changes": lines, "generation": changed.generation, **done})
    elif outcome is not None:
        print(printable(outcome.text))
    return DONE if outcome is None or outcome.is_good else FAILED


def _outcome(server: AdminClient, request: ModelChange, changed: Changed) -> ChangeOutcome | None:
    if not request.timeout_s:
        return None
    return server.outcome(request.look, changed.generation, request.model, request.timeout_s)
