"""`ray_model_server rollout`: shows the rollout of a model, and gives it orders."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from core.admin.delivery_messages import RolloutRequest
from core.admin.rollout_text import rollouts_text
from core.errors import NotFound
from deployments.commands.arguments import DONE, answered, client, name, parser, print_json, version_number
from deployments.delivery_commands.rollout_order import add_conditions, give_order

DESCRIPTION = """\
Show how the rollout of a model stands, or give it an order.

A rollout follows the plan in the section `canary` of the settings file. The server carries it out by itself; orders are
for what a plan leaves to people, and for when they know better. An order that has no meaning in the present state is
refused with the reason, and changes nothing. It is also refused when the rollout has gone on between the look and the
order. The command ends when every router follows the order."""

EXAMPLES = """\
  ray_model_server rollout status ranking
  ray_model_server rollout pause ranking
  ray_model_server rollout promote ranking --full
  ray_model_server rollout abort ranking
  ray_model_server rollout retry ranking 8"""

ORDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "status": "show steps, both arms, and what is known of each metric",
        "start": "begin with the version that waits, or with VERSION",
        "pause": "stay in this step; a metric that fails still acts",
        "resume": "go on where it was paused",
        "promote": "go to the next step now; with --full, give the canary all requests at once",
        "abort": "give all requests back to stable, and reject the canary",
        "undo": "return to the version before, while it is still loaded after a promotion",
        "retry": "begin again with a version that was rejected",
    }
)
WITH_VERSION: Final = frozenset({"start", "retry"})
NARROWEST: Final = 60
"""Columns that lines have at least, in whichever window."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("rollout", f"{DESCRIPTION}\n\norders:\n{_orders()}", EXAMPLES)
    made.add_argument("order", metavar="ORDER", choices=ORDERS, help="one of the orders above")
    made.add_argument("model", metavar="MODEL", type=name, nargs="?", default="", help="its name; status needs none")
    made.add_argument(
        "version", metavar="VERSION", nargs="?", type=version_number, help="of start and retry: one of its versions"
    )
    made.add_argument("--full", action="store_true", help="of promote: without the steps that are left")
    add_conditions(made)
    given = made.parse_args(arguments)
    if given.order != "status" and not given.model:
        made.error(f"{given.order} needs a MODEL")
    if given.version is not None and given.order not in WITH_VERSION:
        made.error(f"{given.order} takes no VERSION: there is one rollout at a time")
    if given.full and given.order != "promote":
        made.error("--full belongs to promote")
    return answered(_work(given), as_json=given.json)


def _orders() -> str:
    return "\n".join(f"  {order:8} {purpose}" for order, purpose in ORDERS.items())


def _work(given: argparse.Namespace) -> Callable[[], int]:
    if given.order == "status":
        return lambda: _show(given)
    request = RolloutRequest(given.model, given.order, version=given.version or 0, full=given.full)
    return lambda: give_order(client(given), request, given)


def _show(given: argparse.Namespace) -> int:
    document = client(given).status()
    models: list[dict[str, Any]] = [one for one in document["models"] if given.model in {"", one["name"]}]
    if given.model and not models:
        raise NotFound(f"There is no model {given.model}.")
    if given.json:
        print_json({"models": [{"name": one["name"], "delivery": one.get("delivery")} for one in models]})
    else:
        width = max(NARROWEST, shutil.get_terminal_size((100, 24)).columns)
        print(rollouts_text(document, models, width), end="")
    return DONE
