"""`ray_model_server unload`: takes a version out of service, or removes a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.admin import model_changes
from core.admin.change_outcome import unloaded
from deployments.commands.arguments import add_waiting, answered, client, name, parser, version_number
from deployments.commands.model_change import ModelChange, carry_out

DESCRIPTION = """\
Take a version of a model out of service, or remove a model.

With VERSION, the model's version policy becomes `specific`: the versions that are served now, without this one. The
last version is not unloaded without --force. Without VERSION, the model is removed with all versions and labels.
Requests in work are finished first.

The change holds until the content of a configuration file changes; make it there too if it is to stay."""

EXAMPLES = """\
  ray_model_server unload half_plus_two 1
  ray_model_server unload half_plus_two"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("unload", DESCRIPTION, EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name, help="its name")
    made.add_argument("version", metavar="VERSION", nargs="?", type=version_number, help="one of its versions")
    made.add_argument("--force", action="store_true", help="also the last version that answers")
    add_waiting(made)
    given = made.parse_args(arguments)
    return answered(lambda: carry_out(client(given), _request(given), as_json=given.json), as_json=given.json)


def _request(given: argparse.Namespace) -> ModelChange:
    if given.version is not None:
        change = model_changes.unload_version(given.model, given.version, force=given.force)
    else:
        change = model_changes.unload_model(given.model)
    look = unloaded(given.model, given.version)
    return ModelChange(given.model, change, look, 0.0 if given.no_wait else given.timeout)
