"""What a look means while no rollout runs: which version is stable, and whether a newer one may follow it."""

from __future__ import annotations

from dataclasses import replace

from core.delivery.plan import DeliverySettings, RolloutPlan
from core.delivery.rollout_record import PauseCause, RolloutOutcome, RolloutPhase, RolloutRecord
from core.rollouts.candidates import candidate, first_stable, is_rejected, rejected_versions
from core.rollouts.sight import ModelSight
from core.rollouts.turns import begin, close_window, complete, told, turn_down

DEFAULT_PLAN = RolloutPlan(())
"""Stands in for what a model without a plan does not say."""


def stable_is_unable(record: RolloutRecord, sight: ModelSight) -> bool:
    """Whether stable does not answer and cannot be loaded: its directory is gone, or it failed."""
    return bool(record.stable) and is_unable(record.stable, sight)


def is_unable(version: int, sight: ModelSight) -> bool:
    """Whether a version does not answer and cannot be loaded: its directory is gone, or it failed."""
    if version in sight.available:
        return False
    return version in sight.failed or (sight.is_listed and version not in sight.stored)


def is_lost(record: RolloutRecord) -> bool:
    """Whether stable has been unable for more than a moment."""
    return record.lost_s >= max((record.plan or DEFAULT_PLAN).health_grace_s, 1e-9)


def at_rest(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> RolloutRecord:
    """Find the first stable version, or begin the rollout of a newer one unless something stands in its way."""
    if not record.stable:
        return _with_first(record, sight)
    if is_lost(record):
        return _without_lost(record, sight)
    newest = candidate(record, sight)
    if not newest:
        return replace(record, queued=0, reason="") if sight.is_listed else record
    why = obstacle(record, newest, sight)
    if not why:
        return begin(record, sight, settings, newest, forced=False)
    after = replace(record, queued=newest, reason=why)
    return after if after == record else told(after, sight, "rollout_queued", newest, why)


def _without_lost(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Let another version take the place of a lost one; as long as there is none, only say so."""
    text = f"version {record.stable} does not run and cannot be loaded"
    if _others(record, sight):
        after = replace(record, stable=0, stable_fingerprint="", queued=0, reason="", lost_s=0.0)
        return told(after, sight, "rollout_stable_lost", record.stable, f"{text}; another one takes its place")
    after = replace(record, reason=text)
    return after if after == record else told(after, sight, "rollout_stable_lost", record.stable, text)


def obstacle(record: RolloutRecord, version: int, sight: ModelSight) -> str:
    """Return why the rollout of a version cannot begin now; empty if it can."""
    stable = f"version {record.stable}, which is stable,"
    if record.fixed_weights:
        return f"version {version} waits: the traffic is fixed by an order"
    if record.stable not in sight.available:
        return f"version {version} waits: {stable} does not answer"
    if sight.is_listed and record.stable not in sight.stored:
        return (
            f"version {version} waits: {stable} is not complete on storage; `rollout start --force` begins all the same"
        )
    was_replaced = version in record.rejected and not is_rejected(record, version, sight)
    if was_replaced and version in sight.available:
        return f"version {version} waits: its files have changed, and the old ones are still loaded"
    return ""


def _with_first(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    found = first_stable(record, sight)
    if not found:
        return record
    is_labelled = sight.labels.get("stable") == found
    why = "the label `stable` names it" if is_labelled else "nothing is known of an earlier one"
    left = {version: why for version, why in record.rejected.items() if version != found}
    after = replace(record, stable=found, stable_fingerprint=sight.stored.get(found, ""), rejected=left)
    return told(after, sight, "rollout_first", found, f"version {found} is stable: {why}")


def _others(record: RolloutRecord, sight: ModelSight) -> frozenset[int]:
    """Return the versions that could take the place of a lost one."""
    coming = sight.chosen & sight.stored.keys() if sight.is_listed else frozenset()
    return (sight.available | coming) - rejected_versions(record, sight) - {record.stable}


def without_plan(record: RolloutRecord, sight: ModelSight) -> RolloutRecord:
    """Follow the version policy; what was rejected stays so until its files change or somebody retries it.

    A rollout whose plan was removed is aborted. Where its stable version is lost, the canary takes over instead.
    """
    if record.phase is RolloutPhase.PROMOTED:
        return close_window(record, sight, "the plan was removed")
    if record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.STABLE_LOST:
        return complete(record, sight, "the plan was removed, and there is no other version")
    if record.phase is not RolloutPhase.IDLE:
        return turn_down(record, sight, RolloutOutcome.ABORTED, "aborted: its plan was removed from the settings")
    rejected = rejected_versions(record, sight)
    kept = {version: why for version, why in record.rejected.items() if version in rejected}
    record = replace(record, rejected=kept, queued=0, reason="", lost_s=0.0)
    if not kept:
        return replace(record, stable=0, stable_fingerprint="")
    serving = sight.available - rejected
    stable = max(serving & sight.chosen or serving, default=record.stable)
    return replace(record, stable=stable, stable_fingerprint=sight.stored.get(stable, record.stable_fingerprint))
