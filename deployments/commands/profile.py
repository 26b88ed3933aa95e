"""`ray_model_server profile`: records a replica of a running server into a file for Perfetto."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import Code, RuntimeFailure
from core.profiling.profile_request import LONGEST_S, SHORTEST_S, ProfileRequest
from deployments.commands.arguments import DONE, answered, client, name, parser, print_json, version_number

EXAMPLES = """\
  ray_model_server profile half_plus_two --seconds 5 --output profile.json
  ray_model_server profile ranking --label canary --server 10.0.0.7:8500"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("profile", "Record what a replica does: Python threads, and TensorFlow's operations.", EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name)
    which = made.add_mutually_exclusive_group()
    which.add_argument("--version", metavar="N", type=version_number, help="which version (default: the newest)")
    which.add_argument("--label", metavar="NAME", type=name, help="the version that this label names")
    length = f"from {SHORTEST_S:g} to {LONGEST_S:g} (default: 5)"
    made.add_argument("--seconds", metavar="N", type=float, default=5.0, help=length)
    made.add_argument("--output", metavar="FILE", default="profile.json", help="default: profile.json")
    given = made.parse_args(arguments)
    return answered(lambda: _record(given), as_json=given.json)


def _record(given: argparse.Namespace) -> int:
    request = ProfileRequest(given.model, given.seconds, given.version, given.label).checked()
    output = Path(given.output)
    if output.is_dir() or not output.parent.is_dir():
        raise RuntimeFailure(Code.INVALID_ARGUMENT, f"{output} cannot be written.")
    trace, version = client(given).profile(request)
    try:
        output.write_bytes(trace)
    except OSError as error:
        raise RuntimeFailure(Code.FAILED_PRECONDITION, f"{output} cannot be written: {error}") from error
    if given.json:
        print_json({"model": given.model, "version": str(version), "file": str(output), "bytes": len(trace)})
    else:
        print(f"Recorded {given.seconds:g} s of {given.model} version {version}: {output} ({len(trace) / 1e6:.1f} MB)")
        print("Open it at https://ui.perfetto.dev, which keeps it in your browser, or in chrome://tracing.")
    return DONE
