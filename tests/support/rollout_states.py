"""Models in every state of a rollout, for tests of what shows them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from core.delivery.analysis import MetricStanding, Verdict
from core.delivery.arm_counts import Tally, bucket_of
from core.delivery.mirror_counts import MirrorCounts, OutputCounts
from core.delivery.plan import Analysis, MetricRule, RolloutPlan, RolloutStep, RuleKind
from core.delivery.rollout_record import Happening, PauseCause, Rejection, RolloutPhase, RolloutRecord
from core.delivery.split import Division, MirrorOrder
from core.delivery_status.divided_traffic import DividedTraffic
from core.delivery_status.rollout_document import RolloutFacts, rollout_document

NOW_S = 1_700_007_500.0
RULES = (
    MetricRule(RuleKind.SERVER_ERRORS, 1.2),
    MetricRule(RuleKind.CLIENT_ERRORS, 1.5),
    MetricRule(RuleKind.SLOW_REQUESTS, 1.5, quantile=0.99),
    MetricRule(RuleKind.OUTPUT_DRIFT, 0.1, output="scores"),
    MetricRule(RuleKind.FLIPS, 0.02, output="scores"),
    MetricRule(RuleKind.TOLERANCE, 0.01, output="scores"),
)
PLAN = RolloutPlan(
    (
        RolloutStep(mirror=10_000, bake_s=1800.0, min_requests=500),
        RolloutStep(weight=500, bake_s=600.0),
        RolloutStep(weight=2_500, bake_s=1200.0, gate="https://user:pw@gates.example/go"),
        RolloutStep(weight=5_000, bake_s=1200.0),
        RolloutStep(pause_s=math.inf),
    ),
    Analysis(rules=RULES),
)
HAPPENINGS = (
    Happening(NOW_S - 2600.0, "rollout_started", 8, "version 8 is compared with stable version 7"),
    Happening(NOW_S - 2550.0, "rollout_step", 8, "step 1 of 5: copies of 100 % of the requests"),
    Happening(NOW_S - 700.0, "rollout_verdict", 8, "flips_scores passed: 1 of 612 pairs, evidence 204 of 200"),
    Happening(NOW_S - 250.0, "rollout_step", 8, "step 2 of 5: 5 % of the requests"),
)
RECORD = RolloutRecord(
    stable=7, canary=8, phase=RolloutPhase.STEP, step=1, baked_s=250.0, lasted_s=2600.0, rollout="ranking-8-3f2a",
    epoch=4, generation=12, happenings=HAPPENINGS, plan=PLAN,
)  # fmt: skip
LOAD = {"stable": 0.0042, "canary": 0.0051}


def tally(requests: int, took_s: float, server_errors: int = 0, client_errors: int = 0) -> Tally:
    """Make counts of which one request in fifty is eight times slower."""
    counts = [0] * 76
    counts[bucket_of(took_s)] = requests - requests // 50
    counts[bucket_of(took_s * 8)] = requests // 50
    return Tally(requests, server_errors, client_errors, tuple(counts))


TRAFFIC = DividedTraffic(
    arms={7: tally(18_240, 0.0042, 5, 41), 8: tally(962, 0.0051, 2, 3)},
    recent={7: tally(1_140, 0.0042, 0, 3), 8: tally(61, 0.0051, 1, 0)},
    recent_s=15.0,
    batch_rows={7: 11.4, 8: 1.7},
)
COPIES = MirrorCounts(
    480, 118, 12, 2, 1, 37,
    {
        "scores": OutputCounts(130, 4, 12, (0, 0, 3, 60, 40, 15, 9, 2, 1), 0.0312, 0, 6),
        "embedding": OutputCounts(118, 0, 0, (0, 2, 100, 16), 2.4e-6),
    },
    "output `ids` is int32 here and int64 in stable",
)  # fmt: skip
NOISE = MirrorCounts(590, 10, outputs={"scores": OutputCounts(10, 0, 0, (0, 0, 8, 2), 3.1e-7)})
STANDINGS = (
    MetricStanding("server_errors", Verdict.NOT_ENOUGH_DATA, 5, 18_240, 2, 962, 3.4, 600.0, outlook="2 of 7 events are the canary's; 5 in a row would fail it"),
    MetricStanding("client_errors", Verdict.NOT_ENOUGH_DATA, 41, 18_240, 3, 962, 0.2, 600.0, outlook="38 more requests of the canary are needed"),
    MetricStanding("slow_requests_p99", Verdict.PASS, 182, 18_240, 9, 962, 0.04, 600.0),
    MetricStanding("output_drift_scores", Verdict.NOT_ENOUGH_DATA, 1_000, 18_240, 200, 962, 1.0, 600.0, outlook="bins are made of stable's first 1,000 answers"),
    MetricStanding("flips_scores", Verdict.NOT_JUDGED, 0, 0, 1, 612, 0.001, 600.0, "pairs", "this step copies no requests"),
    MetricStanding("tolerance_scores", Verdict.NOT_JUDGED, 0, 0, 3, 612, 12.0, 600.0, "pairs", "this step copies no requests"),
)  # fmt: skip


def shares(canary: int, mirror: int = 0) -> Division:
    """Make the division of a step."""
    weights = ((7, 10_000 - canary), (8, canary)) if canary else ((7, 10_000),)
    return Division(weights, 4, "salt", "x-user-id", MirrorOrder(8, mirror) if mirror else None)


def near_the_limit() -> tuple[MetricStanding, ...]:
    """Return standings of which one is about to fail."""
    near = replace(
        STANDINGS[0], canary_events=9, evidence=430.0, outlook="one more server error of the canary would fail it"
    )
    return (near, *STANDINGS[1:])


def failed() -> tuple[MetricStanding, ...]:
    """Return standings of which one has failed."""
    return (
        replace(STANDINGS[0], verdict=Verdict.FAIL, canary_events=14, evidence=812.0, outlook="it stays failed"),
        *STANDINGS[1:],
    )


REASON = "server_errors failed: 14 of 962 requests (1.46 %) against 5 of 18240 (0.03 %), evidence 812 of 600"
BAD = (*HAPPENINGS, Happening(NOW_S - 5.0, "rollout_rolled_back", 8, REASON))
LONG = "signature serving_default: the input `x` is float32[?,3] in version 9 and float32[?,4] in version 8; " * 5

STATES: dict[str, tuple[RolloutRecord, RolloutFacts]] = {
    "idle": (RolloutRecord(stable=7, generation=3), RolloutFacts(Division(((7, 10_000),)), PLAN)),
    "loading": (
        replace(RECORD, phase=RolloutPhase.LOADING, step=0, baked_s=0.0, lasted_s=12.0, happenings=HAPPENINGS[:1]),
        RolloutFacts(Division(((7, 10_000),)), PLAN, warnings=("output `logits` is new: float32[?,2]",)),
    ),
    "mirroring": (
        replace(RECORD, step=0, baked_s=1500.0, lasted_s=1550.0, happenings=HAPPENINGS[:2]),
        RolloutFacts(
            shares(0, 10_000), PLAN,
            (*(replace(one, verdict=Verdict.NOT_JUDGED, canary_events=0, canary_requests=0, evidence=1.0) for one in STANDINGS[:4]),
             replace(STANDINGS[4], verdict=Verdict.PASS, outlook=""),
             replace(STANDINGS[5], verdict=Verdict.NOT_ENOUGH_DATA, outlook="about 700 more pairs without a difference would pass it")),
            replace(TRAFFIC, mirrors={8: COPIES, 7: NOISE}),
        ),
    ),
    "weighted": (RECORD, RolloutFacts(shares(500), PLAN, near_the_limit(), TRAFFIC)),
    "paused": (
        replace(
            RECORD, phase=RolloutPhase.PAUSED, pause_cause=PauseCause.INCONCLUSIVE, paused_by="the analysis", baked_s=640.0,
            reason="the bake is over, and the canary had 118 of 300 requests; at 0.2 requests/s they take 15 minutes more",
        ),
        RolloutFacts(shares(500), PLAN, STANDINGS, TRAFFIC),
    ),
    "promoted": (
        replace(
            RECORD, stable=8, canary=0, previous=7, phase=RolloutPhase.PROMOTED, step=4, window_s=1260.0,
            happenings=(*HAPPENINGS, Happening(NOW_S - 1260.0, "rollout_promoted", 8, "version 8 is stable; version 7 stays for 1 h")),
        ),
        RolloutFacts(Division(((8, 10_000),)), PLAN, (), TRAFFIC),
    ),
    "rolling_back": (
        replace(RECORD, phase=RolloutPhase.ROLLING_BACK, reason=REASON, happenings=BAD),
        RolloutFacts(Division(((7, 10_000),)), PLAN, failed(), TRAFFIC),
    ),
    "rejected": (
        replace(
            RECORD, canary=0, phase=RolloutPhase.IDLE, step=0, baked_s=0.0, plan=None,
            rejected={8: Rejection(REASON, "f", NOW_S - 900.0), 9: Rejection(LONG, "g", NOW_S - 90.0)}, happenings=BAD,
        ),
        RolloutFacts(Division(((7, 10_000),)), PLAN),
    ),
    "queued": (replace(RECORD, queued=9), RolloutFacts(shares(500), PLAN, STANDINGS, TRAFFIC)),
    "shares by hand": (
        RolloutRecord(stable=7, generation=5, fixed_weights=((7, 9_000), (8, 1_000))),
        RolloutFacts(
            Division(((7, 9_000), (8, 1_000)), 2, labels={"beta": ((8, 5_000), (9, 5_000))}, mirror=MirrorOrder(9, 1_050)),
            traffic=replace(TRAFFIC, mirrors={9: COPIES}),
        ),
    ),
}  # fmt: skip
"""Records with what is known beside them, by the name of the state."""


def delivery(state: str, **changes: Any) -> dict[str, Any]:
    """Return the document of a state."""
    record, facts = STATES[state]
    made = rollout_document(replace(record, **changes), facts, NOW_S)
    assert made is not None
    return made
