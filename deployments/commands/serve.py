"""`ray_model_server` without a subcommand: runs the server with TensorFlow Serving's flags until it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from core.config.arguments import ArgumentsOutcome, all_flags
from core.errors import ConfigError
from deployments.commands.command_help import overview
from deployments.commands.table import program
from deployments.config.startup_settings import checked, parse_arguments
from deployments.launch.endings import FAILED_START, refused, status_of_start
from deployments.launch.server_run import run_server, warn
from deployments.system.entry_points import registered_names


def main(arguments: Sequence[str]) -> int:
    """Run the server until SIGTERM or SIGINT; returns the exit status."""
    parsed = parse_arguments(arguments, program())
    if parsed.outcome is ArgumentsOutcome.VERSION:
        print(f"Ray Model Server: {version('ray-model-server')}\nTensorFlow Library: {version('tensorflow')}")
        for extension in registered_names():
            print(f"Extension: {extension}")
        return 0
    if parsed.outcome in {ArgumentsOutcome.HELP, ArgumentsOutcome.FLAGS}:
        print(overview() if parsed.outcome is ArgumentsOutcome.HELP else all_flags(program()))
        return parsed.exit_code or 0
    if parsed.output:
        print(parsed.output.rstrip("\n"), flush=True)
    warn(parsed.warnings)
    if parsed.settings is None:
        status = parsed.exit_code or FAILED_START if parsed.output else refused(ConfigError(parsed.problems))
        if not arguments:
            print(f"{program()} help shows the commands and the first flags.", file=sys.stderr)
        return status
    flags = parsed.settings
    return status_of_start(lambda: run_server(*checked(flags)))
