"""How requests are divided in each phase of a rollout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.delivery.judgement import observed_outputs
from core.delivery.plan import DeliverySettings, MetricRule, RolloutPlan, RolloutStep, RuleKind
from core.delivery.rollout_record import RolloutPhase, RolloutRecord
from core.delivery.split import DEFAULT_TOLERANCE, WHOLE, Division, MirrorOrder, Tolerance, Weights
from core.rollouts.candidates import rejected_versions
from core.rollouts.fixed_traffic import fixed_mirror, fixed_weights, label_weights, on_versions
from core.rollouts.sight import ModelSight

RUNNING = frozenset({RolloutPhase.STEP, RolloutPhase.PAUSED})


def effective_step(plan: RolloutPlan, step: int) -> RolloutStep:
    """Return the step whose shares are in force: a pause keeps those of the step before it."""
    shown = (one for one in reversed(plan.steps[: step + 1]) if one.pause_s is None)
    return next(shown, RolloutStep())


def running_step(record: RolloutRecord) -> RolloutStep | None:
    """Return the step whose shares the canary has; None where it has none, whatever the plan says."""
    if record.plan is None or record.phase not in RUNNING:
        return None
    if record.phase is RolloutPhase.PAUSED and record.paused_from is not RolloutPhase.STEP:
        return None
    return effective_step(record.plan, record.step)


def with_division(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> RolloutRecord:
    """Return the record with the division that follows from it; another one has a higher epoch."""
    found = _divided(record, sight, settings)
    present = record.division
    is_same = found is not None and present is not None and found == replace(present, epoch=0, observed=found.observed)
    if is_same or (found is None and present is None):
        return replace(record, division=found and replace(found, epoch=record.epoch))
    epoch = record.epoch + 1
    return replace(record, division=found and replace(found, epoch=epoch), epoch=epoch, is_in_force=False)


def _divided(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> Division | None:
    weights = _weights(record, sight, settings)
    mirror = _mirror(record, sight, settings)
    labels = label_weights(sight, settings)
    if not weights and (mirror or labels) and sight.available:
        weights = ((_primary(record, sight), WHOLE),)
    if not weights:
        return None
    is_running = running_step(record) is not None
    header = record.header if is_running else settings.stickiness
    salt = f"{sight.model}/{record.rollout}" if is_running else f"{sight.model}/traffic"
    is_chosen = len(weights) > 1 or mirror is not None or bool(labels)
    observed = observed_outputs(record.analysis, record.plan.analysis) if is_running and record.plan else {}
    return Division(
        weights,
        salt=salt if is_chosen else "",
        header=header if is_chosen else "",
        mirror=mirror,
        labels=labels,
        observed=observed,
    )


def is_canary_able(record: RolloutRecord, sight: ModelSight) -> bool:
    """Whether the canary can answer: it is available, and has a replica."""
    return record.canary in sight.available and record.canary not in sight.gone_s


def _weights(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> Weights:
    """Return who gets requests that name no version; empty leaves them to the newest."""
    step = running_step(record)
    if record.phase is RolloutPhase.IDLE:
        fixed = on_versions(fixed_weights(record, sight, settings), sight.available)
        if fixed:
            return fixed
    if record.phase is RolloutPhase.PROMOTING and is_canary_able(record, sight):
        return ((record.canary, WHOLE),)
    if step is not None and step.weight and is_canary_able(record, sight) and record.stable in sight.available:
        return ((record.stable, WHOLE - step.weight), (record.canary, step.weight))
    if not sight.available or not (record.stable or rejected_versions(record, sight) & sight.available):
        return ()
    return ((_primary(record, sight), WHOLE),)


def _primary(record: RolloutRecord, sight: ModelSight) -> int:
    """Return the version that answers when only one does: stable, or what comes nearest to it while it does not run.

    A rejected version is the last resort: nobody gets a 404 while any version is loaded.
    """
    for version in (record.stable, record.canary, record.previous):
        if version in sight.available:
            return version
    return max(sight.available - rejected_versions(record, sight), default=max(sight.available))


def _mirror(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> MirrorOrder | None:
    step = running_step(record)
    if step is not None and step.mirror and is_canary_able(record, sight) and record.stable in sight.available:
        rules = () if record.plan is None else record.plan.analysis.rules
        return MirrorOrder(record.canary, step.mirror, tolerances=_tolerances(rules))
    if record.phase not in {RolloutPhase.IDLE, RolloutPhase.PROMOTED}:
        return None
    fixed = fixed_mirror(record, sight, settings)
    return fixed if fixed is not None and fixed.share and fixed.version in sight.available else None


def _tolerances(rules: Iterable[MetricRule]) -> Mapping[str, Tolerance]:
    """Return how far outputs may differ, by name; that of a rule for no output in particular is the empty one."""
    return {
        rule.output: Tolerance(
            DEFAULT_TOLERANCE.rtol if rule.rtol is None else rule.rtol,
            DEFAULT_TOLERANCE.atol if rule.atol is None else rule.atol,
        )
        for rule in rules
        if rule.kind is RuleKind.TOLERANCE
    }
