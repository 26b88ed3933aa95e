"""The rollout plan of a model: the section `canary` of the settings file as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core.delivery.split import MirrorSettings


class OnFailure(enum.Enum):
    """What follows when a metric has failed."""

    ROLLBACK = "rollback"
    PAUSE = "pause"


class OnInconclusive(enum.Enum):
    """What follows when a bake is over and nothing is proved."""

    PAUSE = "pause"
    ADVANCE = "advance"
    ROLLBACK = "rollback"


class OnNewVersion(enum.Enum):
    """What a newer version does that comes while a rollout runs."""

    REPLACE = "replace"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """One step: a share of traffic or of copies in basis points, or a pause; and how long it bakes.

    `pause_s` is None in a step that does not pause, and infinity where only an order goes on. `gate` is a URL that
    answers 200 when the next step may begin. `min_requests` of None takes that of the analysis.
    """

    weight: int = 0
    mirror: int = 0
    bake_s: float = 0.0
    min_requests: int | None = None
    pause_s: float | None = None
    gate: str = ""


class RuleKind(enum.Enum):
    """The metrics that a canary is judged by."""

    SERVER_ERRORS = "server_errors"
    CLIENT_ERRORS = "client_errors"
    SLOW_REQUESTS = "slow_requests"
    OUTPUT_DRIFT = "output_drift"
    FLIPS = "flips"
    TOLERANCE = "tolerance"


@dataclass(frozen=True, slots=True)
class MetricRule:
    """One metric with its limit; fields that its kind does not know stay at their defaults.

    `limit` is `max_ratio`, `max_distance` or `max_rate`. `output` names an output of the model, `quantile` chooses the
    latency of stable above which a request is slow; `rtol` and `atol` None take the noise floor's. `max_rate` is for
    ratios: a canary below it has passed whatever stable does, where a plan requires evidence.
    """

    kind: RuleKind
    limit: float
    quantile: float = 0.99
    output: str = ""
    rtol: float | None = None
    atol: float | None = None
    max_rate: float | None = None

    @property
    def name(self) -> str:
        """The metric in statuses, logs and metrics, for example `slow_requests_p99` or `flips_scores`."""
        if self.kind is RuleKind.SLOW_REQUESTS:
            return f"{self.kind.value}_p{100 * self.quantile:g}"
        return f"{self.kind.value}_{self.output}" if self.output else self.kind.value


DEFAULT_RULES = (
    MetricRule(RuleKind.SERVER_ERRORS, 1.2),
    MetricRule(RuleKind.CLIENT_ERRORS, 1.5),
    MetricRule(RuleKind.SLOW_REQUESTS, 1.5, quantile=0.99),
)


@dataclass(frozen=True, slots=True)
class Analysis:
    """How a canary is judged; `false_rollback_probability` is of the whole rollout, all rules together."""

    interval_s: float = 15.0
    initial_delay_s: float = 30.0
    false_rollback_probability: float = 0.01
    min_requests: int = 300
    require_evidence: bool = False
    rules: tuple[MetricRule, ...] = DEFAULT_RULES

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the model that rules name, each once."""
        return tuple(dict.fromkeys(one.output for one in self.rules if one.output))


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a new version takes over a model's traffic."""

    steps: tuple[RolloutStep, ...]
    analysis: Analysis = Analysis()
    on_failure: OnFailure = OnFailure.ROLLBACK
    on_inconclusive: OnInconclusive = OnInconclusive.PAUSE
    on_new_version: OnNewVersion = OnNewVersion.REPLACE
    max_duration_s: float = 86_400.0
    rollback_window_s: float = 3600.0
    health_grace_s: float = 60.0
    allow_signature_change: bool = False
    labels: Mapping[str, bool] = field(default_factory=dict)
    notify: str = ""

    def without_addresses(self) -> RolloutPlan:
        """Return the plan for those who see states only: no addresses of gates and of who is notified."""
        return replace(self, steps=tuple(replace(one, gate="") for one in self.steps), notify="")


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What the settings file says of one model's traffic; all empty where it says nothing.

    `traffic` has shares in basis points by version number or label, as text; `label_traffic` the same for requests by
    a label. `stickiness` is the name of a header in lower case, for `traffic` and for the plan. `plan.labels` has the
    labels that the plan moves (`labels: {stable: auto, canary: auto}`).
    """

    traffic: Mapping[str, int] = field(default_factory=dict)
    label_traffic: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mirror: MirrorSettings | None = None
    stickiness: str = ""
    plan: RolloutPlan | None = None


NO_DELIVERY = DeliverySettings()
