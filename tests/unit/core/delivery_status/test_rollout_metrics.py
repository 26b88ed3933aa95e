"""Metrics of rollouts out of routing tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.delivery.analysis import NOTHING_SEEN, AnalysisState, MetricStanding, Verdict
from core.delivery.plan import Analysis
from core.delivery.rollout_record import Happening, PauseCause, RolloutPhase, RolloutRecord
from core.delivery.split import Division
from core.delivery_status import rollout_metrics
from core.delivery_status.rollout_metrics import OUTCOMES, delivery_cells, delivery_events, delivery_gauges
from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.metric_names import (
    ROLLOUT_EVIDENCE,
    ROLLOUT_PAUSED,
    ROLLOUT_STATE,
    ROLLOUT_VERDICTS,
    ROLLOUT_WEIGHT,
    ROLLOUTS,
)
from tests.support.rollout_states import PLAN, RECORD, shares

NEXT = AnalysisState(step_requests=1)
"""The state of a later look."""


def table(record: RolloutRecord, division: Division | None = None) -> RoutingTable:
    return RoutingTable(1, {"m": ModelRoutes(delivery=record, division=division), "other": ModelRoutes()})


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[AnalysisState, tuple[MetricStanding, ...]]:
    """What is known in each state of the analysis; the real judgement needs thousands of requests."""
    known: list[tuple[AnalysisState, tuple[MetricStanding, ...]]] = []

    class Known(dict):
        def __setitem__(self, state: AnalysisState, standings: tuple[MetricStanding, ...]) -> None:
            known.append((state, standings))

    def standings(state: AnalysisState, analysis: Analysis) -> tuple[MetricStanding, ...]:
        return next((one for seen, one in known if seen is state), ())

    monkeypatch.setattr(rollout_metrics, "standings", standings)
    return Known()


def test_a_running_rollout_has_a_state_shares_and_evidence(verdicts) -> None:
    """A model without a rollout has none of them."""
    verdicts[RECORD.analysis] = (MetricStanding("flips", Verdict.NOT_ENOUGH_DATA, evidence=10.0, limit=100.0),)

    made = delivery_gauges(table(RECORD, shares(500)))

    assert made[ROLLOUT_STATE] == {("m", "step"): 1}
    assert made[ROLLOUT_WEIGHT] == {("m", "7"): 0.95, ("m", "8"): 0.05}
    assert made[ROLLOUT_EVIDENCE] == {("m", "flips"): 0.5}
    assert set(made[ROLLOUT_PAUSED].values()) == {0}


def test_a_pause_has_its_cause() -> None:
    """Others are 0, so that an alert ends when the cause does."""
    paused = replace(RECORD, phase=RolloutPhase.PAUSED, pause_cause=PauseCause.INCONCLUSIVE)

    made = delivery_gauges(table(paused))[ROLLOUT_PAUSED]

    assert [cause for (_, cause), value in made.items() if value] == ["inconclusive"]
    assert len(made) == len(PauseCause)


def test_a_rollout_that_has_ended_has_no_evidence(verdicts) -> None:
    """What is over is in the record, and no longer a gauge."""
    verdicts[RECORD.analysis] = (MetricStanding("flips", Verdict.FAIL, evidence=1e9, limit=100.0),)

    assert delivery_gauges(table(replace(RECORD, canary=0)))[ROLLOUT_EVIDENCE] == {}


def test_outcomes_are_counted_once() -> None:
    """Each happening when it is new, also where the oldest fell out of the record."""
    started, ended = Happening(1.0, "rollout_started", 8, ""), Happening(2.0, "rollout_rolled_back", 8, "")
    step = Happening(1.5, "rollout_step", 8, "")
    before = replace(RECORD, happenings=(started, step))
    after = replace(RECORD, happenings=(step, ended))

    assert list(delivery_events(table(before), table(after))) == [(ROLLOUTS, ("m", "rolled_back"))]
    assert list(delivery_events(table(after), table(after))) == []
    assert list(delivery_events(table(RolloutRecord()), table(before))) == [(ROLLOUTS, ("m", "started"))]


def test_what_a_former_watcher_did_is_not_counted_again() -> None:
    """A new watcher begins with an empty table."""
    assert list(delivery_events(RoutingTable(0), table(RECORD))) == []


def test_a_verdict_is_counted_when_it_changes(verdicts) -> None:
    """Into pass or fail; what stays, and what is open, is nothing new."""
    verdicts[NOTHING_SEEN] = (MetricStanding("a", Verdict.PASS), MetricStanding("b", Verdict.NOT_ENOUGH_DATA))
    verdicts[NEXT] = (MetricStanding("a", Verdict.PASS), MetricStanding("b", Verdict.FAIL))
    later = replace(RECORD, analysis=NEXT)

    assert list(delivery_events(table(RECORD), table(later))) == [(ROLLOUT_VERDICTS, ("m", "b", "fail"))]
    assert list(delivery_events(table(later), table(RECORD))) == []


def test_verdicts_of_the_next_rollout_are_new(verdicts) -> None:
    """The same verdict of another canary counts again."""
    verdicts[NOTHING_SEEN] = verdicts[NEXT] = (MetricStanding("a", Verdict.PASS),)
    following = replace(RECORD, analysis=NEXT, rollout="another")

    assert list(delivery_events(table(RECORD), table(following))) == [(ROLLOUT_VERDICTS, ("m", "a", "pass"))]


def test_counters_begin_with_0() -> None:
    """For each outcome and each rule of the plan; a model without a plan has none."""
    cells = list(delivery_cells("m", ModelRoutes(plan=PLAN)))

    assert [labels[1] for metric, labels in cells if metric is ROLLOUTS] == list(OUTCOMES.values())
    assert (ROLLOUT_VERDICTS, ("m", "flips_scores", "fail")) in cells
    assert list(delivery_cells("m", ModelRoutes())) == []


def test_every_metric_is_replaced_with_each_table() -> None:
    """A gauge that is missing would stay as it was."""
    made: Mapping[object, object] = delivery_gauges(RoutingTable(1))

    assert made == {ROLLOUT_STATE: {}, ROLLOUT_PAUSED: {}, ROLLOUT_WEIGHT: {}, ROLLOUT_EVIDENCE: {}}
