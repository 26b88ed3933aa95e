"""Runs work in a process and session of its own, and answers for it: signals, exit status, everything that it starts.

A signal to a process group (Ctrl-C, `timeout`, a closed terminal) reaches the supervisor alone, which passes it on.
What the work starts may thus finish in order. However the work ends, no process of it is left: the supervisor adopts
those that lose their parent (`PR_SET_CHILD_SUBREAPER`), and the work ends when it loses the supervisor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import psutil

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask for an orderly end."""

ONE_REQUEST_LASTS_S = 1.0
"""`timeout` sends its signal twice, make and shells pass on what their whole group gets: that is one request."""

UP = b"u"
PR_SET_CHILD_SUBREAPER = 36
KILLED_END_WITHIN_S = 5.0
FAILED = 1

Work = Callable[["Supervised"], int]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the work ended: its exit status, or the signal that killed it; whether it was up, and asked to stop."""

    status: int
    signal: int
    was_up: bool
    was_stopped: bool
    was_hurried: bool = False


class Supervised:
    """The work's side: the request to stop, and the report that an orderly stop is possible."""

    def __init__(self, link: int) -> None:
        self._link = link
        self.stop = threading.Event()

    def report_up(self) -> None:
        """Report that from now on a request to stop is followed by the work itself; before, its process is killed."""
        with suppress(OSError):
            os.write(self._link, UP)


def supervise(work: Work, clear: Callable[[], None]) -> Ending:
    """Run the work to its end; at last, `clear` removes its files, also when the supervisor is killed.

    The first SIGTERM, SIGINT or SIGHUP (unless it is ignored, as under nohup) sets `stop`. A later SIGINT kills.
    Call this early, because it forks: a thread that runs by then is missing in the work's process.
    """
    signals = _SignalPipe()
    sys.stdout.flush()
    parents_end, childs_end = os.pipe()
    ups, downs = os.pipe()
    child = os.fork()
    if child == 0:
        signals.close()
        os.close(ups)
        os.close(childs_end)
        _run(work, Supervised(downs), parents_end, clear)
    os.close(downs)
    os.close(parents_end)
    os.set_blocking(ups, False)
    _adopt_orphans()
    try:
        return _Watch(child, ups).until_it_ends(signals)
    finally:
        end_descendants()
        clear()
        os.close(ups)
        os.close(childs_end)
        signals.close()


class _SignalPipe:
    """Signals of this process in the order of their arrival, whichever thread they interrupt."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        heard = [one for one in STOPPING if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN]
        self._before = {one: signal.signal(one, lambda *_: None) for one in (*heard, signal.SIGCHLD)}
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def next(self) -> int:
        return os.read(self._reader, 1)[0]

    def close(self) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)


def end_descendants() -> None:
    """Kill every process below this one, and wait until they are gone."""
    ends_at = time.monotonic() + KILLED_END_WITHIN_S
    while below := psutil.Process().children(recursive=True):
        for one in below:
            with suppress(psutil.Error):
                one.kill()
        _reap()
        if time.monotonic() > ends_at:
            return
        time.sleep(0.01)


class _Watch:
    """The supervisor's look at one child."""

    def __init__(self, child: int, ups: int) -> None:
        self._child = child
        self._ups = ups
        self._was_up = False
        self._stopped_s: float | None = None
        self._was_hurried = False

    def until_it_ends(self, signals: _SignalPipe) -> Ending:
        while True:
            number = signals.next()
            if number == signal.SIGCHLD:
                ended = _reap().get(self._child)
                if ended is not None:
                    return self._ending(ended)
            elif self._stopped_s is None:
                self._stop()
            elif number == signal.SIGINT and time.monotonic() - self._stopped_s > ONE_REQUEST_LASTS_S:
                self._was_hurried = True
                self._send(signal.SIGKILL)

    def _stop(self) -> None:
        self._stopped_s = time.monotonic()
        self._send(signal.SIGTERM if self._is_up() else signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def _is_up(self) -> bool:
        with suppress(BlockingIOError):
            self._was_up = self._was_up or os.read(self._ups, 1) == UP
        return self._was_up

    def _ending(self, ended: int) -> Ending:
        code = os.waitstatus_to_exitcode(ended)
        return Ending(max(code, 0), max(-code, 0), self._is_up(), self._stopped_s is not None, self._was_hurried)


def _run(work: Work, supervised: Supervised, parents_end: int, clear: Callable[[], None]) -> NoReturn:
    """Be the child.

    SIGTERM stays blocked, also in what is started from here: only a thread takes it.
    """
    status = FAILED
    try:
        os.setsid()
        _adopt_orphans()  # whom nobody would find once the supervisor is killed
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM, signal.SIGHUP})
        threading.Thread(target=_take_signals, args=(supervised.stop,), name="signals", daemon=True).start()
        threading.Thread(target=_end_with, args=(parents_end, clear), name="supervisor", daemon=True).start()
        status = work(supervised)
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _take_signals(stop: threading.Event) -> None:
    while True:
        signal.sigwait({signal.SIGTERM, signal.SIGHUP})
        stop.set()


def _end_with(parents_end: int, clear: Callable[[], None]) -> None:
    """End at once when the supervisor was killed, and left nobody to wait for what this process started."""
    with suppress(OSError):
        os.read(parents_end, 1)
    end_descendants()
    clear()
    os._exit(FAILED)


def _reap() -> dict[int, int]:
    """Return the wait statuses of the children that have ended."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            ended[one[0]] = one[1]
    return ended


def _adopt_orphans() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
