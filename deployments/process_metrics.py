"""The metrics of this process: one object, because a process is what is counted."""

from __future__ import annotations

from core.metrics import Metrics

METRICS = Metrics()
