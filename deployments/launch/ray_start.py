"""Starts Ray, and retries a start that times out, as happens on slow or busy machines.

Ray gives its processes 30 s, a constant without a setting, and leaves them running when it gives up.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

import psutil
import ray
from ray._private.node import Node

from core.errors import Unavailable

TRIES = 3
KILLED_END_WITHIN_S = 20.0

LATE: Final = ("timed out during startup", "Timed out waiting for file")
"""Texts of Ray's exceptions when the raylet, or the GCS before it, did not come up in time; they have no class."""

ADVICE = (
    f"Ray did not start in {TRIES} tries of 30 s each. The machine is too slow or too busy, or short of memory or of "
    "space below /tmp or /dev/shm. Free some and try again, or start Ray on its own (ray start --head) and join it."
)

Say = Callable[[str], None]


class RayStart(Protocol):
    """One way to start Ray."""

    def start(self) -> None:
        """Start Ray and connect to it; raises StartTimedOut when it does not come up in time."""

    def clear(self) -> None:
        """Remove what the last start left behind when it failed: its processes and its session folder."""


class StartTimedOut(Exception):
    """Ray did not come up in time; nothing else is wrong."""


def start_ray(one: RayStart, say: Say, is_stopped: Callable[[], bool] = lambda: False) -> None:
    """Start Ray, up to three times; raises Unavailable when it never came up, or when it is not to be tried again."""
    for number in range(1, TRIES + 1):
        try:
            one.start()
        except StartTimedOut:
            one.clear()
        except Exception:
            one.clear()
            raise
        else:
            return
        if is_stopped():
            raise Unavailable("Ray was still starting when the server was stopped.")
        if number < TRIES:
            say(f"Ray did not start within its 30 s; trying again ({number + 1} of {TRIES})")
    raise Unavailable(ADVICE)


def raise_if_late(error: Exception) -> None:
    """Raise StartTimedOut when Ray failed with this error because it did not come up in time."""
    if any(text in str(error) for text in LATE):
        raise StartTimedOut from None


def remove_failed(node: Node | None) -> None:
    """Leave Ray, end the processes of a node that did not come up, if there is one, and remove its session folder."""
    ray.shutdown()
    if node is None:
        return
    folder = node.get_session_dir_path()
    started = [one.process.pid for infos in node.all_processes.values() for one in infos]
    left = halted(started) | _of_session(folder)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    node.kill_all_processes(check_alive=False, wait=True)
    _wait_until(lambda: not any(map(_runs, left)))  # until then they write into the folder
    _wait_until(lambda: _is_removed(folder))


def node_of(error: BaseException) -> Node | None:
    """Find the node that was being started: only the frames of the exception still hold it."""
    trace = error.__traceback__
    while trace is not None:
        candidate = trace.tb_frame.f_locals.get("self")
        if isinstance(candidate, Node):
            return candidate
        trace = trace.tb_next
    return None


def halted(pids: Iterable[int]) -> set[psutil.Process]:
    """Stop these processes and all below them, so that none can start another one unseen, and return them.

    Who searches first and kills then misses what was started in between. By its command line it is not found either:
    Ray's agents and workers replace theirs.
    """
    all_halted: set[psutil.Process] = set()
    while fresh := _with_descendants(pids) - all_halted:
        _halt(fresh)
        all_halted |= fresh
    return all_halted


def _halt(processes: set[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.Error):
            one.suspend()
    _wait_until(lambda: all(map(_is_halted, processes)))


def _with_descendants(pids: Iterable[int]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found.update((process, *process.children(recursive=True)))
    return found


def _is_halted(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    return True


def _of_session(folder: str) -> set[psutil.Process]:
    """Return the processes whose command line names the session folder."""
    return {
        one for one in psutil.process_iter(["cmdline"]) if any(folder in part for part in one.info["cmdline"] or ())
    }


def _is_removed(folder: str) -> bool:
    """Remove a folder; whether it is gone, which it is not when somebody has just written into it."""
    shutil.rmtree(folder, ignore_errors=True)
    return not os.path.exists(folder)


def _wait_until(is_true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + KILLED_END_WITHIN_S
    while not is_true() and time.monotonic() < ends_at:
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
