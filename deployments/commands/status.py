"""`ray_model_server status`: shows the models of a running server, their versions and labels, and errors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.admin.status_text import status_text
from core.errors import NotFound
from deployments.commands.arguments import DONE, answered, client, parser, print_json

EXAMPLES = """\
  ray_model_server status
  ray_model_server status half_plus_two --server 10.0.0.7:8500
  ray_model_server status --json | jq '.models[] | select(.problem)'"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("status", "Show the models of a running server: versions, labels, errors, rollouts.", EXAMPLES)
    made.add_argument("model", metavar="MODEL", nargs="?", default="", help="show this model only")
    given = made.parse_args(arguments)
    return answered(lambda: _show(given), as_json=given.json)


def _show(given: argparse.Namespace) -> int:
    server = client(given)
    document = server.status()
    if given.model:
        document["models"] = [one for one in document["models"] if one["name"] == given.model]
        if not document["models"]:
            raise NotFound(f"There is no model {given.model}.")
    if given.json:
        print_json(document)
    else:
        print(status_text(document, server.target), end="")
    return DONE
