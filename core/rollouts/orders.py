"""What people order: each order in each phase changes the record, does nothing, or is refused with a reason."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from core.delivery.analysis import NOTHING_SEEN, Verdict
from core.delivery.judgement import conclusion
from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import Happening, PauseCause, RolloutOutcome, RolloutPhase, RolloutRecord
from core.delivery.split import MirrorSettings
from core.errors import Aborted, FailedPrecondition
from core.rollouts.candidates import candidate, is_rejected, rejected_versions
from core.rollouts.dividing import is_canary_able, running_step
from core.rollouts.idleness import obstacle
from core.rollouts.sight import ModelSight
from core.rollouts.traffic_orders import ordered_mirror, ordered_traffic
from core.rollouts.turns import (
    begin,
    can_let_go,
    close_window,
    complete,
    finished,
    hold,
    plan_of,
    proceed,
    resume,
    told,
    turn_down,
    with_step,
)


class OrderVerb(enum.Enum):
    """What can be ordered."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    UNDO = "undo"
    RETRY = "retry"
    TRAFFIC = "traffic"
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """An order of a person, who is named `by`.

    `version` is that of START and RETRY, 0 for the one that waits. `is_full` promotes over all steps that are left.
    `traffic` has versions or labels with their shares in basis points; none ends the shares that were ordered. `mirror`
    of None, or a share of 0, ends copies. `generation` is that of the record which the order was made for, None for
    any. `is_forced` does what is refused for safety.
    """

    verb: OrderVerb
    by: str = "operator"
    version: int = 0
    is_full: bool = False
    traffic: tuple[tuple[str, int], ...] = ()
    mirror: MirrorSettings | None = None
    generation: int | None = None
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class _Situation:
    """An order with the look and the settings in force."""

    order: RolloutOrder
    sight: ModelSight
    settings: DeliverySettings


_Carry = Callable[[RolloutRecord, _Situation], RolloutRecord]


def ordered(
    record: RolloutRecord, order: RolloutOrder, sight: ModelSight, settings: DeliverySettings
) -> tuple[RolloutRecord, tuple[Happening, ...]]:
    """Return the record after an order, and what happened: nothing for an order that is fulfilled already.

    Raises FailedPrecondition where the phase does not allow the order, InvalidArgument for an order that never makes
    sense, and Aborted for one that was made for another generation of the record.
    """
    if order.generation is not None and order.generation != record.generation:
        raise Aborted(
            f"The rollout of {sight.model} has changed: the order is for generation {order.generation},"
            f" and this is generation {record.generation}."
        )
    carry = _ORDERS.get((order.verb, record.phase))
    if carry is None:
        raise FailedPrecondition(order_refusal(order.verb, record))
    present = replace(record, happenings=())
    after = carry(present, _Situation(order, sight, settings))
    return (record, ()) if after == present else finished(record, after, sight, settings)


def change_problem(record: RolloutRecord, versions: frozenset[int]) -> str:
    """Return why labels of these versions, or their configuration, may not be changed now; empty if they may.

    Whoever forces such a change aborts the rollout with it.
    """
    touched = versions & {record.stable, record.canary, record.previous} - {0}
    if record.phase is RolloutPhase.IDLE or not touched:
        return ""
    return f"version {min(touched)} has a part in a rollout: {_state(record)}"


def order_refusal(verb: OrderVerb, record: RolloutRecord) -> str:
    """Return why an order is refused in the phase of a record."""
    advice = _ADVICE.get((verb, record.phase), "")
    return f"{verb.value} is not possible: {_state(record)}{f'; {advice}' if advice else ''}."


def _state(record: RolloutRecord) -> str:
    return {
        RolloutPhase.IDLE: "no rollout runs",
        RolloutPhase.LOADING: f"version {record.canary} is being loaded",
        RolloutPhase.STEP: f"the rollout of version {record.canary} runs",
        RolloutPhase.PAUSED: f"the rollout of version {record.canary} is paused",
        RolloutPhase.PROMOTING: f"version {record.canary} is being promoted",
        RolloutPhase.PROMOTED: f"version {record.stable} has been promoted",
        RolloutPhase.ROLLING_BACK: f"version {record.canary} is being rolled back",
    }[record.phase]


