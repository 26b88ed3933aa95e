"""The console script, by either of its names: picks a subcommand by the first argument, or runs the server.

Other modules are imported on demand, so that a subcommand starts quickly.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence

from core.admin.start_failures import failure_text
from deployments.commands.table import COMMANDS, program
from deployments.launch.endings import INTERRUPTED, STDOUT, refused, show_traceback

UNKNOWN_COMMAND = 2
"""Exit status for an unknown subcommand, and for arguments that a subcommand does not accept."""

FAILED = 1
"""Exit status of a subcommand that failed."""

UNREAD = 141
"""Exit status of a run whose reader left before the end of its output (SIGPIPE)."""

HELP = frozenset({"help", "-h"})
"""`--help` is the server's flag: it ends with TensorFlow Serving's status."""

SERVER = "deployments.commands.serve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; returns the exit status. Nothing that fails ends in a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _chosen(given)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return UNREAD


def _chosen(given: Sequence[str]) -> int:
    first = given[0] if given else ""
    if first in COMMANDS:
        return _run_command(first, given[1:])
    if first in HELP:
        return _help(*given[1:2])
    wrong = _unknown_command(given) if first and not first.startswith("--") else ""
    if wrong:
        print(wrong, file=sys.stderr)
        return UNKNOWN_COMMAND
    return _run_server(given)


def _help(topic: str = "") -> int:
    """Print the help of the program, of its flags, or of a command."""
    if topic in COMMANDS:
        return _run_command(topic, ["--help"])
    from deployments.commands.command_help import help_text  # noqa: PLC0415 - a subcommand does not need the flags

    text = help_text(topic)
    if text is None:
        print(_unknown_command([topic]) or f"{program()}: there is no help for {topic}", file=sys.stderr)
        return UNKNOWN_COMMAND
    print(text)
    return 0


def _unknown_command(given: Sequence[str]) -> str:
    from deployments.commands.command_help import unknown_command  # noqa: PLC0415 - a subcommand does not need the flags

    return unknown_command(given)


def _run_server(arguments: Sequence[str]) -> int:
    try:
        return _main(SERVER, arguments)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - this is the last place before a traceback
        return refused(error)


def _run_command(name: str, arguments: Sequence[str]) -> int:
    """Run a subcommand; a failure that is not its own ends it with one line, or with a document if that was wanted."""
    try:
        return _main(COMMANDS[name].module, arguments)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - this is the last place before a traceback
        show_traceback(error)
        code, _, text = failure_text(error).partition(": ")
        if "--json" in arguments:
            print(json.dumps({"error": {"code": code, "message": text}}, indent=2))
        else:
            print(f"{program()} {name}: {code}: {text}", file=sys.stderr)
        return FAILED


def _main(module: str, arguments: Sequence[str]) -> int:
    status: int = importlib.import_module(module).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
