"""Starts Ray, and retries a start that times out, as happens on slow or busy machines.

Ray gives its processes 30 s, a constant without a setting, and leaves them running when it gives up.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, Protocol

import psutil
import ray
from ray._private.node import Node

from core.errors import Unavailable

TRIES = 3
KILLED_END_WITHIN_S = 5.0

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


class RayInit:
    """`ray.init` with these options."""

    def __init__(self, **options: Any) -> None:
        self._options = MappingProxyType(options)
        self._node: Node | None = None

    def start(self) -> None:
        """Start Ray and connect to it; raises StartTimedOut when it does not come up in time."""
        try:
            ray.init(**self._options)
        except Exception as error:
            self._node = _node_of(error)
            if any(text in str(error) for text in LATE):
                raise StartTimedOut from None
            raise

    def clear(self) -> None:
        """Remove what the last start left behind when it failed: its processes and its session folder."""
        ray.shutdown()
        node, self._node = self._node, None
        if node is None:
            return
        started = [one.process.pid for infos in node.all_processes.values() for one in infos]
        below = _descendants(started)
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        below |= _of_session(node.get_session_dir_path())  # those that were started since
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_for_end(below)  # until then they write into the folder
        shutil.rmtree(node.get_session_dir_path(), ignore_errors=True)


def _node_of(error: BaseException) -> Node | None:
    """Find the node that was being started: only the frames of the exception still hold it."""
    trace = error.__traceback__
    while trace is not None:
        candidate = trace.tb_frame.f_locals.get("self")
        if isinstance(candidate, Node):
            return candidate
        trace = trace.tb_next
    return None


def _descendants(pids: Iterable[int]) -> set[psutil.Process]:
    """Return the processes below these."""
    found: set[psutil.Process] = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.update(psutil.Process(pid).children(recursive=True))
    return found


def _of_session(folder: str) -> set[psutil.Process]:
    """Return the processes whose command line names the session folder."""
    return {
        one for one in psutil.process_iter(["cmdline"]) if any(folder in part for part in one.info["cmdline"] or ())
    }


def _wait_for_end(processes: Iterable[psutil.Process]) -> None:
    ends_at = time.monotonic() + KILLED_END_WITHIN_S
    while any(map(_runs, processes)) and time.monotonic() < ends_at:
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
