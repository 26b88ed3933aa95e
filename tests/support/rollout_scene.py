"""A model whose rollout is looked at again and again, with everything that a look may show as a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.delivery.analysis import ArmWindow
from core.delivery.arm_counts import LATENCY_EDGES_S, Tally
from core.delivery.plan import Analysis, DeliverySettings, MetricRule, RolloutPlan, RolloutStep, RuleKind
from core.delivery.rollout_record import NO_RECORD, Happening, RolloutPhase, RolloutRecord
from core.rollouts.orders import OrderVerb, RolloutOrder, ordered
from core.rollouts.progress import advance
from core.rollouts.sight import ModelSight

ERRORS = MetricRule(RuleKind.SERVER_ERRORS, 1.2)
ANALYSIS = Analysis(interval_s=10.0, initial_delay_s=0.0, min_requests=100, rules=(ERRORS,))
PLAN = RolloutPlan(
    (RolloutStep(weight=500, bake_s=60.0), RolloutStep(weight=5000, bake_s=60.0)),
    analysis=ANALYSIS,
    max_duration_s=1000.0,
    rollback_window_s=100.0,
    health_grace_s=30.0,
)
QUICK = 30
"""A bucket of latencies that all requests have."""


def tally(requests: int, errors: int = 0) -> Tally:
    """Return the counts of an arm whose requests all take the same time."""
    latency = [0] * len(LATENCY_EDGES_S)
    latency[QUICK] = requests
    return Tally(requests, server_errors=errors, latency=tuple(latency))


GOOD = ArmWindow(tally(1900), tally(100), share=0.05)
BAD = ArmWindow(tally(1900), tally(100, errors=90), share=0.05)
FEW = ArmWindow(tally(19), tally(1), share=0.05)


@dataclass
class Scene:
    """Versions 7 and 8 are on storage and answer, 7 is stable, and the policy serves the latest one."""

    record: RolloutRecord = field(default_factory=lambda: replace(NO_RECORD, stable=7, stable_fingerprint="f7"))
    plan: RolloutPlan | None = PLAN
    settings: DeliverySettings = field(default_factory=DeliverySettings)
    stored: dict[int, str] = field(default_factory=lambda: {7: "f7", 8: "f8"})
    chosen: frozenset[int] | None = None
    available: set[int] = field(default_factory=lambda: {7, 8})
    failed: dict[int, str] = field(default_factory=dict)
    gone_s: dict[int, float] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    signature_problems: tuple[str, ...] | None = ()
    outputs: frozenset[str] = frozenset()
    is_listed: bool = True
    wall_s: float = 1000.0
    told: list[Happening] = field(default_factory=list)

    @property
    def in_force(self) -> DeliverySettings:
        """What the settings file says."""
        return replace(self.settings, plan=self.plan)

    def sight(self, **changes: Any) -> ModelSight:
        """Return a look at the present."""
        chosen = frozenset({max(self.stored)} if self.stored else ()) if self.chosen is None else self.chosen
        seen = ModelSight(
            "m",
            wall_s=self.wall_s,
            is_listed=self.is_listed,
            stored=dict(self.stored),
            chosen=chosen,
            available=frozenset(self.available),
            failed=dict(self.failed),
            gone_s=dict(self.gone_s),
            epoch_in_force=self.record.epoch,
            signature_problems=self.signature_problems,
            outputs=self.outputs,
            labels=self.labels,
        )
        return replace(seen, **changes)

    def look(self, elapsed_s: float = 1.0, window: ArmWindow | None = None, **changes: Any) -> RolloutRecord:
        """Let time pass, and look once; everything that was told is kept."""
        self.wall_s += elapsed_s
        sight = self.sight(**{"elapsed_s": elapsed_s, "window": window, **changes})
        self.record, told = advance(self.record, sight, self.in_force)
        self.told += told
        return self.record

    def order(self, verb: OrderVerb, **more: Any) -> RolloutRecord:
        """Order something."""
        sight = self.sight(**more.pop("sight", {}))
        self.record, told = ordered(self.record, RolloutOrder(verb, **{"by": "ann", **more}), sight, self.in_force)
        self.told += told
        return self.record

    def to_step(self, step: int = 0) -> RolloutRecord:
        """Go to a step, in force at every router."""
        while self.record.phase is not RolloutPhase.STEP or self.record.step < step:
            self.look(10.0, GOOD)
        return self.look(1.0)

    def to(self, phase: RolloutPhase) -> RolloutRecord:
        """Go to a phase by what leads to it in the ordinary way."""
        if phase is RolloutPhase.LOADING:
            self.available.discard(8)
            return self.look()
        if phase is RolloutPhase.PROMOTED:
            while self.record.phase is not phase:
                self.look(10.0, GOOD)
        elif phase is not RolloutPhase.IDLE:
            self.to_step(1 if phase is RolloutPhase.PROMOTING else 0)
        if phase is RolloutPhase.PAUSED:
            self.order(OrderVerb.PAUSE)
        if phase is RolloutPhase.PROMOTING:
            self.order(OrderVerb.PROMOTE)
        if phase is RolloutPhase.ROLLING_BACK:
            self.order(OrderVerb.ABORT)
        assert self.record.phase is phase
        return self.record

    @property
    def names(self) -> list[str]:
        """The names of what was told."""
        return [one.name for one in self.told]

    @property
    def weights(self) -> dict[int, int]:
        """The shares of the division."""
        return dict(self.record.division.weights) if self.record.division is not None else {}
