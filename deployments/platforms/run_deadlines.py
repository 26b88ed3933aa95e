"""Deadlines of runs that can be ended from another thread: one thread watches all of them, and none while none runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FOREVER = float("inf")


class RunDeadlines:
    """Calls a function for every run that lasts longer than its time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs: dict[object, tuple[float, Callable[[], None]]] = {}
        self._looks_at = FOREVER
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, timeout_ms: int, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` in another thread if the block lasts longer than a time."""
        run = object()
        self._add(run, time.monotonic() + timeout_ms / 1000, end)
        try:
            yield
        finally:
            with self._changed:
                self._runs.pop(run, None)

    def _add(self, run: object, ends_at: float, end: Callable[[], None]) -> None:
        with self._changed:
            self._runs[run] = (ends_at, end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="run-deadlines", daemon=True)
                self._looks_at = ends_at
                self._thread.start()
            elif ends_at < self._looks_at:
                self._looks_at = ends_at
                self._changed.notify()

    def _watch(self) -> None:
        while self._wait():
            for end in self._overdue():
                end()

    def _wait(self) -> bool:
        """Wait for the next deadline; False when there has been no run for as long as one may take."""
        with self._changed:
            self._changed.wait(max(0.0, self._looks_at - time.monotonic()))
            if not self._runs:
                self._thread = None
                return False
            return True

    def _overdue(self) -> list[Callable[[], None]]:
        with self._changed:
            now = time.monotonic()
            overdue = [run for run, (ends_at, _) in self._runs.items() if ends_at <= now]
            ends = [self._runs.pop(run)[1] for run in overdue]
            self._looks_at = min((ends_at for ends_at, _ in self._runs.values()), default=now)
            return ends
