"""Processes of tests: those of the session's Ray, found by their titles, and those that a test starts itself."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil

from core.versions.servable import DEPLOYMENT, ServableId, app_name


def processes_titled(title: str, above: int | None = None) -> list[int]:
    """Return the processes below this one, or below another one, that bear a title.

    Ray appends the name of the method while one runs.
    """
    below = psutil.Process(above).children(recursive=True)
    return sorted(one.pid for one in below if _title(one) == title or _title(one).startswith(f"{title}."))


def replica_pids(app: str, deployment: str, above: int | None = None) -> list[int]:
    """Return the processes of a deployment, of all servers of this session or of the one that a process has started."""
    return processes_titled(f"ray::ServeReplica:{app}:{deployment}", above)


def version_pids(model: str, version: int) -> list[int]:
    """Return the processes of a version."""
    return replica_pids(app_name(ServableId(model, version)), DEPLOYMENT)


def hosted_pids(model: str, version: int) -> list[int]:
    """Return the processes of a hosted version, wherever they are: they outlive the process that forked them."""
    title = f"ray_model_server hosted {app_name(ServableId(model, version))}"
    return sorted(one.pid for one in psutil.process_iter() if _title(one) == title)


def pids_with(memory_file: str) -> list[int]:
    """Return the processes below this one that have a file in memory open, by its name."""
    below = psutil.Process().children(recursive=True)
    return sorted(one.pid for one in below if f"/memfd:{memory_file} (deleted)" in _open_files(one.pid))


def _open_files(pid: int) -> list[str]:
    found = []
    with suppress(OSError):  # the process has ended
        for one in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # the file has been closed
                found.append(os.readlink(f"/proc/{pid}/fd/{one}"))
    return found


def kill(app: str, deployment: str) -> int:
    """Kill the only process of a deployment; gives its id."""
    (pid,) = replica_pids(app, deployment)
    os.kill(pid, signal.SIGKILL)
    return pid


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def hear_signals() -> None:
    """Undo, in a new process, what others did to the tests: a shell ignores SIGINT in the background, nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def on_terminal(command: Sequence[Any], **options: Any) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program in the foreground of a terminal of its own; gives it and the terminal's other end.

    Ctrl-C is the byte 3 written there; closing it hangs up.
    """
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        hear_signals()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    try:
        started = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - it only prepares signals and the terminal
            **options,
        )
    finally:
        os.close(theirs)
    return started, ours


def has_ended(pid: int) -> bool:
    """Whether a process has ended; so has one that nobody has waited for, as orphans are not where a test adopts them."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
