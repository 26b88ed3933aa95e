"""Metrics of rollouts that follow from routing tables: gauges of the present one, and events between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from core.delivery.analysis import MetricStanding, Verdict
from core.delivery.rollout_record import NO_RECORD, PauseCause, RolloutPhase, RolloutRecord
from core.delivery.split import WHOLE
from core.delivery.standings import standings
from core.delivery_status.rollout_document import evidence_share
from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.metric_names import (
    ROLLOUT_EVIDENCE,
    ROLLOUT_PAUSED,
    ROLLOUT_STATE,
    ROLLOUT_VERDICTS,
    ROLLOUT_WEIGHT,
    ROLLOUTS,
)
from core.telemetry.metrics import Labels, Metric

OUTCOMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"rollout_{one}": one
        for one in ("started", "promoted", "rolled_back", "aborted", "superseded", "withdrawn", "stable_lost")
    }
)
"""The happenings that are counted, with the outcome that they are counted as."""

COUNTED: Final = (Verdict.PASS, Verdict.FAIL)


def delivery_gauges(table: RoutingTable) -> dict[Metric, dict[Labels, float]]:
    """Return all gauges that follow from the divisions and rollouts of a table."""
    models = table.models.items()
    records = {name: model.delivery for name, model in models if _has_rollouts(model)}
    return {
        ROLLOUT_STATE: {(name, record.phase.value): 1 for name, record in records.items()},
        ROLLOUT_PAUSED: {
            (name, cause.value): int(record.phase is RolloutPhase.PAUSED and record.pause_cause is cause)
            for name, record in records.items()
            for cause in PauseCause
        },
        ROLLOUT_WEIGHT: {
            (name, str(version)): share / WHOLE
            for name, model in models
            if model.division is not None
            for version, share in model.division.weights
        },
        ROLLOUT_EVIDENCE: {
            (name, one.metric): evidence_share(one) for name, record in records.items() for one in _standings(record)
        },
    }


def delivery_cells(model: str, routes: ModelRoutes) -> Iterator[tuple[Metric, Labels]]:
    """Yield the cells of counters that begin with 0: to Prometheus, one that begins with 1 has not risen."""
    if not _has_rollouts(routes):
        return
    yield from ((ROLLOUTS, (model, outcome)) for outcome in OUTCOMES.values())
    plan = routes.delivery.plan or routes.plan
    for rule in plan.analysis.rules if plan is not None else ():
        yield from ((ROLLOUT_VERDICTS, (model, rule.name, verdict.value)) for verdict in COUNTED)


def delivery_events(before: RoutingTable, after: RoutingTable) -> Iterator[tuple[Metric, Labels]]:
    """Yield what happened between two tables, as cells of counters.

    Of a model that was not there before nothing counts: it is the work of another watcher.
    """
    for name, model in after.models.items():
        if name in before.models:
            known = before.models[name].delivery
            yield from ((ROLLOUTS, (name, outcome)) for outcome in _outcomes(known, model.delivery))
            yield from ((ROLLOUT_VERDICTS, (name, *one)) for one in _verdicts(known, model.delivery))


def _has_rollouts(model: ModelRoutes) -> bool:
    return model.plan is not None or model.delivery != NO_RECORD


def _outcomes(before: RolloutRecord, after: RolloutRecord) -> Iterator[str]:
    if before.happenings is after.happenings:
        return
    seen = frozenset(before.happenings)
    yield from (OUTCOMES[one.name] for one in after.happenings if one.name in OUTCOMES and one not in seen)


def _verdicts(before: RolloutRecord, after: RolloutRecord) -> Iterator[tuple[str, str]]:
    """Yield the metrics that came to a verdict; those of another rollout were never open."""
    if before.analysis is after.analysis:
        return
    known = {one.metric: one.verdict for one in _standings(before)} if before.rollout == after.rollout else {}
    for one in _standings(after):
        if one.verdict in COUNTED and known.get(one.metric) is not one.verdict:
            yield one.metric, one.verdict.value


def _standings(record: RolloutRecord) -> tuple[MetricStanding, ...]:
    """Return the standings of a running rollout; none of one that has ended."""
    if record.plan is None or not record.canary:
        return ()
    return standings(record.analysis, record.plan.analysis)
