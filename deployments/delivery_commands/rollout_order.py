"""Gives an order to a model's rollout for a command: under which condition, with what output and exit status."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Final

from core.admin.delivery_messages import RolloutAnswer, RolloutRequest
from core.admin.status_text import printable
from core.errors import Code, RuntimeFailure
from deployments.commands.admin_client import AdminClient
from deployments.commands.arguments import DONE, print_json

MOST_LOOKS: Final = 20
"""How often an order is given again while the record changes without changing what the order is about."""

SUBJECT: Final = ("rollout", "stable", "canary", "phase", "step")
"""Members of a record that an order is about; others, such as how long a step has lasted, change all the time."""


def add_conditions(made: argparse.ArgumentParser) -> None:
    """Add the arguments that all orders share."""
    made.add_argument("--force", action="store_true", help="also what is refused for safety; the refusal says when")
    made.add_argument(
        "--generation",
        metavar="N",
        type=_generation,
        help="only if the record still has this generation, which status --json shows",
    )


def _generation(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(2**63 - 1)) and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text} is not a generation")
    return int(text)


def give_order(server: AdminClient, request: RolloutRequest, given: argparse.Namespace) -> int:
    """Give the order and print what was done; returns the exit status. Raises what the server refuses it with."""
    asked = replace(request, force=given.force, expected_generation=given.generation)
    answer = server.order(asked) if given.generation is not None else _in_present_state(server, asked)
    text = f"{request.model}: {answer.text or 'nothing to change'}"
    if given.json:
        print_json({"model": request.model, "order": request.verb, "generation": answer.generation, "outcome": text})
    else:
        print(printable(text), flush=True)
    return DONE


def _in_present_state(server: AdminClient, asked: RolloutRequest) -> RolloutAnswer:
    """Give an order for the state that is seen now; raises RuntimeFailure (ABORTED) when it is another meanwhile."""
    seen = server.rollout(asked.model)
    for _ in range(MOST_LOOKS):
        try:
            return server.order(replace(asked, expected_generation=seen.generation))
        except RuntimeFailure as error:
            if error.code is not Code.ABORTED:
                raise
        now = server.rollout(asked.model)
        if _subject(now) != _subject(seen):
            raise RuntimeFailure(Code.ABORTED, f"{asked.model}: the rollout has gone on meanwhile; look at it again.")
        seen = now
    raise RuntimeFailure(Code.ABORTED, f"{asked.model}: the rollout changed {MOST_LOOKS} times meanwhile; try again.")


def _subject(answer: RolloutAnswer) -> tuple[Any, ...]:
    record = answer.record_members
    return tuple(record.get(member) for member in SUBJECT)
