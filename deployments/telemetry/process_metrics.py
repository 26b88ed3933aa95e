"""The metrics of this process: one object, because a process is what is counted, and the reports of it."""

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
    """Tell the numbers of this process; one report at a time, so that a later one never has smaller numbers."""
    with _lock:
        return to_bytes(Report(PROCESS, next(_numbers), METRICS.snapshot()))
