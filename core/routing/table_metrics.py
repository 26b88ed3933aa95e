"""Metrics that follow from routing tables: gauges of the present one, and steps between two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.routing.server_state import Readiness, server_state
from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.metric_names import (
    CONFIG_PROBLEMS,
    HOSTED_VERSIONS,
    PENDING_LABELS,
    SERVER_STATE,
    STORAGE_PROBLEM,
    VERSION_STATE,
)
from core.telemetry.metrics import Labels, Metric
from core.versions.history import VersionHistory
from core.versions.hosted import node_of_host
from core.versions.lifecycle import State

LOAD_FAILED = "load_failed"
LOST = "lost"
UNLOADED = "unloaded"

ENTERED: Mapping[State, str] = {
    State.LOADING: "load",
    State.AVAILABLE: "available",
    State.UNLOADING: "unload",
}
STEPS = (*ENTERED.values(), UNLOADED, LOAD_FAILED, LOST)


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a version's state; `path` is its directory."""

    model: str
    name: str
    path: str


def gauges(table: RoutingTable) -> dict[Metric, dict[Labels, float]]:
    """Return all gauges that follow from a table."""
    models = table.models.items()
    readiness = server_state(table).readiness
    return {
        VERSION_STATE: {
            (name, str(status.version), status.state.name): 1 for name, model in models for status in model.statuses
        },
        PENDING_LABELS: {(name,): len(model.pending_labels) for name, model in models if model.labels},
        STORAGE_PROBLEM: {(name,): int(bool(model.problem)) for name, model in models if model.configured},
        SERVER_STATE: {(one.value,): int(one is readiness) for one in Readiness},
        CONFIG_PROBLEMS: {(): len(table.in_force.problems)},
        HOSTED_VERSIONS: dict(Counter((node_of_host(host),) for host in table.hosts.values())),
    }


def steps(before: RoutingTable, after: RoutingTable) -> Iterator[Step]:
    """Yield the steps between two tables.

    Of a new version only the loading counts: any other state is the work of another watcher.
    """
    for name, model in after.models.items():
        known = before.models.get(name, ModelRoutes()).histories
        for version, now in model.histories.items():
            path = f"{model.base_path}/{version}"
            yield from (Step(name, step, path) for step in _steps(known.get(version), now))


def _steps(before: VersionHistory | None, now: VersionHistory) -> Iterator[str]:
    if before is None:
        if now.state is State.LOADING:
            yield ENTERED[State.LOADING]
        return
    if now.failed_attempts > before.failed_attempts:
        yield LOAD_FAILED
    if now.state is before.state:
        return
    if before.state is State.AVAILABLE and now.state is State.START:
        yield LOST
    elif before.state is State.UNLOADING:
        yield UNLOADED
    elif now.state in ENTERED:
        yield ENTERED[now.state]
