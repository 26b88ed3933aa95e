"""What follows for a rollout from one look at its model: clocks and evidence first, then at most one transition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from core.delivery.analysis import Verdict
from core.delivery.judgement import conclusion, observed
from core.delivery.plan import DeliverySettings, OnFailure, OnInconclusive, OnNewVersion, RolloutPlan
from core.delivery.rollout_record import Happening, PauseCause, RolloutOutcome, RolloutPhase, RolloutRecord
from core.delivery.standings import standings
from core.rollouts.candidates import newer_than_canary, signature_refusal, withdrawal
from core.rollouts.dividing import is_canary_able, running_step
from core.rollouts.idleness import at_rest, is_lost, is_unable, stable_is_unable, without_plan
from core.rollouts.outlook import (
    breakdown_in_words,
    load_failure,
    requests_outlook,
    standing_in_words,
    step_in_words,
    time_in_words,
)
from core.rollouts.phases import RolloutEvent, phase_after
from core.rollouts.sight import ModelSight
from core.rollouts.turns import (
    BY_ANALYSIS,
    BY_SERVER,
    can_let_go,
    close_window,
    complete,
    end,
    enter,
    finished,
    has_share,
    hold,
    is_as_planned,
    plan_of,
    proceed,
    resume,
    told,
    turn_down,
)

MOST_RESTARTS: Final = 2
"""So many replicas of a canary that die need no statistics."""

CLOCKED: Final = frozenset({RolloutPhase.LOADING, RolloutPhase.STEP})
"""The phases that count for `max_duration`; a pause is ended by somebody."""


def advance(
    record: RolloutRecord, sight: ModelSight, settings: DeliverySettings
) -> tuple[RolloutRecord, tuple[Happening, ...]]:
    """Return the record after a look, and what happened; at most one transition for each look.

    The generation of the record rises with every change that matters (phase, versions, division, …), not with clocks
    and evidence: whoever stores records stores a new generation before the table that follows from it is published, and
    clocks now and then.
    """
    present = with_look(replace(record, happenings=()), sight)
    present = _without_outdated_orders(present, sight, settings)
    return finished(record, _turn(present, sight, settings), sight, settings)


def with_look(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Return the record with the clocks and the evidence of a look, and no transition."""
    return _with_evidence(_with_clocks(record, sight), sight)


def awaited_gate(record: RolloutRecord) -> str:
    """Return the URL that has to be asked whether the rollout may go on; empty where nothing waits for an answer."""
    if record.plan is None or running_step(record) is None:
        return ""
    step = record.plan.steps[record.step]
    if record.phase is RolloutPhase.PAUSED:
        is_over = record.pause_cause is PauseCause.PLAN and step.pause_s is not None and record.baked_s >= step.pause_s
        return step.gate if is_over else ""
    goes_on = {Verdict.PASS} if record.plan.on_inconclusive is not OnInconclusive.ADVANCE else set(Verdict)
    is_over = record.baked_s >= step.bake_s and conclusion(record.analysis, record.plan.analysis) in goes_on
    return step.gate if is_over else ""


