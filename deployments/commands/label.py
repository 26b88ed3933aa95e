"""`ray_model_server label`: points a label to a version, or removes it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.admin import model_changes
from core.admin.change_outcome import label_removed, labelled
from deployments.commands.arguments import answered, client, name, parser, version_number
from deployments.commands.model_change import ModelChange, carry_out

DESCRIPTION = """\
Point a label of a model to a version, wherever it pointed before, or remove it.

The label moves at once when the version answers. Otherwise it waits for it; until then a label keeps the version
that it had, so no request by it fails.

The change holds until the content of a configuration file changes; make it there too if it is to stay."""

EXAMPLES = """\
  ray_model_server label half_plus_two stable 3
  ray_model_server label half_plus_two --remove canary"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("label", DESCRIPTION, EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name, help="its name")
    made.add_argument("name", metavar="NAME", type=name, nargs="?", help="the label")
    made.add_argument(
        "version", metavar="VERSION", nargs="?", type=version_number, help="the version that it is to name"
    )
    made.add_argument("--remove", metavar="NAME", type=name, help="take this label away")
    given = made.parse_args(arguments)
    if (given.version is None) != bool(given.remove) or (given.remove and given.name):
        made.error("name either a label and its version, or --remove and a label")
    return answered(lambda: carry_out(client(given), _request(given), as_json=given.json), as_json=given.json)


def _request(given: argparse.Namespace) -> ModelChange:
    if given.remove:
        change, look = model_changes.remove_label(given.model, given.remove), label_removed(given.model, given.remove)
    else:
        change = model_changes.label(given.model, given.name, given.version)
        look = labelled(given.model, given.name)
    return ModelChange(given.model, change, look)
