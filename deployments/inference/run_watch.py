"""Watches the runs of code that may hang: a replica whose threads all hang is of no use, and is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from threading import get_ident
from typing import Final

import numpy as np

from core.config.model_config import BatchingParameters
from core.platforms.platform import Loaded
from deployments.system.daemon_threads import DaemonThreads

GRACE_S: Final = 1.0
"""A run is overdue so long after the end of its caller's time."""

UNBOUNDED_S: Final = 3600.0
"""What a run may take whose caller set no deadline."""


class RunWatch:
    """A loaded version that knows which of its runs are overdue; `threads` of them make it stuck."""

    def __init__(self, loaded: Loaded, clock: Callable[[], float] = time.monotonic) -> None:
        self.served = loaded.served
        self.threads = 1
        self.batching: BatchingParameters | None = getattr(loaded, "batching", None)
        self.inner = loaded
        self._clock = clock
        self._ends_at: dict[int, float] = {}

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run once, and remember meanwhile when the run should end."""
        thread = get_ident()
        self._ends_at[thread] = self._clock() + (UNBOUNDED_S if timeout_ms is None else timeout_ms / 1000)
        try:
            return self.inner.run(feeds, fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread)
        finally:
            del self._ends_at[thread]

    def overdue(self) -> int:
        """Count the runs whose callers no longer wait."""
        late = self._clock() - GRACE_S
        return sum(ends_at < late for ends_at in list(self._ends_at.values()))

    def check(self) -> None:
        """Raise RuntimeError when every thread hangs."""
        overdue = self.overdue()
        if overdue >= self.threads:
            served = self.served
            raise RuntimeError(f"{overdue} calls of {served.name} version {served.version} hang, one in each thread")

    def close(self) -> None:
        """Close the version."""
        self.inner.close()

    def close_within(self, timeout_s: float) -> None:
        """Close the version; code that takes longer is left behind."""
        closing = DaemonThreads("close", 1).submit(self.close)
        wait([closing], timeout_s)
