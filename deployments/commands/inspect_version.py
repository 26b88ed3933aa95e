"""`ray_model_server inspect`: shows what a version is, without serving it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.config.model_config import subpath_problem
from core.inspection.document import inspected_document
from core.inspection.text import inspection_text
from deployments.commands.arguments import DONE, FAILED, answered, name, print_json, version_number
from deployments.commands.table import program
from deployments.inspection.inspection import inspected
from deployments.inspection.version_folder import opened_version

DESCRIPTION = """\
Show what a version is, without serving it: signatures with types, shapes and defaults, sizes, operations and those that
this server cannot run, devices, warm-up requests, hooks, and what would make it fail when it is loaded or run.

PATH is the folder of a version, or a base path, whose newest version is shown; or a URL of either in a store that base
paths may name. TensorFlow's Python package is not imported, and Python of the version is not run."""

EPILOG = """\
examples:
  ray_model_server inspect /models/ranking
  ray_model_server inspect s3://bucket/models/ranking --version 7 --json
  ray_model_server inspect s3://registry/ranking --subpath data/model

exit status: 0 nothing found, 1 it would fail when it is loaded or run, or cannot be read, 2 wrong arguments"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = argparse.ArgumentParser(
        prog=f"{program()} inspect",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("path", metavar="PATH", type=name)
    made.add_argument("--version", metavar="N", type=version_number, help="which version below a base path")
    made.add_argument("--subpath", metavar="FOLDER", type=_subpath, help="where in a version's folder its model lies")
    made.add_argument("--tags", metavar="TAGS", default="serve", help="tags of the graph to serve (default: serve)")
    made.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = made.parse_args(arguments)
    if not given.path:
        made.error("PATH is empty")
    return answered(lambda: _inspect(given), as_json=given.json)


def _subpath(text: str) -> str:
    """Parse a subpath, which has the rules of `version_subpath`."""
    problem = subpath_problem(text)
    if problem:
        raise argparse.ArgumentTypeError(problem)
    return text


def _inspect(given: argparse.Namespace) -> int:
    with opened_version(given.path, given.version, given.subpath or "") as version:
        found = inspected(version, frozenset(given.tags.split(",")))
    document = inspected_document(found)
    if given.json:
        print_json(document)
    else:
        print(inspection_text(document), end="")
    return FAILED if found.problems else DONE