_ADVICE: Final[Mapping[tuple[OrderVerb, RolloutPhase], str]] = MappingProxyType(
    {
        (OrderVerb.ABORT, RolloutPhase.PROMOTED): "undo goes back to the version before",
        (OrderVerb.UNDO, RolloutPhase.IDLE): "no rollback window is open",
        **{(OrderVerb.UNDO, one): "abort ends it" for one in (RolloutPhase.LOADING, RolloutPhase.STEP)},
        **{(OrderVerb.UNDO, one): "abort ends it" for one in (RolloutPhase.PAUSED, RolloutPhase.PROMOTING)},
        (OrderVerb.PROMOTE, RolloutPhase.LOADING): "it must answer before",
        **{
            (verb, one): "abort ends it"
            for verb in (OrderVerb.START, OrderVerb.RETRY, OrderVerb.MIRROR)
            for one in (RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PAUSED)
        },
    }
)
"""What to order instead."""


def _nothing(record: RolloutRecord, _: _Situation) -> RolloutRecord:
    """Do nothing: the order is fulfilled already."""
    return record


def _require_plan(now: _Situation) -> None:
    if now.settings.plan is None:
        raise FailedPrecondition(f"{now.sight.model} has no rollout plan (`canary` in the settings file).")


def _start(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    _require_plan(now)
    order, sight = now.order, now.sight
    if not record.stable:
        raise FailedPrecondition("No version is stable yet: the first one is served without a rollout.")
    version = order.version or candidate(record, sight)
    if not version:
        raise FailedPrecondition(_no_candidate(record, sight))
    if version == record.stable:
        raise FailedPrecondition(f"Version {version} is stable already.")
    if is_rejected(record, version, sight):
        raise FailedPrecondition(f"Version {version} was rejected: {record.rejected[version].reason}; use retry.")
    return _begun(record, version, now)


def _no_candidate(record: RolloutRecord, sight: ModelSight) -> str:
    rejected = max(rejected_versions(record, sight), default=0)
    if rejected > record.stable:
        return f"No version is newer than {record.stable} but {rejected}, which was rejected; use retry."
    return f"The version policy chooses no version that is newer than {record.stable}, which is stable."


def _begun(record: RolloutRecord, version: int, now: _Situation) -> RolloutRecord:
    """Begin the rollout of a version; a rollback window that is open is closed by it."""
    order, sight = now.order, now.sight
    if version not in sight.stored:
        raise FailedPrecondition(f"Version {version} is not complete on storage.")
    if record.phase is RolloutPhase.PROMOTED:
        record = _with_closed_window(record, sight, f"version {version} was started")
    why = obstacle(record, version, sight)
    if why and not (order.is_forced and not record.fixed_weights):
        raise FailedPrecondition(f"The rollout cannot begin: {why}.")
    return begin(record, sight, now.settings, version, by=order.by, forced=order.is_forced)


def _with_closed_window(record: RolloutRecord, sight: ModelSight, why: str) -> RolloutRecord:
    if not can_let_go(record, sight):
        raise FailedPrecondition(f"Version {record.previous} still answers requests; try again in a moment.")
    return close_window(record, sight, why)


def _retry(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    order, sight = now.order, now.sight
    version = order.version or max(record.rejected, default=0)
    if version not in record.rejected:
        what = f"Version {version} was" if version else "No version was"
        raise FailedPrecondition(f"{what} {'not ' if version else ''}rejected.")
    if now.settings.plan is not None:
        return _begun(record, version, now)
    left = {one: why for one, why in record.rejected.items() if one != version}
    text = f"version {version} is no longer rejected, ordered by {order.by}"
    return told(replace(record, rejected=left), sight, "rollout_retried", version, text)


def _pause(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    if record.phase is RolloutPhase.PAUSED and record.pause_cause is not PauseCause.PLAN:
        return record
    return hold(record, now.sight, PauseCause.ORDER, now.order.by, f"paused by {now.order.by}")


def _resume(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    order, sight = now.order, now.sight
    if record.pause_cause is PauseCause.STABLE_LOST:
        raise FailedPrecondition(f"{_no_way_back(record)}; promote --full makes version {record.canary} stable.")
    record = _with_failure_forgiven(record, order)
    return resume(record, sight, f"resumed by {order.by}")


def _with_failure_forgiven(record: RolloutRecord, order: RolloutOrder) -> RolloutRecord:
    """Forget the evidence against a canary that has failed, if that is forced; refuse to go on otherwise."""
    plan, step = plan_of(record), running_step(record)
    if step is None or conclusion(record.analysis, plan.analysis) is not Verdict.FAIL:
        return record
    if not order.is_forced:
        raise FailedPrecondition(
            f"The analysis has failed version {record.canary}: {record.reason}."
            " Abort ends the rollout; --force forgets the evidence and goes on."
        )
    return with_step(replace(record, analysis=NOTHING_SEEN), step)


def _promote(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    order, sight = now.order, now.sight
    if record.phase is RolloutPhase.PAUSED and record.paused_from is RolloutPhase.ROLLING_BACK and not order.is_forced:
        raise FailedPrecondition(f"Version {record.canary} was being rolled back: {record.reason}; --force keeps it.")
    if not is_canary_able(record, sight):
        raise FailedPrecondition(f"Version {record.canary} does not answer at every router.")
    if record.paused_from is not RolloutPhase.STEP and record.phase is RolloutPhase.PAUSED and not order.is_full:
        raise FailedPrecondition("No step has begun; resume goes on, and promote --full skips all steps.")
    record = _with_failure_forgiven(record, order)
    why = f"promoted by {order.by}"
    return complete(record, sight, why) if order.is_full else proceed(record, sight, why)


def _no_way_back(record: RolloutRecord) -> str:
    return f"Version {record.stable}, which was stable, does not run and cannot be loaded"


def _abort(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    if record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.STABLE_LOST:
        raise FailedPrecondition(f"{_no_way_back(record)}; promote --full makes version {record.canary} stable.")
    return turn_down(record, now.sight, RolloutOutcome.ABORTED, f"aborted by {now.order.by}")


def _undo(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    if record.previous not in now.sight.available:
        raise FailedPrecondition(f"Version {record.previous}, which was stable before, does not answer any more.")
    return turn_down(record, now.sight, RolloutOutcome.ROLLED_BACK, f"undone by {now.order.by}")


def _traffic(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    order, sight, settings = now.order, now.sight, now.settings
    if order.traffic and settings.plan is not None and not order.is_forced:
        raise FailedPrecondition(
            f"The traffic of {sight.model} is divided by its rollout plan; --force ends a running rollout,"
            " and no other one begins while the traffic is fixed."
        )
    after = ordered_traffic(record, order.traffic, sight, settings, by=order.by, forced=order.is_forced)
    if not order.traffic or after.phase is RolloutPhase.IDLE:
        return after
    if after.phase is RolloutPhase.PROMOTED:
        return _with_closed_window(after, sight, f"the traffic was fixed by {order.by}")
    is_ending = after.phase is RolloutPhase.ROLLING_BACK
    return after if is_ending else _abort(after, now)


def _mirror(record: RolloutRecord, now: _Situation) -> RolloutRecord:
    return ordered_mirror(record, now.order.mirror, now.sight, now.settings, by=now.order.by)


def _in(handler: _Carry, verb: OrderVerb, *phases: str) -> dict[tuple[OrderVerb, RolloutPhase], _Carry]:
    return {(verb, RolloutPhase[phase]): handler for phase in phases}


_ORDERS: Final[Mapping[tuple[OrderVerb, RolloutPhase], _Carry]] = MappingProxyType(
    {
        **_in(_start, OrderVerb.START, "IDLE", "PROMOTED"),
        **_in(_retry, OrderVerb.RETRY, "IDLE", "PROMOTED"),
        **_in(_pause, OrderVerb.PAUSE, "LOADING", "STEP", "PAUSED"),
        **_in(_resume, OrderVerb.RESUME, "PAUSED"),
        **_in(_nothing, OrderVerb.RESUME, "LOADING", "STEP"),
        **_in(_promote, OrderVerb.PROMOTE, "STEP", "PAUSED"),
        **_in(_nothing, OrderVerb.PROMOTE, "PROMOTING", "PROMOTED"),
        **_in(_abort, OrderVerb.ABORT, "LOADING", "STEP", "PAUSED", "PROMOTING"),
        **_in(_nothing, OrderVerb.ABORT, "ROLLING_BACK"),
        **_in(_undo, OrderVerb.UNDO, "PROMOTED"),
        **_in(_nothing, OrderVerb.UNDO, "ROLLING_BACK"),
        **_in(_traffic, OrderVerb.TRAFFIC, *(phase.name for phase in RolloutPhase)),
        **_in(_mirror, OrderVerb.MIRROR, "IDLE", "PROMOTED"),
    }
)
"""What is done for an order in a phase; what has no row is refused."""
