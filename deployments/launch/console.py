"""Standard output of a server that starts: lines that stay, and below them one that tells what is waited for.

On a terminal that line changes in place. Elsewhere, in a log, it is printed again after some silence.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from core.admin.rollout_messages import shortened
from deployments.launch.endings import ERASE, is_terminal, print_line

REDRAWN_EVERY_S = 0.5
TOLD_AFTER_S = 15.0
"""In a log, so long nothing else is printed before the line is."""

LOG_COLUMNS = 120

Text = Callable[[int], str]
"""A text that fits so many columns."""


@dataclass(frozen=True, slots=True)
class _Waited:
    """What is waited for, and since when; a step leaves its line behind."""

    text: Text
    since_s: float
    is_step: bool


class Console:
    """Prints for one run of the server; each line begins with the seconds since its start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = self._written_s = clock()
        self._waited: _Waited | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._ticks: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._end_step()
            self._print(self._clock(), text)
            self._draw()

    def step(self, text: str) -> None:
        """Print the beginning of what may take long, and how long it takes until the next line."""
        with self._lock:
            self._end_step()
            self._waited = _Waited(partial(shortened, text), self._clock(), is_step=True)
            if not is_terminal():
                self._print(self._clock(), text)
            self._draw()
        self._start_ticking()

    def wait_for(self, text: Text | None) -> None:
        """Show what is waited for until it is None, and how long already."""
        with self._lock:
            self._end_step()
            if text is None or self._closed.is_set():
                self._waited = None
                self._write(ERASE)
                return
            since_s = self._waited.since_s if self._waited is not None else self._clock()
            self._waited = _Waited(text, since_s, is_step=False)
            self._draw()
        self._start_ticking()

    def close(self) -> None:
        """End the changing line: what follows is printed by others."""
        self._closed.set()
        self.wait_for(None)

    def tick(self) -> None:
        """Write the changing line again: at a terminal at once, elsewhere when nothing was printed for long."""
        with self._lock:
            if is_terminal():
                self._draw()
            elif self._waited is not None and self._clock() - self._written_s >= TOLD_AFTER_S:
                self._print(self._clock(), self._progress(LOG_COLUMNS))

    def _start_ticking(self) -> None:
        """Start the thread that ticks: Ray starts in the main thread, which then does nothing else."""
        if self._ticks is None:
            self._ticks = threading.Thread(target=self._tick_until_closed, name="console", daemon=True)
            self._ticks.start()

    def _tick_until_closed(self) -> None:
        while not self._closed.wait(REDRAWN_EVERY_S):
            self.tick()

    def _end_step(self) -> None:
        """Leave the line of a step behind as it began."""
        if self._waited is not None and self._waited.is_step:
            step, self._waited = self._waited, None
            if is_terminal():
                self._print(step.since_s, step.text(sys.maxsize))

    def _print(self, at_s: float, text: str) -> None:
        self._written_s = self._clock()
        print_line(self._stamped(at_s, text))

    def _draw(self) -> None:
        if self._waited is None:
            return
        stamp = self._stamped(self._waited.since_s if self._waited.is_step else self._clock(), "")
        columns = shutil.get_terminal_size().columns - 1  # a full line would begin another
        self._write(f"{ERASE}{stamp}{self._progress(columns - len(stamp))}")

    def _write(self, text: str) -> None:
        """Write to a terminal; nobody may be there any more."""
        with suppress(OSError, ValueError):
            if is_terminal():
                sys.stdout.write(text)
                sys.stdout.flush()

    def _progress(self, columns: int) -> str:
        if self._waited is None:
            return ""
        waited = f" ({self._clock() - self._waited.since_s:.0f} s)"
        return self._waited.text(max(0, columns - len(waited))) + waited

    def _stamped(self, at_s: float, text: str) -> str:
        return f"[{at_s - self._began_s:5.1f} s] {text}"
