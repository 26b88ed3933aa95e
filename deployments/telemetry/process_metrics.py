"""The metrics registry of this process, and the reports made from it."""

from __future__ import annotations

import itertools
import secrets
from threading import Lock

from core.telemetry.metric_report import Report, to_bytes
from core.telemetry.metrics import Metrics

METRICS = Metrics()
PROCESS = secrets.token_hex(8)

_lock = Lock()
_numbers = itertools.count(1)


def report() -> bytes:
    """Return a report of this process; one at a time, so that a later report never has smaller values."""
    with _lock:
        return to_bytes(Report(PROCESS, next(_numbers), METRICS.snapshot()))
