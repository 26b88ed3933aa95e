"""The process that forks: it has imported what a version needs, has opened TensorFlow's library, and has one thread.

So its children begin with all of that in memory that they share, and a fork is sound. It knows no Ray. It ends with its
host; its children do not, so that the death of either costs no answer (`deployments.hosting.child`).
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NoReturn

from deployments.hosting.child import be_child
from deployments.hosting.messages import Ended, Forked, ForkOrder, packed, received
from deployments.platforms.registry import MODULES
from deployments.runtime.library import register_operations

BACKLOG: Final = 8


def main() -> None:
    """Serve the host at the other end of a socket; arguments are its number, and the process with which all end."""
    _write_lines_at_once()
    control = socket.socket(fileno=int(sys.argv[1]))
    guardian = _ending_of(int(sys.argv[2]))
    _preload()
    Zygote(control, guardian).run()


def _write_lines_at_once() -> None:
    """Let what models print appear when they print it, here and in all children: most of them end by a signal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _ending_of(pid: int) -> int:
    """Return a file that becomes readable when a process ends; never, where the kernel does not offer that."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise SystemExit(0) from None
    except OSError:
        return os.pipe()[0]  # its other end stays open


def _preload() -> None:
    """Bring to memory what every child needs, and keep the garbage collector from writing to it."""
    register_operations()
    _share(place.partition(":")[0] for place in MODULES.values())


def _share(modules: Iterable[str]) -> None:
    """Import modules before the next fork."""
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


class Zygote:
    """Forks on order, and reports how children end."""

    def __init__(self, control: socket.socket, guardian: int) -> None:
        self._control = control
        self._guardian = guardian
        self._tried: set[str] = set()
        self._ended, signals = os.pipe()
        os.set_blocking(self._ended, False)
        os.set_blocking(signals, False)
        self._signals = signals
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signals, warn_on_full_buffer=False)

    def run(self) -> None:
        """Follow orders until the host has gone, or the process with which all end."""
        while True:
            ready = select.select([self._control.fileno(), self._ended, self._guardian], [], [])[0]
            if self._guardian in ready:
                return
            try:
                self._turn(ready)
            except (EOFError, OSError):
                return

    def _turn(self, ready: list[int]) -> None:
        if self._ended in ready:
            with suppress(BlockingIOError):
                os.read(self._ended, 4096)
            self._reap()
        if self._control.fileno() in ready:
            order: ForkOrder = received(self._control)
            self._control.sendall(packed(self._fork(order)))

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (one := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                with suppress(OSError):  # what it started itself ends too; until it is reaped, its number is its own
                    os.killpg(one.si_pid, signal.SIGKILL)
                _, status = os.waitpid(one.si_pid, 0)
                self._control.sendall(packed(Ended(one.si_pid, os.waitstatus_to_exitcode(status))))

    def _fork(self, order: ForkOrder) -> Forked:
        new = tuple(one for one in order.modules if one not in self._tried)
        if new:
            self._tried.update(new)
            with suppress(Exception, SystemExit):  # the child says what it misses
                _share(new)
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            problem = f"the process that forks has {threads} threads"
            return Forked(order.path, problem=problem, is_spent=True, imported=new)
        try:
            listener = _bound(order.path)
            pid = os.fork()
        except OSError as error:
            with suppress(OSError):
                os.unlink(order.path)
            return Forked(order.path, problem=f"no process could be forked: {error}")
        if pid == 0:
            self._become_child(listener, order)
        listener.close()
        return Forked(order.path, pid)

    def _become_child(self, listener: socket.socket, order: ForkOrder) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._ended, self._signals):
                os.close(mine)
            self._control.close()
            status = be_child(listener, self._guardian, order)
        except BaseException:  # noqa: BLE001 - nothing may return into the loop of the parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _bound(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    main()
