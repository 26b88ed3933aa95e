"""The part of the status document about a model's rollout: its steps, both arms, and the numbers of every verdict.

Whoever asks why a canary was rolled back, or what it waits for, finds the reason here with the numbers that led to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.delivery.analysis import MetricStanding
from core.delivery.arm_counts import LATENCY_EDGES_S, Tally
from core.delivery.mirror_counts import L2_DECADES, MirrorCounts, OutputCounts
from core.delivery.plan import MetricRule, RolloutPlan, RolloutStep, RuleKind
from core.delivery.rollout_record import PauseCause, RolloutPhase, RolloutRecord
from core.delivery.split import Division, MirrorOrder, Weights
from core.delivery_status.divided_traffic import NOTHING_DIVIDED, DividedTraffic
from core.telemetry.log_lines import iso_time
from core.telemetry.redaction import without_secrets
from core.telemetry.traffic import P50, P99, quantile

Json = dict[str, Any]

PER_PERCENT: Final = 100
"""Basis points of one percent."""

LARGEST: Final = 1e300
"""Evidence above it is written as this, because JSON has no infinity."""

LIMITS: Final[Mapping[RuleKind, str]] = {
    RuleKind.SERVER_ERRORS: "max_ratio",
    RuleKind.CLIENT_ERRORS: "max_ratio",
    RuleKind.SLOW_REQUESTS: "max_ratio",
    RuleKind.OUTPUT_DRIFT: "max_distance",
    RuleKind.FLIPS: "max_rate",
    RuleKind.TOLERANCE: "max_rate",
}
"""What the limit of a metric is called in the settings file."""

PAUSE_ENDS: Final[Mapping[PauseCause, str]] = {
    PauseCause.ORDER: "an operator resumes, promotes or aborts; a metric that fails still acts",
    PauseCause.PLAN: "an operator resumes, promotes or aborts; a metric that fails still acts",
    PauseCause.FAILED: "an operator aborts, or resumes in spite of it with --force",
    PauseCause.INCONCLUSIVE: "an operator resumes, promotes or aborts",
    PauseCause.DURATION: "an operator resumes, promotes or aborts",
    PauseCause.STABLE_LOST: "it goes on when stable is back; promote --full makes the canary stable",
}
"""How a pause ends, by its cause."""


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """What is known beside the record: the division in force, the plan of the rollout, standings and counts.

    `plan` is that of the running rollout, or the one that the next will follow; `warnings` are the differences of the
    canary's signatures.
    """

    division: Division | None = None
    plan: RolloutPlan | None = None
    standings: tuple[MetricStanding, ...] = ()
    traffic: DividedTraffic = NOTHING_DIVIDED
    warnings: tuple[str, ...] = ()


def rollout_document(record: RolloutRecord, facts: RolloutFacts, wall_s: float) -> Json | None:
    """Return what is known of one model's traffic; None for one with nothing but its newest version.

    Times of day are texts in UTC, shares are in percent, versions are texts. Texts of a record without texts are null.
    """
    if not (record.stable or record.rejected or facts.plan or facts.division or facts.warnings):
        return None
    weights = facts.division.weights if facts.division is not None else ()
    return {
        "phase": record.phase.value,
        "reason": _shown(record.reason),
        "paused_by": _shown(record.paused_by),
        "pause_cause": record.pause_cause.value if record.phase is RolloutPhase.PAUSED else None,
        "outcome": record.outcome.value if record.outcome is not None else None,
        "rollout": record.rollout or None,
        "generation": record.generation,
        "stable": _version(record.stable),
        "canary": _version(record.canary),
        "previous": _version(record.previous),
        "queued": _version(record.queued),
        "weights": _weights(weights),
        "ordered_weights": _weights(record.fixed_weights),
        "label_weights": _label_weights(facts.division),
        "mirror": _mirror(facts.division),
        "sticky_header": (facts.division.header or None) if facts.division is not None else None,
        **_progress(record, facts.plan, wall_s),
        "arms": _arms(record, weights, facts.traffic),
        "metrics": [_metric(one, facts.plan) for one in facts.standings],
        "mirrored": _mirrored(_mirror_version(record, facts.division), facts.traffic),
        "noise_floor": _mirrored(record.stable, facts.traffic),
        "warnings": [without_secrets(one) for one in facts.warnings],
        "rejected": [
            {"version": str(number), "reason": _shown(one.reason), "at": iso_time(one.at_s)}
            for number, one in sorted(record.rejected.items(), reverse=True)
        ],
        "happenings": [
            {"at": iso_time(one.at_s), "name": one.name, "version": _version(one.version), "text": _shown(one.text)}
            for one in record.happenings
        ],
    }


def _shown(text: str) -> str | None:
    return without_secrets(text) or None


def _version(number: int) -> str | None:
    return str(number) if number else None


def _percent(share: int) -> float:
    return share / PER_PERCENT


def _weights(weights: Weights) -> list[Json]:
    return [{"version": str(version), "percent": _percent(share)} for version, share in weights]


def _label_weights(division: Division | None) -> list[Json]:
    labels = division.labels if division is not None else {}
    return [{"label": label, "weights": _weights(weights)} for label, weights in sorted(labels.items())]


def _mirror(division: Division | None) -> Json | None:
    order: MirrorOrder | None = division.mirror if division is not None else None
    if order is None:
        return None
    return {"version": str(order.version), "percent": _percent(order.share), "max_in_flight": order.max_in_flight}


def _mirror_version(record: RolloutRecord, division: Division | None) -> int:
    order = division.mirror if division is not None else None
    return order.version if order is not None and order.version != record.stable else record.canary


def _progress(record: RolloutRecord, plan: RolloutPlan | None, wall_s: float) -> Json:
    """Return the steps, how long the rollout has lasted, and what comes next; what has no plan has no steps."""
    steps = plan.steps if plan is not None else ()
    least = plan.analysis.min_requests if plan is not None else 0
    is_running = record.phase not in {RolloutPhase.IDLE, RolloutPhase.LOADING}
    left_s = _left_s(record, plan)
    return {
        "step": record.step if is_running and steps else None,
        "steps": [_step(place, one, record, least) for place, one in enumerate(steps)],
        "lasted_s": round(record.lasted_s, 3) if record.canary else None,
        "max_duration_s": plan.max_duration_s if plan is not None else None,
        "left_s": round(left_s, 3) if left_s is not None else None,
        "next_at": iso_time(wall_s + left_s) if left_s is not None else None,
        "next": _next(record, steps),
    }


def _left_s(record: RolloutRecord, plan: RolloutPlan | None) -> float | None:
    """Return how long the present phase lasts at least; None where time alone does not end it."""
    if plan is None:
        return None
    if record.phase is RolloutPhase.PROMOTED:
        return max(0.0, plan.rollback_window_s - record.window_s)
    is_baking = record.phase is RolloutPhase.STEP or _is_pausing_by_plan(record)
    if not is_baking or record.step >= len(plan.steps):
        return None
    lasts_s = _lasts_s(plan.steps[record.step])
    return max(0.0, lasts_s - record.baked_s) if math.isfinite(lasts_s) else None


def _is_pausing_by_plan(record: RolloutRecord) -> bool:
    return record.phase is RolloutPhase.PAUSED and record.pause_cause is PauseCause.PLAN


def _lasts_s(step: RolloutStep) -> float:
    return step.bake_s if step.pause_s is None else step.pause_s


def _step(place: int, step: RolloutStep, record: RolloutRecord, least: int) -> Json:
    state = _state(place, record)
    lasts_s = _lasts_s(step)
    return {
        "kind": _kind(step),
        "percent": None if step.pause_s is not None else _percent(step.mirror or step.weight),
        "bake_s": lasts_s if math.isfinite(lasts_s) else None,
        "min_requests": None if step.pause_s is not None else least if step.min_requests is None else step.min_requests,
        "gate": _shown(step.gate),
        "state": state,
        "baked_s": round(record.baked_s, 3) if state in {"running", "paused"} else None,
    }


def _kind(step: RolloutStep) -> str:
    if step.pause_s is not None:
        return "pause"
    return "mirror" if step.mirror else "weight"


def _state(place: int, record: RolloutRecord) -> str:
    if record.phase in {RolloutPhase.IDLE, RolloutPhase.LOADING}:
        return "to_come"
    if place != record.step or record.phase in {RolloutPhase.PROMOTING, RolloutPhase.PROMOTED}:
        is_done = place < record.step or record.phase in {RolloutPhase.PROMOTING, RolloutPhase.PROMOTED}
        return "done" if is_done else "to_come"
    return {RolloutPhase.PAUSED: "paused", RolloutPhase.ROLLING_BACK: "ended"}.get(record.phase, "running")


def _next(record: RolloutRecord, steps: tuple[RolloutStep, ...]) -> str | None:
    """Return in words what follows the present phase; None where nothing is to come."""
    canary = record.canary
    if record.phase is RolloutPhase.STEP or _is_pausing_by_plan(record):
        if record.step + 1 >= len(steps):
            return f"version {canary} is promoted"
        return f"step {record.step + 2} of {len(steps)}: {_step_text(steps[record.step + 1])}"
    return {
        RolloutPhase.LOADING: f"the rollout of version {canary} begins when every router can reach it",
        RolloutPhase.PAUSED: PAUSE_ENDS[record.pause_cause],
        RolloutPhase.PROMOTING: f"version {canary} gets all requests at every router",
        RolloutPhase.PROMOTED: f"version {record.previous} is unloaded, and the rollout has ended",
        RolloutPhase.ROLLING_BACK: f"version {canary} gets no more requests from any router, and is unloaded",
    }.get(record.phase)


def _step_text(step: RolloutStep) -> str:
    """Return a step in words."""
    if step.pause_s is not None:
        return "a pause" if math.isfinite(step.pause_s) else "a pause until an operator goes on"
    percent = f"{_percent(step.mirror or step.weight):g} %"
    return f"copies of {percent} of the requests" if step.mirror else f"{percent} of the requests"


def _arms(record: RolloutRecord, weights: Weights, traffic: DividedTraffic) -> list[Json]:
    """Return the versions that get requests or copies, stable first."""
    shares = dict(weights)
    others = [version for version in (*shares, record.canary, record.previous) if version and version != record.stable]
    versions = [*([record.stable] if record.stable else []), *dict.fromkeys(others)]
    return [_arm(one, record, shares.get(one, 0), traffic) for one in versions]


def _arm(version: int, record: RolloutRecord, share: int, traffic: DividedTraffic) -> Json:
    whole, recent = traffic.arms.get(version, Tally()), traffic.recent.get(version)
    rows = traffic.batch_rows.get(version)
    roles = {record.previous: "previous", record.canary: "canary", record.stable: "stable"}
    return {
        "version": str(version),
        "role": roles.get(version, "other"),
        "percent": _percent(share),
        "requests": whole.requests,
        "server_errors": whole.server_errors,
        "client_errors": whole.client_errors,
        "p50_s": _latency(whole, P50),
        "p99_s": _latency(whole, P99),
        "requests_per_s": _per_s(recent.requests if recent else None, traffic.recent_s),
        "errors_per_s": _per_s(recent.server_errors + recent.client_errors if recent else None, traffic.recent_s),
        "batch_rows": round(rows, 2) if rows is not None else None,
    }


def _latency(tally: Tally, share: float) -> float | None:
    latency_s = quantile(share, tally.latency, LATENCY_EDGES_S)
    return round(latency_s, 6) if latency_s is not None else None


def _per_s(number: int | None, in_s: float) -> float | None:
    return round(number / in_s, 3) if number is not None and in_s > 0 else None


def _metric(standing: MetricStanding, plan: RolloutPlan | None) -> Json:
    rule = next((one for one in (plan.analysis.rules if plan else ()) if one.name == standing.metric), None)
    return {
        "metric": standing.metric,
        "verdict": standing.verdict.value,
        "unit": standing.unit,
        "limit": _limit(rule),
        "stable": _events(standing.stable_events, standing.stable_requests),
        "canary": _events(standing.canary_events, standing.canary_requests),
        "evidence": _finite(standing.evidence),
        "evidence_limit": _finite(standing.limit),
        "evidence_share": evidence_share(standing),
        "outlook": standing.outlook or None,
    }


def evidence_share(standing: MetricStanding) -> float:
    """Return the evidence as a part of what it takes to fail, on a scale of logarithms: 0 is none, 1 fails."""
    if standing.evidence >= standing.limit:
        return 1.0
    return round(math.log(standing.evidence) / math.log(standing.limit), 4) if standing.evidence > 1 else 0.0


def _limit(rule: MetricRule | None) -> Json | None:
    return {"name": LIMITS[rule.kind], "value": rule.limit} if rule is not None else None


def _events(events: int, requests: int) -> Json:
    return {"events": events, "requests": requests, "rate": round(events / requests, 6) if requests else None}


def _finite(value: float) -> float:
    return min(float(f"{value:.6g}"), LARGEST) if not math.isnan(value) else LARGEST


def _mirrored(version: int, traffic: DividedTraffic) -> Json | None:
    counts = traffic.mirrors.get(version)
    if counts is None:
        return None
    return {
        "version": str(version),
        **_copies(counts),
        "reason": _shown(counts.reason),
        "outputs": [_output(name, one, counts.pairs) for name, one in sorted(counts.outputs.items())],
    }


def _copies(counts: MirrorCounts) -> dict[str, int]:
    return {
        "compared": counts.compared,
        "identical": counts.identical,
        "within": counts.within,
        "outside": counts.outside,
        "structural": counts.structural,
        "failed": counts.failed,
        "dropped": counts.dropped,
    }


def _output(name: str, counts: OutputCounts, pairs: int) -> Json:
    """Return how an output differs; pairs that are equal in it are in `pairs` alone."""
    return {
        "output": name,
        "pairs": pairs,
        "different": counts.pairs,
        "outside": counts.outside,
        "flips": counts.flips,
        "not_finite": counts.not_finite,
        "largest": _finite(counts.largest),
        "distances": [{"up_to": edge, "pairs": number} for edge, number in _decades(counts.l2) if number],
    }


def _decades(l2: Iterable[int]) -> list[tuple[float | None, int]]:
    """Return the buckets of relative distances with their upper edges; the last one has none."""
    edges = [*(10.0**power for power in L2_DECADES), None]
    return list(zip(edges, l2, strict=False))
