"""Tells Ray's own metrics what this process has counted, so that Ray's dashboard shows it: at times, in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ray.util.metrics import Counter, Gauge

from core.telemetry.metric_changes import Change, changes
from core.telemetry.metrics import MetricKind, Metrics, MetricSnapshot
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0
"""As often as Ray's processes send their numbers on."""

Tell = Callable[[Change], None]


class RayNumbers:
    """Ray's counters and gauges, made when they are first needed."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}

    def tell(self, change: Change) -> None:
        """Add to a counter, or set a gauge."""
        name, labels = change.name, tuple(change.labels)
        if change.kind is MetricKind.COUNTER:
            counter = self._counters.get(name) or self._counters.setdefault(name, Counter(name, tag_keys=labels))
            counter.inc(change.value, dict(change.labels))
        else:
            gauge = self._gauges.get(name) or self._gauges.setdefault(name, Gauge(name, tag_keys=labels))
            gauge.set(change.value, dict(change.labels))


class RayMetrics:
    """Tells what has changed since the last time."""

    def __init__(self, metrics: Metrics = METRICS, tell: Tell | None = None, every_s: float = TELL_EVERY_S) -> None:
        self._metrics = metrics
        self._tell = tell or RayNumbers().tell
        self._every_s = every_s
        self._told = MetricSnapshot()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Tell now and then, as long as this process lives."""
        threading.Thread(target=self._run, name="ray-metrics", daemon=True).start()

    def stop(self) -> None:
        """Tell no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.tell_changes()
            except Exception:
                log.exception("ray_metrics_failed")

    def tell_changes(self) -> None:
        """Tell once; what cannot be told is told the next time, or twice if it was half told."""
        now = self._metrics.snapshot()
        for change in changes(self._told, now):
            self._tell(change)
        self._told = now