def _with_clocks(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Count the time since the last look; a step bakes while its division is in force at both looks."""
    elapsed_s = max(0.0, sight.elapsed_s)
    is_in_force = record.division is None or sight.epoch_in_force == record.epoch
    bakes = record.phase is RolloutPhase.STEP and is_in_force and record.is_in_force and is_as_planned(record)
    pauses = record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.PLAN
    return replace(
        record,
        is_in_force=is_in_force,
        baked_s=record.baked_s + elapsed_s * (bakes or pauses),
        lasted_s=record.lasted_s + elapsed_s * (record.phase in CLOCKED),
        window_s=record.window_s + elapsed_s * (record.phase is RolloutPhase.PROMOTED),
        lost_s=record.lost_s + elapsed_s if stable_is_unable(record, sight) else 0.0,
        loads_anew=record.loads_anew and record.canary in sight.failed,
        restarts=record.restarts + max(0, sight.restarts) * (running_step(record) is not None),
    )


def _with_evidence(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Take a window into the analysis, also in a pause: a canary that has traffic is always judged."""
    if sight.window is None or not (record.is_in_force and is_as_planned(record)):
        return record
    return replace(record, analysis=observed(record.analysis, plan_of(record).analysis, sight.window))


def _without_outdated_orders(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> RolloutRecord:
    """End the shares and mirrors that were ordered before the settings said something else."""
    if record.fixed_weights and record.fixed_over != settings.traffic:
        record = replace(record, fixed_weights=(), fixed_over={})
        record = told(
            record, sight, "traffic_changed", 0, "the settings of traffic changed: the order before has ended"
        )
    if record.fixed_mirror is not None and record.mirrored_over != settings.mirror:
        record = replace(record, fixed_mirror=None, mirrored_over=None)
        record = told(record, sight, "mirror_changed", 0, "the settings of mirror changed: the order before has ended")
    return record


def _turn(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> RolloutRecord:
    if record.phase is RolloutPhase.IDLE and settings.plan is not None:
        return at_rest(record, sight, settings)
    if is_lost(record) and record.canary and is_unable(record.canary, sight):
        return _without_any(record, sight)
    if settings.plan is None and record.phase not in {RolloutPhase.PROMOTING, RolloutPhase.ROLLING_BACK}:
        return without_plan(record, sight)
    if is_lost(record) and record.phase not in {RolloutPhase.PROMOTING, RolloutPhase.PROMOTED}:
        return _without_stable(record, sight)
    return _HANDLERS[record.phase](record, sight)


def _without_any(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Neither stable nor the canary can answer: the rollout ends, so that any other version may."""
    if record.phase is RolloutPhase.ROLLING_BACK:
        return end(record, sight, RolloutEvent.IN_FORCE)
    reason = f"neither it nor version {record.stable}, which was stable, runs or can be loaded"
    return turn_down(record, sight, RolloutOutcome.WITHDRAWN, reason)


def _without_stable(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """There is nothing to compare with and nothing to go back to, and the canary serves.

    It is promoted if it has shown something with traffic of its own; otherwise a person decides, or stable comes back.
    """
    if record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.STABLE_LOST:
        return _with_queue(record, newer_than_canary(record, sight), sight)
    reason = f"version {record.stable}, which is stable, does not run and cannot be loaded"
    record = told(record, sight, "rollout_stable_lost", record.stable, reason)
    has_passed = running_step(record) and any(one.weight for one in plan_of(record).steps[: record.step])
    if has_passed and is_canary_able(record, sight):
        return complete(record, sight, reason)
    if record.phase is RolloutPhase.ROLLING_BACK and record.reason:
        reason = f"{record.reason}; {reason}"
    return hold(record, sight, PauseCause.STABLE_LOST, BY_SERVER, reason)


def _loading(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    plan = plan_of(record)
    given_up = _given_up(record, sight) or _superseded(record, sight)
    if given_up is not None:
        return given_up
    record = _with_queue(record, newer_than_canary(record, sight), sight)
    if record.lasted_s >= plan.max_duration_s:
        return _too_long(record, sight)
    if not is_canary_able(record, sight) or record.stable not in sight.available:
        return record
    must_know = plan.analysis.outputs or not plan.allow_signature_change
    if sight.signature_problems is None and must_know and not record.is_forced:
        return record
    reason = signature_refusal(record, plan, sight.signature_problems or (), sight.outputs)
    return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason) if reason else enter(record, sight, 0)


def _stepping(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    plan = plan_of(record)
    given_up = _given_up(record, sight) or _failed(record, sight) or _superseded(record, sight)
    if given_up is not None:
        return given_up
    record = _with_queue(record, newer_than_canary(record, sight), sight)
    if record.lasted_s >= plan.max_duration_s:
        return _too_long(record, sight)
    step = plan.steps[record.step]
    if record.baked_s < step.bake_s or not (record.is_in_force and is_as_planned(record)):
        return record
    if conclusion(record.analysis, plan.analysis) is not Verdict.PASS:
        return _inconclusive(record, sight, plan)
    return record if step.gate and not sight.is_gate_open else proceed(record, sight)


def _paused(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    if record.pause_cause is PauseCause.STABLE_LOST:
        is_back = record.stable in sight.available
        return resume(record, sight, f"version {record.stable} is back") if is_back else record
    given_up = _given_up(record, sight) or _failed(record, sight) or _superseded(record, sight)
    if given_up is not None:
        return given_up
    record = _with_queue(record, newer_than_canary(record, sight), sight)
    step = plan_of(record).steps[record.step]
    is_of_plan = record.pause_cause is PauseCause.PLAN and step.pause_s is not None
    if not is_of_plan or record.baked_s < (step.pause_s or 0.0) or (step.gate and not sight.is_gate_open):
        return record
    # the canary must be able to take the next share
    return proceed(record, sight, "the pause is over") if is_canary_able(record, sight) else record


def _promoting(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    is_gone = is_unable(record.canary, sight)
    reason = _breakdown(record, sight) or ("does not run, and its directory is gone" if is_gone else "")
    if reason and record.stable in sight.available:
        return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason)
    if not record.is_in_force or record.division is None or record.division.stable != record.canary:
        return _with_queue(record, newer_than_canary(record, sight), sight)
    after = replace(
        record,
        phase=phase_after(record.phase, RolloutEvent.IN_FORCE),
        stable=record.canary,
        stable_fingerprint=record.canary_fingerprint,
        previous=record.stable,
        previous_fingerprint=record.stable_fingerprint,
        canary=0,
        canary_fingerprint="",
        window_s=0.0,
        lost_s=0.0,
        outcome=RolloutOutcome.PROMOTED,
    )
    return told(after, sight, "rollout_promoted", after.stable, f"after version {after.previous}: {record.reason}")


def _promoted(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    plan = plan_of(record)
    reason = breakdown_in_words(record.stable, plan, sight) or ("can no longer be loaded" if is_lost(record) else "")
    if reason and record.previous in sight.available:
        return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason)
    if is_lost(record) and is_unable(record.previous, sight):
        return close_window(record, sight, f"neither it nor version {record.stable} runs or can be loaded")
    newest = newer_than_canary(record, sight)
    if newest and plan.on_new_version is OnNewVersion.REPLACE and can_let_go(record, sight):
        return close_window(record, sight, f"version {newest} has come")
    record = _with_queue(record, newest, sight)
    is_over = record.window_s >= plan.rollback_window_s and can_let_go(record, sight)
    return close_window(record, sight, "the rollback window is over") if is_over else record


def _rolling_back(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    record = _with_queue(record, newer_than_canary(record, sight), sight)
    is_done = record.is_in_force and not has_share(record) and record.stable in sight.available
    return end(record, sight, RolloutEvent.IN_FORCE) if is_done else record


_HANDLERS: Final[Mapping[RolloutPhase, Callable[[RolloutRecord, ModelSight], RolloutRecord]]] = MappingProxyType(
    {
        RolloutPhase.LOADING: _loading,
        RolloutPhase.STEP: _stepping,
        RolloutPhase.PAUSED: _paused,
        RolloutPhase.PROMOTING: _promoting,
        RolloutPhase.PROMOTED: _promoted,
        RolloutPhase.ROLLING_BACK: _rolling_back,
    }
)


def _given_up(record: RolloutRecord, sight: ModelSight) -> RolloutRecord | None:
    """Return the record of a canary that is no longer offered, or does not run; None while there is nothing of that."""
    why = withdrawal(record, sight)
    if why:
        return turn_down(record, sight, RolloutOutcome.WITHDRAWN, f"withdrawn: {why}")
    reason = _breakdown(record, sight)
    return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason) if reason else None


def _breakdown(record: RolloutRecord, sight: ModelSight) -> str:
    if record.restarts >= MOST_RESTARTS:
        return f"{record.restarts} of its replicas died"
    phase = record.paused_from if record.phase is RolloutPhase.PAUSED else record.phase
    if phase is RolloutPhase.LOADING:  # it has no replica yet, or none any more since it was unloaded
        return "" if record.loads_anew else load_failure(record.canary, sight)
    return breakdown_in_words(record.canary, plan_of(record), sight)


def _failed(record: RolloutRecord, sight: ModelSight) -> RolloutRecord | None:
    """Return the record of a canary that the analysis has found worse; None for others."""
    plan = plan_of(record)
    if running_step(record) is None or conclusion(record.analysis, plan.analysis) is not Verdict.FAIL:
        return None
    if record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.FAILED:
        return None
    found = [one for one in standings(record.analysis, plan.analysis) if one.verdict is Verdict.FAIL]
    reason = "; ".join(standing_in_words(one, record.stable) for one in found) or "the analysis failed"
    record = told(record, sight, "rollout_verdict", record.canary, f"fail: {reason}")
    if plan.on_failure is OnFailure.PAUSE:
        return hold(record, sight, PauseCause.FAILED, BY_ANALYSIS, reason)
    return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason)


def _superseded(record: RolloutRecord, sight: ModelSight) -> RolloutRecord | None:
    """Return the record of a canary that makes way for a newer version; None where it stays.

    A rollout that a person has paused is left to that person.
    """
    newest = newer_than_canary(record, sight)
    is_held = record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.ORDER
    if not newest or plan_of(record).on_new_version is OnNewVersion.QUEUE or is_held:
        return None
    reason = f"superseded by version {newest}"
    return turn_down(replace(record, queued=newest), sight, RolloutOutcome.SUPERSEDED, reason)


def _with_queue(record: RolloutRecord, newest: int, sight: ModelSight) -> RolloutRecord:
    """Let a newer version wait, and forget one that is no longer there."""
    if not sight.is_listed or newest == record.queued:
        return record
    after = replace(record, queued=newest)
    return told(after, sight, "rollout_queued", newest, f"version {newest} waits") if newest else after


def _too_long(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Do what the plan says of a rollout that has lasted as long as it may; where it waits for a gate it pauses."""
    plan = plan_of(record)
    reason = f"has lasted {time_in_words(record.lasted_s)}, which is as long as it may"
    if plan.on_inconclusive is OnInconclusive.ROLLBACK:
        return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason)
    can_go_on = record.phase is RolloutPhase.STEP and is_as_planned(record) and not plan.steps[record.step].gate
    if plan.on_inconclusive is OnInconclusive.ADVANCE and can_go_on:
        return proceed(replace(record, lasted_s=0.0), sight, reason)
    return hold(record, sight, PauseCause.DURATION, BY_ANALYSIS, reason)


def _inconclusive(record: RolloutRecord, sight: ModelSight, plan: RolloutPlan) -> RolloutRecord:
    """Do what the plan says when a bake is over and nothing is proved."""
    missing = requests_outlook(record.analysis) or "; ".join(
        f"{one.metric}: {one.outlook or 'not enough data'}"
        for one in standings(record.analysis, plan.analysis)
        if one.verdict is Verdict.NOT_ENOUGH_DATA
    )
    reason = f"inconclusive at the end of {step_in_words(plan, record.step)}: {missing or 'not enough data'}"
    if plan.on_inconclusive is OnInconclusive.ADVANCE:
        waits = plan.steps[record.step].gate and not sight.is_gate_open
        return record if waits else proceed(record, sight, reason)
    record = told(record, sight, "rollout_verdict", record.canary, reason)
    if plan.on_inconclusive is OnInconclusive.ROLLBACK:
        return turn_down(record, sight, RolloutOutcome.ROLLED_BACK, reason)
    return hold(record, sight, PauseCause.INCONCLUSIVE, BY_ANALYSIS, reason)
