"""Explains how a run of the server ended: its last line, and its exit status.

Whatever fails passes through here, so that nothing ends in a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from core.admin.start_failures import TRACEBACK_VARIABLE, failure_text, parse_errors

if TYPE_CHECKING:  # a subcommand needs neither, and should start quickly
    from deployments.launch.terminal import Say
    from deployments.system.supervisor import Ending

FAILED_START = 255
"""Exit status of a failed start (TensorFlow Serving, -1)."""

FAILED_LATER = 1
INTERRUPTED = 130
"""Exit status of what SIGINT ended, as shells report it."""

STDOUT = 1
ERASE = "\r\x1b[K"
"""Erases the line in which a terminal's cursor stands."""


class ServerLost(Exception):
    """The server had started, and cannot go on, or could not be stopped in order."""


def is_terminal() -> bool:
    """Whether what was printed last can be erased and printed anew."""
    with suppress(ValueError, AttributeError):  # it is closed
        return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}
    return False


def print_line(text: str) -> None:
    """Print a line at once; nothing is printed any more once nobody reads, because a server goes on without readers.

    At a terminal it takes the place of a line that changes, of this process or of one that was killed.
    """
    try:
        sys.stdout.write(f"{ERASE if is_terminal() else ''}{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def refused(error: BaseException) -> int:
    """Print why the server does not start, as TensorFlow Serving does; returns the exit status.

    What is wrong with a text file is also on stderr, unless that is a terminal, where it would stand twice.
    """
    show_traceback(error)
    with suppress(OSError, ValueError, AttributeError):
        if not sys.stderr.isatty():
            sys.stderr.writelines(f"{line}\n" for line in parse_errors(error))
            sys.stderr.flush()
    print_line(f"Failed to start server. Error: {failure_text(error)}")
    return FAILED_START


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if the environment asks for it."""
    if os.environ.get(TRACEBACK_VARIABLE, "") not in {"", "0"}:
        with suppress(OSError):
            traceback.print_exception(error, file=sys.stderr)


def status_of_start(run: Callable[[], int]) -> int:
    """Return the exit status of a run, which is that of a failed start for whatever it raises."""
    try:
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    except ServerLost as error:
        show_traceback(error)
        print_line(f"The server has ended. Error: {error}")
        return FAILED_LATER
    except Exception as error:  # noqa: BLE001 - this is the last place before a traceback
        return refused(error)


def explained(ending: Ending, say: Say) -> int:
    """Print the last line of a run in a process of its own; returns the exit status of the whole."""
    if ending.was_hurried:
        say("stopped at once; requests in flight were not finished")
        return INTERRUPTED
    if ending.was_stopped and not ending.was_up:
        say("stopped before it was started")
        return 0
    if ending.signal:
        return _killed(ending)
    if ending.status == 0:
        say("stopped")
    return ending.status


def _killed(ending: Ending) -> int:
    name = signal.Signals(ending.signal).name
    hint = "; the machine or container may be short of memory" if ending.signal == signal.SIGKILL else ""
    start = "" if ending.was_up else "Failed to start server. Error: ABORTED: "
    print_line(f"{start}The server's process was ended by {name}{hint}.")
    return FAILED_LATER if ending.was_up else FAILED_START
