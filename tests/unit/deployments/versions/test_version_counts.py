"""What the watcher does with versions, counted."""

from __future__ import annotations

from core.routing.table import ModelRoutes, RoutingTable
from core.routing.table_metrics import STEPS
from core.telemetry.metric_names import LOAD_ATTEMPT_COUNT, ROLLOUT_STEPS, VERSION_STATE
from core.telemetry.metrics import Metrics
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from deployments.versions.version_counts import VersionCounts


def table(generation: int, state: State, failed_attempts: int = 0) -> RoutingTable:
    """Return a table with one version."""
    history = VersionHistory(state, failed_attempts=failed_attempts)
    model = ModelRoutes(statuses=(VersionStatus(1, state),), histories={1: history}, base_path="/m")
    return RoutingTable(generation, {"m": model})


def test_every_table_is_counted_once() -> None:
    """A tick that changes nothing leaves the same table; gauges show the newest one only; counters begin with 0."""
    metrics = Metrics()
    numbers = VersionCounts(metrics)
    loading, failed, available = table(1, State.LOADING), table(2, State.START, 1), table(3, State.AVAILABLE, 1)

    for one in (loading, loading, failed, failed, available):
        numbers.follow(one)

    seen = metrics.snapshot()
    assert seen.counters == {
        ROLLOUT_STEPS.name: {("m", step): int(step in {"load", "load_failed", "available"}) for step in STEPS},
        LOAD_ATTEMPT_COUNT.name: {("/m/1", "fail"): 1},
    }
    assert seen.gauges[VERSION_STATE.name] == {("m", "1", "AVAILABLE"): 1}
