"""Sums the metrics of all processes; part of the watcher.

`core.telemetry.metric_ledger` has the rules. This module adds the clock and a lock, because the thread of the ticks and
the event loop both deliver reports.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock

from core.errors import InvalidArgument
from core.telemetry.metric_ledger import Collected, Copy, Ledger, Stamp, adopted, kept, plain_sums
from core.telemetry.metric_names import PAGE_METRICS
from core.telemetry.metric_page import page
from core.telemetry.metric_report import Report, from_bytes
from core.telemetry.traffic import Sample, Traffic, TrafficHistory, Version, counts
from deployments.telemetry.process_metrics import report

log = logging.getLogger(__name__)

LONGEST_STEP_S = 20.0
"""Largest step of the ledger's clock: while this process was stopped, no report could arrive."""

ROUTER_LEAVES_AFTER_S = 30.0

SAMPLE_EVERY_S = 1.0
"""Least time between two samples of the traffic."""


class Collector:
    """Takes reports and returns their sums; none before `adopt`, because routers may have a ledger to continue."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = Lock()
        self._ledger: Ledger | None = None
        self._clock_s = 0.0
        self._looked_s = now_s()
        self._routers: dict[str, float] = {}
        self._history = TrafficHistory()
        self._sampled_s = -SAMPLE_EVERY_S

    @property
    def is_ready(self) -> bool:
        """Whether the previous sums have been adopted."""
        return self._ledger is not None

    def adopt(self, copies: Iterable[bytes]) -> None:
        """Continue from the newest copy of the ledger that a router keeps."""
        with self._lock:
            self._ledger = adopted(copies, self._turn())

    def take(self, reports: Iterable[bytes]) -> None:
        """Take reports of processes; one that cannot be read is left out."""
        readable = [one for one in map(_read, reports) if one is not None]
        with self._lock:
            if self._ledger is not None:
                self._ledger = self._ledger.after(readable, self._turn())
                self._sample(self._ledger)

    def _sample(self, ledger: Ledger) -> None:
        """Add the present sums to the history, with the real time, so that rates are right after a pause."""
        now_s = self._now_s()
        if now_s - self._sampled_s < SAMPLE_EVERY_S:
            return
        self._sampled_s = now_s
        self._history = self._history.after(Sample(now_s, counts(ledger.total(self._clock_s))))

    def traffic(self) -> dict[Version, Traffic]:
        """Return the rates and latencies of each version."""
        with self._lock:
            return self._history.traffic(self._now_s())

    def collected(self, have: Stamp, *, with_page: bool) -> Collected | None:
        """Return the sums; None while they are not known."""
        self.take([report()])
        with self._lock:
            ledger, now_s = self._ledger, self._clock_s
        if ledger is None:
            return None
        copy = None if ledger.stamp == have else Copy(ledger.stamp, kept(ledger))
        if not with_page:
            return Collected(copy=copy)
        total = ledger.total(now_s)
        return Collected(page(PAGE_METRICS, total), copy, plain_sums(total))

    def has_others(self, router: str) -> bool:
        """Note a request of a router; whether others have requested sums recently."""
        now_s = self._now_s()
        self._routers[router] = now_s
        self._routers = {name: at_s for name, at_s in self._routers.items() if now_s - at_s <= ROUTER_LEAVES_AFTER_S}
        return len(self._routers) > 1

    def _turn(self) -> float:
        """Advance the ledger's clock."""
        now_s = self._now_s()
        self._clock_s += min(now_s - self._looked_s, LONGEST_STEP_S)
        self._looked_s = now_s
        return self._clock_s


def _read(raw: bytes) -> Report | None:
    try:
        return from_bytes(raw)
    except InvalidArgument as error:
        log.warning("metrics_unreadable error=%s", error)
        return None
