"""`ray_model_server load`: loads a version beside those that are served, or adds a model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from core.admin import model_changes
from core.admin.change_outcome import loaded
from core.config.version_policy import All, Latest, VersionPolicy
from deployments.commands.arguments import add_waiting, answered, client, name, parser, version_number
from deployments.commands.model_change import ModelChange, carry_out

MOST_VERSIONS = 2**32 - 1
"""The largest `num_versions` of a version policy."""

DESCRIPTION = """\
Load a version of a model beside those that are served, or add a model.

With VERSION, the model's version policy becomes `specific`: the versions that are served now and this one. A policy
that selects the version already stays as it is. Without VERSION, the model is added, from the configuration files or
with --base-path and --policy. These two also change a model that is there.

While it waits, the command says for what on standard error. A change stays although its version cannot be loaded, so
that it is loaded as soon as it can be, and the command says so; --undo takes it back, unless somebody else has changed
the model meanwhile. A change also stays when the command waits no longer: --undo does not apply to a timeout.

The change holds until the content of a configuration file changes; make it there too if it is to stay."""

EXAMPLES = """\
  ray_model_server load half_plus_two 2
  ray_model_server load half_plus_two 3 --undo
  ray_model_server load half_plus_two --policy latest:2
  ray_model_server load mnist --base-path /models/mnist"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("load", DESCRIPTION, EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name, help="its name")
    made.add_argument("version", metavar="VERSION", nargs="?", type=version_number, help="one of its versions")
    made.add_argument(
        "--base-path", metavar="PATH", type=name, default="", help="folder or URI with one directory per version"
    )
    made.add_argument("--policy", metavar="POLICY", type=_policy, help="latest, latest:COUNT or all")
    made.add_argument(
        "--undo", action="store_true", help="take the change back if the version cannot be loaded; not after a timeout"
    )
    add_waiting(made)
    given = made.parse_args(arguments)
    if given.version is not None and given.policy is not None:
        made.error("VERSION and --policy exclude each other")
    return answered(lambda: carry_out(client(given), _request(given), as_json=given.json), as_json=given.json)


def _request(given: argparse.Namespace) -> ModelChange:
    if given.version is not None:
        change = model_changes.load_version(given.model, given.version, given.base_path)
    else:
        change = model_changes.load_model(given.model, given.base_path, given.policy)
    look = loaded(given.model, given.version)
    return ModelChange(given.model, change, look, 0.0 if given.no_wait else given.timeout, undo=given.undo)


def _policy(text: str) -> VersionPolicy:
    if text == "all":
        return All()
    count = re.fullmatch(r"latest(?::([0-9]{1,10}))?", text)
    if count is not None and 0 < int(count[1] or 1) <= MOST_VERSIONS:
        return Latest(int(count[1] or 1))
    raise argparse.ArgumentTypeError(f"{text} is not one of latest, latest:COUNT, all")
