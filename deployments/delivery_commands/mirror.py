"""`ray_model_server mirror`: copies requests for a model to another of its versions, and compares the answers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from core.admin.delivery_messages import RolloutRequest
from core.delivery.split import WHOLE, MirrorSettings
from deployments.commands.arguments import answered, client, name, parser
from deployments.delivery_commands.rollout_order import add_conditions, give_order
from deployments.delivery_commands.shares import percent_share

DESCRIPTION = """\
Send copies of requests for a model to another of its versions, and compare its answers with those that callers got.

Nobody gets the answers to copies. Copies are sent when the caller has its answer, and dropped when there is more to do.
Copies to the stable version itself show by how much equal answers differ: the noise floor. Refused while a rollout
runs, whose steps copy themselves. `rollout status MODEL` and the model's page show the results.

It holds until the settings file changes what it says of it; write it there too if it is to stay."""

EXAMPLES = """\
  ray_model_server mirror ranking 8 --percent 10
  ray_model_server mirror ranking canary --max-in-flight 2
  ray_model_server mirror ranking --none"""

MOST_IN_FLIGHT: Final = 1024


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("mirror", DESCRIPTION, EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name, help="its name")
    made.add_argument("version", metavar="VERSION", nargs="?", type=name, default="", help="a version or a label")
    made.add_argument("--percent", metavar="P", type=_share, default=WHOLE, help="of the requests (default: 100)")
    made.add_argument(
        "--max-in-flight",
        metavar="N",
        type=_in_flight,
        default=MirrorSettings("").max_in_flight,
        help="copies that each router has open at most (default: %(default)s)",
    )
    made.add_argument("--none", action="store_true", help="end the copies")
    add_conditions(made)
    given = made.parse_args(arguments)
    if given.none == bool(given.version):
        made.error("name either a VERSION, or --none")
    order = None if given.none else MirrorSettings(given.version, given.percent, given.max_in_flight)
    request = RolloutRequest(given.model, "mirror", mirror=order)
    return answered(lambda: give_order(client(given), request, given), as_json=given.json)


def _share(text: str) -> int:
    share = percent_share(text)
    if not share:
        raise argparse.ArgumentTypeError("0 would copy nothing; --none ends the copies")
    return share


def _in_flight(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_IN_FLIGHT)) else 0
    if not 1 <= number <= MOST_IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST_IN_FLIGHT}")
    return number
