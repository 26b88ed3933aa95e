"""Which version may become the next one."""

from __future__ import annotations

from collections.abc import Sequence

from core.delivery.plan import RolloutPlan
from core.delivery.rollout_record import RolloutRecord
from core.rollouts.sight import ModelSight


def signature_refusal(
    record: RolloutRecord, plan: RolloutPlan, problems: Sequence[str], outputs: frozenset[str]
) -> str:
    """Return why a canary's signatures keep its rollout from beginning; empty where they do not.

    A metric of an output that no version has would see no events, and pass.
    """
    unknown = [name for name in plan.analysis.outputs if outputs and name not in outputs]
    if unknown:
        named, has = ", ".join(unknown), ", ".join(sorted(outputs))
        return f"the plan's metrics name outputs that it does not have: {named}; it has {has}"
    if problems and not (record.is_forced or plan.allow_signature_change):
        return f"its signatures differ from those of version {record.stable}: {'; '.join(problems)}"
    return ""


def is_rejected(record: RolloutRecord, version: int, sight: ModelSight) -> bool:
    """Whether a version is not to get traffic: it was rejected, and its directory is still what it was then.

    What storage does not show, or not at present, stays rejected.
    """
    rejection = record.rejected.get(version)
    if rejection is None:
        return False
    fingerprint = sight.stored.get(version, rejection.fingerprint) if sight.is_listed else rejection.fingerprint
    return not rejection.fingerprint or fingerprint == rejection.fingerprint


def rejected_versions(record: RolloutRecord, sight: ModelSight) -> frozenset[int]:
    """Return the versions that are not to get traffic."""
    return frozenset(version for version in record.rejected if is_rejected(record, version, sight))


def candidate(record: RolloutRecord, sight: ModelSight) -> int:
    """Return the version that may become the next one, 0 for none.

    It is the newest that the policy chooses, and newer than stable and than every rejected version: what was passed
    over by a rejected one is not tried later. A lower one is a candidate only where the policy has ceased to choose
    stable, which still is on storage: somebody has changed the policy.
    """
    if not sight.is_listed:
        return 0
    rejected = rejected_versions(record, sight)
    newest = max(sight.chosen & sight.stored.keys() - rejected - {record.stable}, default=0)
    if newest > max(rejected | {record.stable}):
        return newest
    is_unwanted = record.stable in sight.stored and max(sight.chosen, default=0) < record.stable
    return newest if is_unwanted else 0


def newer_than_canary(record: RolloutRecord, sight: ModelSight) -> int:
    """Return the newest version that the policy chooses beyond the canary, 0 for none."""
    if not sight.is_listed:
        return 0
    newest = max(sight.chosen & sight.stored.keys() - rejected_versions(record, sight), default=0)
    return newest if newest > max(record.canary, record.stable) else 0


def first_stable(record: RolloutRecord, sight: ModelSight) -> int:
    """Return the version to begin with where none is stable yet, 0 as long as there is none.

    The label `stable` names it. Otherwise it is the newest that answers, unless a newer one is about to.
    """
    labelled = sight.labels.get("stable", 0)
    if labelled in sight.available or (sight.is_listed and labelled in sight.stored):
        return labelled
    rejected = rejected_versions(record, sight)
    newest = max(sight.available - rejected, default=0)
    coming = sight.chosen & sight.stored.keys() - rejected - sight.failed.keys()
    return 0 if max(coming, default=0) > newest else newest


def withdrawal(record: RolloutRecord, sight: ModelSight) -> str:
    """Return why the canary is no longer offered: its directory, or the policy; empty while it is."""
    if not sight.is_listed:
        return ""
    if record.canary not in sight.stored:
        return "its directory is gone"
    if record.canary in sight.chosen or max(sight.chosen, default=0) > max(record.canary, record.stable):
        return ""
    return "the version policy no longer chooses it"
