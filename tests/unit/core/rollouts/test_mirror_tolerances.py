"""How far the answers of a canary may differ while its plan copies requests to it."""

from __future__ import annotations

from core.delivery.plan import Analysis, DeliverySettings, MetricRule, RolloutPlan, RolloutStep, RuleKind
from core.delivery.rollout_record import RolloutPhase, RolloutRecord
from core.delivery.split import DEFAULT_TOLERANCE, WHOLE, MirrorOrder, Tolerance
from core.rollouts.dividing import with_division
from core.rollouts.sight import ModelSight

SIGHT = ModelSight("m", available=frozenset({7, 8}))


def mirror_of(*rules: MetricRule) -> MirrorOrder:
    plan = RolloutPlan((RolloutStep(mirror=WHOLE),), Analysis(rules=rules))
    record = RolloutRecord(stable=7, canary=8, phase=RolloutPhase.STEP, plan=plan)
    division = with_division(record, SIGHT, DeliverySettings(plan=plan)).division
    assert division is not None
    assert division.mirror is not None
    return division.mirror


def test_copies_are_compared_with_the_tolerances_of_the_plans_rules() -> None:
    """Each rule is for its output; what it does not say is the default."""
    mirror = mirror_of(
        MetricRule(RuleKind.TOLERANCE, 0.01, output="scores", rtol=0.5),
        MetricRule(RuleKind.TOLERANCE, 0.01, atol=0.25),
        MetricRule(RuleKind.FLIPS, 0.02, output="classes"),
    )
    assert mirror.tolerances == {
        "scores": Tolerance(0.5, DEFAULT_TOLERANCE.atol),
        "": Tolerance(DEFAULT_TOLERANCE.rtol, 0.25),
    }


def test_without_rules_the_default_tolerance_counts() -> None:
    """The mirror says nothing of it then."""
    assert mirror_of() == MirrorOrder(8, WHOLE)
