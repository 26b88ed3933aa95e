"""What is known of a model's rollouts: it travels in the routing table, and survives in `--state_dir`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core.delivery.analysis import NOTHING_SEEN, AnalysisState
from core.delivery.plan import RolloutPlan
from core.delivery.split import Division, MirrorOrder, MirrorSettings, Weights


class RolloutPhase(enum.Enum):
    """The states of a rollout (design 3.3); a rejected version is one of `rejected`, its phase is IDLE."""

    IDLE = "idle"
    LOADING = "loading"
    STEP = "step"
    PAUSED = "paused"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"


class PauseCause(enum.Enum):
    """Why a rollout is paused, and so how it goes on."""

    ORDER = "order"
    PLAN = "plan"
    """A step of the plan, which ends by itself or by an order."""

    FAILED = "failed"
    """A metric has failed, and the plan says `on_failure: pause`."""

    INCONCLUSIVE = "inconclusive"
    DURATION = "duration"
    """The rollout has lasted as long as it may."""

    STABLE_LOST = "stable_lost"
    """The stable version does not run and cannot be fetched; it ends when it is back."""


class RolloutOutcome(enum.Enum):
    """How a rollout has ended, or is about to where it is being rolled back."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    """A newer version took its place; nothing was found against it."""

    WITHDRAWN = "withdrawn"
    """Its directory or the version policy no longer has it; it may come again."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a version is not to get traffic, and the state of the directory of which that is said."""

    reason: str
    fingerprint: str = ""
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to a rollout: when (wall clock), what (`rollout_step`, …), with its numbers."""

    at_s: float
    name: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One model. Versions are 0 where there is none; times in seconds: `left_s` of a bake, others of the wall clock.

    `rollout` names the rollout (salt of sticky choices). `epoch` rises with every change of the division.
    `step` counts from 0. `baked_s` is how long the present step has been in force at every router, without the time in
    which no watcher ran. `lasted_s` is that of the whole rollout. `paused_from` is the phase that a pause interrupted.
    `fixed_weights` and `fixed_mirror` are what `traffic` and `mirror` orders fix while no rollout runs, until the
    settings differ from `fixed_over` and `mirrored_over`, which were in force when they were ordered. `generation`
    rises with each change that matters, `owner` names the watcher that wrote it.

    `plan` and `header` are those that the rollout began with: a changed plan counts from the next one. `previous` is
    the version that was stable before, while the rollback window is open. `division` is what routers are to do, with
    `epoch`; `is_in_force` says whether every router had it at the last look. `lost_s` is how long stable has neither
    run nor been there to be fetched, `restarts` counts replicas of the canary that died. `is_forced` says that the
    rollout was started in spite of what speaks against it, `outcome` how it ended or is about to, `loads_anew` that the
    canary is tried once more although it could not be loaded before.
    """

    stable: int = 0
    canary: int = 0
    stable_fingerprint: str = ""
    canary_fingerprint: str = ""
    phase: RolloutPhase = RolloutPhase.IDLE
    paused_from: RolloutPhase = RolloutPhase.STEP
    paused_by: str = ""
    reason: str = ""
    rollout: str = ""
    epoch: int = 0
    step: int = 0
    baked_s: float = 0.0
    lasted_s: float = 0.0
    window_s: float = 0.0
    analysis: AnalysisState = NOTHING_SEEN
    rejected: Mapping[int, Rejection] = field(default_factory=dict)
    queued: int = 0
    fixed_weights: Weights = ()
    fixed_mirror: MirrorOrder | None = None
    happenings: tuple[Happening, ...] = ()
    generation: int = 0
    owner: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    plan: RolloutPlan | None = None
    header: str = ""
    pause_cause: PauseCause = PauseCause.ORDER
    previous: int = 0
    previous_fingerprint: str = ""
    division: Division | None = None
    is_in_force: bool = False
    outcome: RolloutOutcome | None = None
    lost_s: float = 0.0
    restarts: int = 0
    is_forced: bool = False
    loads_anew: bool = False
    fixed_over: Mapping[str, int] = field(default_factory=dict)
    mirrored_over: MirrorSettings | None = None

    def without_texts(self) -> RolloutRecord:
        """Return the record for those who see states only: no reasons, nobody's name, no texts of happenings."""
        return replace(
            self,
            reason="",
            paused_by="",
            owner="",
            plan=self.plan.without_addresses() if self.plan is not None else None,
            analysis=NOTHING_SEEN,
            rejected={number: replace(one, reason="") for number, one in self.rejected.items()},
            happenings=tuple(replace(one, text="") for one in self.happenings),
        )


NO_RECORD = RolloutRecord()
