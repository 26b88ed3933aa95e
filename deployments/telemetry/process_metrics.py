"""The metrics registry of this process, and the reports made from it."""

from __future__ import annotations

import itertools
import os
import secrets
from functools import cache
from threading import Lock

from core.telemetry.metric_report import Report, to_bytes
from core.telemetry.metrics import Metrics

METRICS = Metrics()

_lock = Lock()
_numbers = itertools.count(1)


def process_name() -> str:
    """Return the name that no other process reports under; a forked one has another than its parent."""
    return _name_of(os.getpid())


@cache
def _name_of(pid: int) -> str:  # noqa: ARG001 - the key
    return secrets.token_hex(8)


def report() -> bytes:
    """Return a report of this process; one at a time, so that a later report never has smaller values."""
    with _lock:
        return to_bytes(Report(process_name(), next(_numbers), METRICS.snapshot()))
