"""The console script `ray_model_server`: picks a subcommand by the first argument, or runs the server.

Other modules are imported on demand, so that a subcommand starts quickly.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from deployments.commands.table import COMMANDS

UNKNOWN_COMMAND = 2
"""Exit status for an unknown subcommand, and for arguments that a subcommand does not accept."""

INTERRUPTED = 130
"""Exit status of a subcommand that SIGINT ended, as shells report it."""

UNREAD = 141
"""Exit status of a subcommand whose reader left before the end of its output (SIGPIPE)."""

SERVER = "deployments.commands.serve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    first = given[0] if given else ""
    if first in COMMANDS:
        return _run_command(COMMANDS[first].module, given[1:])
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    if near and not first.startswith("-"):
        print(f"ray_model_server: there is no command {first}; did you mean {near[0]}?", file=sys.stderr)
        return UNKNOWN_COMMAND
    return _run(SERVER, given)


def _run_command(module: str, arguments: Sequence[str]) -> int:
    """Run a subcommand; an interrupt, or a reader that leaves early, ends it without a traceback."""
    try:
        status = _run(module, arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return status


def _run(module: str, arguments: Sequence[str]) -> int:
    status: int = importlib.import_module(module).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
