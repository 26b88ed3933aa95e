"""`ray_model_server traffic`: divides the requests for a model over its versions."""

from __future__ import annotations

from collections.abc import Sequence

from core.admin.delivery_messages import RolloutRequest
from deployments.commands.arguments import answered, client, name, parser
from deployments.delivery_commands.rollout_order import add_conditions, give_order
from deployments.delivery_commands.shares import problem_of, version_share

DESCRIPTION = """\
Divide the requests for a model that name neither a version nor a label over its versions.

The oldest of the versions is stable: what cannot be divided, such as metadata, is answered by it. Versions may be
named by labels. A version gets its share when every router can reach it. Requests that name a version or a label are
answered by that one, as before. A model with a rollout plan needs --force, which ends a running rollout.

The shares hold until the settings file changes what it says of them; write them there too if they are to stay."""

EXAMPLES = """\
  ray_model_server traffic ranking 7=90 8=10
  ray_model_server traffic ranking stable=99.5 canary=0.5
  ray_model_server traffic ranking --none"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("traffic", DESCRIPTION, EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name, help="its name")
    made.add_argument(
        "shares", metavar="VERSION=PERCENT", nargs="*", type=version_share, help="versions or labels; 100 in all"
    )
    made.add_argument("--none", action="store_true", help="end the division: the newest version gets all requests")
    add_conditions(made)
    given = made.parse_args(arguments)
    if given.none == bool(given.shares):
        made.error("name either shares such as 7=90 8=10, or --none")
    if given.shares and (problem := problem_of(given.shares)):
        made.error(problem)
    request = RolloutRequest(given.model, "traffic", traffic=tuple(given.shares))
    return answered(lambda: give_order(client(given), request, given), as_json=given.json)
