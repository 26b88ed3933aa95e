"""The watcher's metrics about versions, counted from the tables that it publishes."""

from __future__ import annotations

from core.delivery_status.rollout_metrics import delivery_cells, delivery_events, delivery_gauges
from core.routing.table import RoutingTable
from core.routing.table_metrics import LOAD_FAILED, STEPS, gauges, steps
from core.telemetry.metric_names import LOAD_ATTEMPT_COUNT, ROLLOUT_STEPS
from core.telemetry.metrics import Metrics
from deployments.telemetry.process_metrics import METRICS


class VersionCounts:
    """Follows the tables of one watcher."""

    def __init__(self, metrics: Metrics = METRICS) -> None:
        self._metrics = metrics
        self._table = RoutingTable(0)

    def follow(self, table: RoutingTable) -> None:
        """Count what happened since the last table; a failed load is counted here, because its process is gone."""
        if table is self._table:
            return
        for metric, values in (gauges(table) | delivery_gauges(table)).items():
            self._metrics.replace(metric, values)
        for model in frozenset(table.models) - frozenset(self._table.models):
            self._begin(model)
        self._follow_rollouts(table)
        for step in steps(self._table, table):
            self._metrics.count(ROLLOUT_STEPS, step.model, step.name)
            if step.name == LOAD_FAILED:
                self._metrics.count(LOAD_ATTEMPT_COUNT, step.path, "fail")
        self._table = table

    def _follow_rollouts(self, table: RoutingTable) -> None:
        for name, routes in table.models.items():
            for metric, labels in delivery_cells(name, routes):
                self._metrics.counter(metric, *labels)
        for metric, labels in delivery_events(self._table, table):
            self._metrics.count(metric, *labels)

    def _begin(self, model: str) -> None:
        """Let all counters of a model begin with 0: to Prometheus, one that begins with 1 has not risen."""
        for step in STEPS:
            self._metrics.counter(ROLLOUT_STEPS, model, step)
