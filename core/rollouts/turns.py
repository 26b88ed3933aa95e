"""The changes of a record that a look and an order have in common: each is one transition, and says what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from core.delivery.analysis import NOTHING_SEEN
from core.delivery.judgement import begun
from core.delivery.plan import DeliverySettings, RolloutPlan, RolloutStep
from core.delivery.rollout_record import (
    Happening,
    PauseCause,
    Rejection,
    RolloutOutcome,
    RolloutPhase,
    RolloutRecord,
)
from core.errors import Internal
from core.rollouts.dividing import is_canary_able, running_step, with_division
from core.rollouts.outlook import step_in_words
from core.rollouts.phases import RolloutEvent, phase_after
from core.rollouts.sight import ModelSight

MOST_HAPPENINGS: Final = 50
MOST_REJECTED: Final = 100
"""What a record keeps, the newest."""

BY_PLAN: Final = "plan"
BY_ANALYSIS: Final = "analysis"
BY_SERVER: Final = "server"
"""Who paused, where it was no person."""

OUTCOME_NAMES: Final[Mapping[RolloutOutcome, str]] = MappingProxyType(
    {
        RolloutOutcome.PROMOTED: "rollout_promoted",
        RolloutOutcome.ROLLED_BACK: "rollout_rolled_back",
        RolloutOutcome.ABORTED: "rollout_aborted",
        RolloutOutcome.SUPERSEDED: "rollout_superseded",
        RolloutOutcome.WITHDRAWN: "rollout_withdrawn",
    }
)
"""What happened when a rollout has ended."""


def told(record: RolloutRecord, sight: ModelSight, name: str, version: int, text: str) -> RolloutRecord:
    """Return the record with one more happening."""
    return replace(record, happenings=(*record.happenings, Happening(sight.wall_s, name, version, text)))


def plan_of(record: RolloutRecord) -> RolloutPlan:
    """Return the plan of a running rollout."""
    if record.plan is None:
        raise Internal(f"The rollout of version {record.canary} has no plan.")
    return record.plan


def with_step(record: RolloutRecord, step: RolloutStep) -> RolloutRecord:
    """Return the record with an analysis that begins a step."""
    unit = "keys" if record.header else "requests"
    return replace(record, analysis=begun(record.analysis, plan_of(record).analysis, step, unit=unit))


def begin(
    record: RolloutRecord, sight: ModelSight, settings: DeliverySettings, version: int, *, by: str = "", forced: bool
) -> RolloutRecord:
    """Begin a rollout: the canary is to be loaded."""
    after = replace(
        record,
        phase=phase_after(record.phase, RolloutEvent.BEGUN),
        canary=version,
        canary_fingerprint=sight.stored.get(version, ""),
        plan=settings.plan,
        header=settings.stickiness,
        rollout=f"{version}-{sight.wall_s:.0f}",
        step=0,
        baked_s=0.0,
        lasted_s=0.0,
        analysis=NOTHING_SEEN,
        reason="",
        queued=0,
        restarts=0,
        is_forced=forced,
        loads_anew=version in sight.failed,
        outcome=None,
        rejected={one: why for one, why in record.rejected.items() if one != version},
    )
    who = f", ordered by {by}" if by else ""
    return told(after, sight, "rollout_started", version, f"version {version} is to follow {record.stable}{who}")


def enter(record: RolloutRecord, sight: ModelSight, step: int, why: str = "") -> RolloutRecord:
    """Enter a step of the plan; one that pauses is a pause."""
    plan = plan_of(record)
    text = f"{step_in_words(plan, step)}{f' ({why})' if why else ''}"
    if plan.steps[step].pause_s is not None:
        at_pause = replace(record, step=step, baked_s=0.0, paused_from=RolloutPhase.STEP)
        return hold(at_pause, sight, PauseCause.PLAN, BY_PLAN, text, name="rollout_step")
    event = RolloutEvent.LOADED if record.phase is RolloutPhase.LOADING else RolloutEvent.WENT_ON
    after = replace(
        record,
        phase=phase_after(record.phase, event),
        step=step,
        baked_s=0.0,
        paused_by="",
        reason="",
        analysis=with_step(record, plan.steps[step]).analysis,
    )
    return told(after, sight, "rollout_step", record.canary, text)


def proceed(record: RolloutRecord, sight: ModelSight, why: str = "") -> RolloutRecord:
    """Enter the next step, or promote after the last one."""
    if record.step + 1 < len(plan_of(record).steps):
        return enter(record, sight, record.step + 1, why)
    return complete(record, sight, why or "every step has passed")


def complete(record: RolloutRecord, sight: ModelSight, why: str) -> RolloutRecord:
    """Give the canary all requests."""
    phase = phase_after(record.phase, RolloutEvent.COMPLETED)
    after = replace(record, phase=phase, baked_s=0.0, paused_by="", reason=why)
    return told(after, sight, "rollout_promoting", record.canary, f"version {record.canary} gets all requests: {why}")


def hold(
    record: RolloutRecord, sight: ModelSight, cause: PauseCause, by: str, reason: str, *, name: str = "rollout_paused"
) -> RolloutRecord:
    """Pause; shares stay as they are."""
    is_step = cause is PauseCause.PLAN
    origin = record.paused_from if is_step or record.phase is RolloutPhase.PAUSED else record.phase
    phase = phase_after(record.phase, RolloutEvent.HELD)
    after = replace(record, phase=phase, paused_from=origin, pause_cause=cause, paused_by=by, reason=reason)
    return told(after, sight, name, record.canary, reason)


def resume(record: RolloutRecord, sight: ModelSight, why: str) -> RolloutRecord:
    """End a pause; a step of the plan that pauses is over with it."""
    if record.paused_from is RolloutPhase.STEP and plan_of(record).steps[record.step].pause_s is not None:
        return proceed(record, sight, why)
    event = {
        RolloutPhase.LOADING: RolloutEvent.WAITS_AGAIN,
        RolloutPhase.ROLLING_BACK: RolloutEvent.TURNED_DOWN,
    }.get(record.paused_from, RolloutEvent.WENT_ON)
    after = replace(
        record,
        phase=phase_after(record.phase, event),
        paused_by="",
        reason=record.reason if event is RolloutEvent.TURNED_DOWN else "",
        # what was not proved in one bake may be in another one
        baked_s=0.0 if record.pause_cause is PauseCause.INCONCLUSIVE else record.baked_s,
        lasted_s=0.0 if record.pause_cause is PauseCause.DURATION else record.lasted_s,
    )
    return told(after, sight, "rollout_resumed", record.canary, why)


def turn_down(record: RolloutRecord, sight: ModelSight, outcome: RolloutOutcome, reason: str) -> RolloutRecord:
    """Take everything from the canary.

    One that is only being loaded is given up at once, unless it serves because stable does not.
    """
    is_idle = not has_share(record) and record.stable in sight.available
    if record.phase is RolloutPhase.LOADING and is_idle:
        return end(replace(record, outcome=outcome, reason=reason), sight, RolloutEvent.DROPPED)
    phase = phase_after(record.phase, RolloutEvent.TURNED_DOWN)
    after = replace(record, phase=phase, outcome=outcome, reason=reason, paused_by="")
    if record.phase is RolloutPhase.PROMOTED:
        after = replace(
            after,
            stable=record.previous,
            stable_fingerprint=record.previous_fingerprint,
            canary=record.stable,
            canary_fingerprint=record.stable_fingerprint,
            previous=0,
            previous_fingerprint="",
        )
    return told(after, sight, "rollout_rolling_back", after.canary, f"version {after.canary}: {reason}")


def end(record: RolloutRecord, sight: ModelSight, event: RolloutEvent) -> RolloutRecord:
    """End a rollout whose canary has nothing any more, for the reason and with the outcome that are in the record."""
    outcome = record.outcome or RolloutOutcome.ROLLED_BACK
    is_fixed = record.canary in dict(record.fixed_weights)
    rejected = dict(record.rejected)
    if outcome is not RolloutOutcome.WITHDRAWN and not is_fixed:
        rejected[record.canary] = Rejection(record.reason, record.canary_fingerprint, sight.wall_s)
    newest = sorted(rejected.items(), key=lambda one: one[1].at_s)[-MOST_REJECTED:]
    after = replace(
        record,
        phase=phase_after(record.phase, event),
        canary=0,
        canary_fingerprint="",
        reason="",
        outcome=outcome,
        rejected=dict(newest),
    )
    return told(after, sight, OUTCOME_NAMES[outcome], record.canary, record.reason)


def can_let_go(record: RolloutRecord, sight: ModelSight) -> bool:
    """Whether the version that was stable before has nothing to do at any router."""
    serves = record.division is not None and record.division.stable == record.stable
    return serves and record.is_in_force and record.stable in sight.available


def close_window(record: RolloutRecord, sight: ModelSight, why: str) -> RolloutRecord:
    """Let the version go that was stable before."""
    phase = phase_after(record.phase, RolloutEvent.WINDOW_OVER)
    after = replace(record, phase=phase, previous=0, previous_fingerprint="", reason="")
    return told(after, sight, "rollout_ended", record.stable, f"version {record.previous} is let go: {why}")


def finished(
    before: RolloutRecord, after: RolloutRecord, sight: ModelSight, settings: DeliverySettings
) -> tuple[RolloutRecord, tuple[Happening, ...]]:
    """Return the record with the division and the labels that follow from it, and what happened.

    `after` has the new happenings only.
    """
    happened = after.happenings
    after = with_division(after, sight, settings)
    if _is_back(before, after):
        plan = plan_of(after)
        after = with_step(after, running_step(after) or plan.steps[0])
    after = replace(
        after,
        labels=_managed_labels(after, sight, settings),
        happenings=(*before.happenings, *happened)[-MOST_HAPPENINGS:],
    )
    if _substance(after) != _substance(before):
        after = replace(after, generation=before.generation + 1)
    return after, happened


def _is_back(before: RolloutRecord, after: RolloutRecord) -> bool:
    """Whether the canary gets its share again within a step, after it could not answer for a while."""
    same_step = running_step(before) is not None and running_step(after) is not None and before.step == after.step
    return same_step and is_as_planned(after) and not is_as_planned(before)


def is_as_planned(record: RolloutRecord) -> bool:
    """Whether requests are divided as the present step says: both versions can answer."""
    step, division = running_step(record), record.division
    if step is None or division is None:
        return False
    if step.mirror:
        return division.mirror is not None and division.mirror.version == record.canary
    return step.weight > 0 and (record.canary, step.weight) in division.weights


def has_share(record: RolloutRecord) -> bool:
    """Whether the canary gets requests or copies."""
    division = record.division
    if division is None or not record.canary:
        return False
    return record.canary in dict(division.weights) or (
        division.mirror is not None and division.mirror.version == record.canary
    )


def _managed_labels(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> dict[str, int]:
    """Return the labels that the plan moves; a label that the operator declares is not moved.

    `canary` is that of stable where there is no canary, so that its callers always get an answer.
    """
    plan = record.plan if record.canary else settings.plan
    if plan is None or not record.stable:
        return {}
    is_moved = record.phase is RolloutPhase.PROMOTING and record.division is not None
    stable = record.division.stable if is_moved and record.division is not None else record.stable
    runs = running_step(record) is not None and is_canary_able(record, sight)
    named = {"stable": stable, "canary": record.canary if runs else stable}
    return {label: named[label] for label in plan.labels if label in named and label not in sight.labels}


def _substance(record: RolloutRecord) -> RolloutRecord:
    """Return a record without clocks, evidence, and what only says who wrote it."""
    division = record.division and replace(record.division, observed={})
    return replace(
        record,
        baked_s=0.0,
        lasted_s=0.0,
        window_s=0.0,
        lost_s=0.0,
        is_in_force=False,
        analysis=NOTHING_SEEN,
        happenings=(),
        generation=0,
        owner="",
        division=division,
    )
