"""What is known of each metric of a canary, with its numbers and in words: for statuses, logs, pages and metrics."""

from __future__ import annotations

from typing import Final

from core.delivery.analysis import AnalysisState, MetricStanding, Verdict
from core.delivery.arm_counts import LATENCY_EDGES_S
from core.delivery.judgement import (
    below_key,
    bins_of,
    distance_in,
    evidence_against,
    log_limit,
    verdict_of,
)
from core.delivery.plan import Analysis, MetricRule, RuleKind
from core.delivery.rule_events import ENOUGH_FOR_EDGES, OF_PAIRS, RATIOS, STRUCTURE, bin_key
from core.evidence.binned_values import bin_name
from core.evidence.running_tests import WORSE, ArmEvents, as_evidence, missing_events

NOUNS: Final = {
    RuleKind.SERVER_ERRORS: "server errors",
    RuleKind.CLIENT_ERRORS: "client errors",
    RuleKind.SLOW_REQUESTS: "slow requests",
    RuleKind.FLIPS: "flips",
    RuleKind.TOLERANCE: "pairs outside of the tolerance",
}


def standings(state: AnalysisState, analysis: Analysis) -> tuple[MetricStanding, ...]:
    """Return the standing of each rule in the plan's order, before them that of the answers' structure if it failed.

    A metric that has failed stays failed for the whole rollout.
    """
    pairs = ArmEvents(*state.counts.get(STRUCTURE, ()))
    broken = MetricStanding(STRUCTURE, Verdict.FAIL, *pairs, unit="pairs", outlook=state.structure)
    rules = tuple(_standing(state, analysis, one) for one in analysis.rules)
    return (broken, *rules) if state.structure else rules


def _standing(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> MetricStanding:
    verdict = verdict_of(state, analysis, rule)
    numbers = _numbers(state, rule)
    outlook = {
        Verdict.FAIL: _failure,
        Verdict.PASS: _threat,
        Verdict.NOT_ENOUGH_DATA: _lack,
        Verdict.NOT_JUDGED: _silence,
    }[verdict]
    return MetricStanding(
        rule.name,
        verdict,
        *numbers,
        evidence=as_evidence(evidence_against(state, rule)),
        limit=as_evidence(log_limit(analysis)),
        unit=_unit(state, rule),
        outlook=outlook(state, analysis, rule),
    )


def _unit(state: AnalysisState, rule: MetricRule) -> str:
    if rule.kind in OF_PAIRS:
        return "pairs"
    return "answers" if rule.kind is RuleKind.OUTPUT_DRIFT else state.unit


def _numbers(state: AnalysisState, rule: MetricRule) -> ArmEvents:
    """Return events and requests of both arms; of an output, those in the bin with the most evidence."""
    numbers = ArmEvents(*state.counts.get(rule.name, ()))
    counts = state.bin_counts.get(rule.output, ())
    if rule.kind is not RuleKind.OUTPUT_DRIFT or not counts:
        return numbers
    worst = _worst_bin(state, rule)
    wanted = state.bin_expected[rule.output][worst] / max(1, sum(counts))
    return numbers._replace(stable_events=round(wanted * numbers.stable_requests), canary_events=counts[worst])


def _worst_bin(state: AnalysisState, rule: MetricRule) -> int:
    def evidence(number: int) -> float:
        key = bin_key(rule, number)
        return max(state.peaks.get(key, 0.0), state.peaks.get(f"{key}-", 0.0))

    return max(range(bins_of(state, rule)), key=evidence)


def _failure(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> str:
    """Say in numbers why a metric failed."""
    del analysis
    seen = _numbers(state, rule)
    canary, stable = _rate(seen.canary_events, seen.canary_requests), _rate(seen.stable_events, seen.stable_requests)
    arms = f"{canary} of the canary, {stable} of stable"
    if rule.kind is RuleKind.OUTPUT_DRIFT:
        return f"{_distance(state, rule)}; {_bin(state, rule)}: {arms}"
    if rule.kind in OF_PAIRS:
        return f"{NOUNS[rule.kind]}: {canary}, at most {_percent(rule.limit)} allowed"
    return f"{_noun(state, rule)}: {arms}, at most {rule.limit:g} times that allowed"


def _threat(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> str:
    """Say what would make a metric fail that passes."""
    if rule.kind is RuleKind.OUTPUT_DRIFT:
        return _distance(state, rule) if state.bin_counts.get(rule.output) else ""
    if rule.kind in OF_PAIRS:
        return f"{NOUNS[rule.kind]} are at most {_percent(rule.limit)}"
    share = ArmEvents(*state.counts.get(rule.name, ()))
    sums = state.sums.get(rule.name, ())
    missing = missing_events(sums, share, rule.limit, WORSE, log_limit(analysis))
    return f"fails after {missing} more {_noun(state, rule)} of the canary alone" if missing else ""


def _lack(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> str:
    """Say what is missing for a verdict, and how long that takes."""
    if rule.kind is RuleKind.SLOW_REQUESTS and rule.name not in state.edges:
        so_far = f"{sum(state.baseline)} so far"
        return f"when a request is slow is known after {ENOUGH_FOR_EDGES} requests of stable, {so_far}"
    if rule.kind is RuleKind.OUTPUT_DRIFT and not bins_of(state, rule):
        return f"waits for the first answers of stable with the output {rule.output}"
    seen = min(ArmEvents(*state.counts.get(rule.name, ())).canary_requests, state.step_requests)
    if seen < state.min_requests:
        return missing_requests(seen, state.min_requests, state)
    threat = _threat(state, analysis, rule) if rule.kind in RATIOS else ""
    limit = log_limit(analysis)
    proof = f"evidence of being within the limit {as_evidence(state.peaks.get(below_key(rule), 0.0)):.3g}"
    return f"{proof} of {as_evidence(limit):.3g}" + (f"; {threat}" if threat else "")


def _silence(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> str:
    del analysis, rule
    return "copies say nothing of it" if state.mirrors else "only copies say something of it"


def missing_requests(seen: int, wanted: int, state: AnalysisState) -> str:
    """Return how many requests a step needs yet, and how long they take at the rate of the step so far."""
    have = f"{seen} of {wanted} {state.unit} of the canary"
    if not (state.step_requests and state.step_s):
        return have
    rate = state.step_requests / state.step_s
    return f"{have}; at {rate:.2g} a second the others take {_duration((wanted - seen) / rate)}"


def _duration(seconds: float) -> str:
    for unit, length_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def _noun(state: AnalysisState, rule: MetricRule) -> str:
    """Return what the events are; slow requests with the time from which a request is slow."""
    edge = state.edges.get(rule.name)
    over = "" if edge is None else f" (over {1000 * LATENCY_EDGES_S[edge]:.3g} ms)"
    return NOUNS[rule.kind] + over


def _distance(state: AnalysisState, rule: MetricRule) -> str:
    distance, chance = distance_in(state, rule)
    certain = max(0.0, distance - chance)
    return f"distance {distance:.3f}, {certain:.3f} of it certain, at most {rule.limit:g} allowed"


def _bin(state: AnalysisState, rule: MetricRule) -> str:
    bins = (state.bin_edges.get(rule.output, ()), state.bin_values.get(rule.output, ()))
    return bin_name(_worst_bin(state, rule), *bins)


def _rate(events: int, requests: int) -> str:
    share = f" ({_percent(events / requests)})" if requests else ""
    return f"{events} of {requests}{share}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
