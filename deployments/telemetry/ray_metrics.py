"""Copies the metrics of this process to Ray's own, periodically and in a thread, so that Ray's dashboard shows them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ray.util.metrics import Counter, Gauge

from core.telemetry.metric_changes import Change, changes
from core.telemetry.metrics import MetricKind, Metrics, MetricSnapshot
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

SEND_EVERY_S = 10.0
"""Period in which Ray's processes send their metrics."""

Send = Callable[[Change], None]


class RayCells:
    """Ray's counters and gauges, created when first needed."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}

    def send(self, change: Change) -> None:
        """Increase a counter, or set a gauge."""
        name, labels = change.name, tuple(change.labels)
        if change.kind is MetricKind.COUNTER:
            counter = self._counters.get(name) or self._counters.setdefault(name, Counter(name, tag_keys=labels))
            counter.inc(change.value, dict(change.labels))
        else:
            gauge = self._gauges.get(name) or self._gauges.setdefault(name, Gauge(name, tag_keys=labels))
            gauge.set(change.value, dict(change.labels))


class RayMetrics:
    """Sends changes since the last time."""

    def __init__(self, metrics: Metrics = METRICS, send: Send | None = None, every_s: float = SEND_EVERY_S) -> None:
        self._metrics = metrics
        self._send = send or RayCells().send
        self._every_s = every_s
        self._sent = MetricSnapshot()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Send periodically, as long as this process lives."""
        threading.Thread(target=self._run, name="ray-metrics", daemon=True).start()

    def stop(self) -> None:
        """Stop sending."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.send_changes()
            except Exception:
                log.exception("ray_metrics_failed")

    def send_changes(self) -> None:
        """Send once; changes are sent again after a failure, so some may be counted twice."""
        now = self._metrics.snapshot()
        for change in changes(self._sent, now):
            self._send(change)
        self._sent = now
