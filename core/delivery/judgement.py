"""The judgement of a canary: windows of counts go into the evidence, a conclusion for the present step comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from core.delivery.analysis import AnalysisState, ArmWindow, Verdict
from core.delivery.arm_counts import Tally
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import MOST_SAMPLES, Binning
from core.delivery.plan import Analysis, MetricRule, RolloutStep, RuleKind
from core.delivery.rule_events import OF_PAIRS, RATIOS, STRUCTURE, arm_events, bin_key, edge_of, judges, pair_events
from core.evidence.binned_values import binning_of, bins_in, distance_by_chance, distance_of
from core.evidence.running_tests import BETTER, HIGHER, WORSE, ArmEvents, Sums, log_evidence, with_block, with_trials

ENOUGH_FOR_SHARES: Final = 5
"""Requests of each arm from which the shares of a block are taken: at low traffic most windows have none of the canary,
and would prove nothing one by one."""


def begun(state: AnalysisState, analysis: Analysis, step: RolloutStep, *, unit: str = "requests") -> AnalysisState:
    """Return the state at the beginning of a step, or when its weight has come into force anew.

    Evidence is that of the whole rollout and stays; the requests of the step and the initial delay begin anew. A new
    rollout begins with `NOTHING_SEEN`. `unit` is "keys" where requests with the same key count once in a window.
    """
    mirrors = bool(step.mirror) and not step.weight
    return replace(
        _with_failures(_with_blocks(state, analysis, {}, enough=1), analysis),
        min_requests=analysis.min_requests if step.min_requests is None else step.min_requests,
        mirrors=mirrors,
        unit="pairs" if mirrors else unit,
        delay_left_s=analysis.initial_delay_s,
        pending={},
        step_requests=0,
        step_s=0.0,
    )


def observed(state: AnalysisState, analysis: Analysis, window: ArmWindow) -> AnalysisState:
    """Return the state with one more window, which was under the division of the step that has begun.

    Small windows are judged together, so the shares of all windows since `begun` must be the same. A window in which
    the initial delay is not over proves nothing but that answers differ in structure. Limits are made of earlier
    windows than those that they judge.
    """
    lasted_s = analysis.interval_s if window.lasted_s is None else window.lasted_s
    if state.delay_left_s > 0:
        state = replace(state, delay_left_s=max(0.0, state.delay_left_s - lasted_s))
    else:
        state = _with_failures(_with_window(state, analysis, window, lasted_s), analysis)
    return _with_structure(_with_limits(state, analysis, window), window.mirror)


def _with_window(state: AnalysisState, analysis: Analysis, window: ArmWindow, lasted_s: float) -> AnalysisState:
    counts, events = dict(state.counts), dict[str, ArmEvents]()
    for rule in analysis.rules:
        if not judges(rule, mirrors=state.mirrors):
            continue
        known = ArmEvents(*counts.get(rule.name, ()))
        if rule.kind in OF_PAIRS:
            found, pairs = pair_events(rule, window.mirror or MirrorCounts())
            counts[rule.name] = known.plus(ArmEvents(0, 0, found, pairs))
            state = _with_pairs(state, rule, found, pairs)
            continue
        series = arm_events(rule, state, window)
        events |= series
        for one in list(series.values())[:1]:
            counts[rule.name] = known.plus(one if rule.kind in RATIOS else one.without_events)
    done = window.mirror.compared if state.mirrors and window.mirror else window.canary.requests
    state = _with_blocks(state, analysis, events, enough=ENOUGH_FOR_SHARES)
    return replace(state, counts=counts, step_requests=state.step_requests + done, step_s=state.step_s + lasted_s)


def _with_pairs(state: AnalysisState, rule: MetricRule, events: int, pairs: int) -> AnalysisState:
    """Return the state with compared pairs; a limit of 0 needs no test."""
    if rule.limit <= 0:
        return state
    sums = {
        key: with_trials(state.sums.get(key, ()), events, pairs, rule.limit, alternatives)
        for key, alternatives in ((rule.name, HIGHER), (below_key(rule), BETTER))
        if rule.limit < 1
    }
    return _with_sums(state, sums)


def _with_blocks(
    state: AnalysisState, analysis: Analysis, events: Mapping[str, ArmEvents], *, enough: int
) -> AnalysisState:
    """Return the state with events of both arms, which wait until there are enough requests to know the shares."""
    pending = {key: ArmEvents(*counts) for key, counts in state.pending.items()}
    for key, found in events.items():
        pending[key] = pending.get(key, ArmEvents()).plus(found)
    blocks = {
        key: block for key, block in pending.items() if min(block.stable_requests, block.canary_requests) >= enough
    }
    sums: dict[str, Sums] = {}
    for rule in analysis.rules:
        sums |= _sums_with(state, rule, blocks)
        if rule.kind is RuleKind.OUTPUT_DRIFT and bin_key(rule, 0) in blocks:
            state = _with_distance(state, rule, blocks)
    waiting = {key: block for key, block in pending.items() if key not in blocks}
    return replace(_with_sums(state, sums), pending=waiting)


def _sums_with(state: AnalysisState, rule: MetricRule, blocks: Mapping[str, ArmEvents]) -> dict[str, Sums]:
    """Return the tests of a metric that its blocks change."""
    if rule.kind is RuleKind.OUTPUT_DRIFT:
        keys = [key for key in (bin_key(rule, one) for one in range(bins_of(state, rule))) if key in blocks]
        more = {key: with_block(state.sums.get(key, ()), blocks[key], 1.0, WORSE) for key in keys}
        fewer = {f"{key}-": with_block(state.sums.get(f"{key}-", ()), blocks[key].swapped, 1.0, WORSE) for key in keys}
        return more | fewer
    block = blocks.get(rule.name)
    if block is None:
        return {}
    below, bounded = below_key(rule), bounded_key(rule)
    sums = {
        rule.name: with_block(state.sums.get(rule.name, ()), block, rule.limit, WORSE),
        below: with_block(state.sums.get(below, ()), block, rule.limit, BETTER),
    }
    if rule.max_rate is not None and 0 < rule.max_rate < 1:
        rate = (block.canary_events, block.canary_requests, rule.max_rate)
        sums[bounded] = with_trials(state.sums.get(bounded, ()), *rate, BETTER)
    return sums


def _with_sums(state: AnalysisState, sums: Mapping[str, Sums]) -> AnalysisState:
    peaks = {key: max(state.peaks.get(key, 0.0), log_evidence(one)) for key, one in sums.items()}
    return replace(state, sums={**state.sums, **sums}, peaks={**state.peaks, **peaks})


def _with_distance(state: AnalysisState, rule: MetricRule, blocks: Mapping[str, ArmEvents]) -> AnalysisState:
    """Return the state with the canary's answers in bins, and those that it would have given like stable.

    The expectation is made block by block, so that it compares the same hours however weights change.
    """
    name, inner = rule.output, [blocks[bin_key(rule, one)] for one in range(bins_of(state, rule))]
    before = state.bin_counts.get(name) or (0,) * len(inner)
    expected = state.bin_expected.get(name) or (0.0,) * len(inner)
    of_stable, of_canary = inner[0].stable_requests, inner[0].canary_requests
    scale = of_canary / of_stable
    counts = tuple(old + one.canary_events for old, one in zip(before, inner, strict=True))
    wanted = tuple(old + one.stable_events * scale for old, one in zip(expected, inner, strict=True))
    return replace(
        state,
        bin_counts={**state.bin_counts, name: counts},
        bin_expected={**state.bin_expected, name: wanted},
        bin_noise={**state.bin_noise, name: state.bin_noise.get(name, 0.0) + of_canary * scale},
    )


def _with_limits(state: AnalysisState, analysis: Analysis, window: ArmWindow) -> AnalysisState:
    """Return the state with what is made of stable's first requests: when one is slow, and the bins of outputs."""
    slow = [one for one in analysis.rules if one.kind is RuleKind.SLOW_REQUESTS and one.name not in state.edges]
    if slow:
        latency = (Tally(latency=state.baseline) + Tally(latency=window.stable.latency)).latency
        edges = {one.name: edge for one in slow if (edge := edge_of(latency, one.quantile)) is not None}
        state = replace(state, baseline=() if edges else latency, edges={**state.edges, **edges})
    for rule in analysis.rules:
        first = window.stable_outputs[rule.output].first if rule.output in window.stable_outputs else ()
        if rule.kind is not RuleKind.OUTPUT_DRIFT or bins_of(state, rule) or len(first) < MOST_SAMPLES:
            continue
        edges_of, values = binning_of(first)
        state = replace(
            state,
            bin_edges={**state.bin_edges, rule.output: edges_of},
            bin_values={**state.bin_values, rule.output: values},
        )
    return state


def _with_structure(state: AnalysisState, mirror: MirrorCounts | None) -> AnalysisState:
    """Return the state with a difference in structure, which needs no statistics; the first one is kept."""
    if mirror is None:
        return state
    known = ArmEvents(*state.counts.get(STRUCTURE, ())).plus(ArmEvents(0, 0, mirror.structural, mirror.compared))
    state = replace(state, counts={**state.counts, STRUCTURE: known})
    if mirror.structural <= 0 or state.structure:
        return state
    return replace(state, structure=mirror.reason or "An answer has other outputs, types or shapes.")


def _with_failures(state: AnalysisState, analysis: Analysis) -> AnalysisState:
    """Return the state with the metrics that have failed; evidence may fall again afterwards."""
    new = tuple(one.name for one in analysis.rules if one.name not in state.failed and _fails(state, analysis, one))
    return replace(state, failed=(*state.failed, *new)) if new else state


def _fails(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> bool:
    if rule.kind in OF_PAIRS and rule.limit <= 0:
        return ArmEvents(*state.counts.get(rule.name, ())).canary_events > 0
    if evidence_against(state, rule) < log_limit(analysis):
        return False
    distance = distance_in(state, rule)
    return rule.kind is not RuleKind.OUTPUT_DRIFT or distance[0] - distance[1] > rule.limit


def log_limit(analysis: Analysis) -> float:
    """Return the logarithm of the evidence at which a metric fails: each has an equal part of the error budget."""
    return math.log(max(1, len(analysis.rules)) / analysis.false_rollback_probability)


def evidence_against(state: AnalysisState, rule: MetricRule) -> float:
    """Return the logarithm of the greatest evidence against the canary that a metric ever had.

    For an output that is the greatest of its bins, divided by the number of their tests.
    """
    if rule.kind is not RuleKind.OUTPUT_DRIFT:
        return state.peaks.get(rule.name, 0.0)
    tests = list(_bin_peaks(state, rule))
    return max(tests) - math.log(len(tests)) if tests else 0.0


def _bin_peaks(state: AnalysisState, rule: MetricRule) -> Iterator[float]:
    for number in range(bins_of(state, rule)):
        key = bin_key(rule, number)
        yield from (state.peaks.get(key, 0.0), state.peaks.get(f"{key}-", 0.0))


def distance_in(state: AnalysisState, rule: MetricRule) -> tuple[float, float]:
    """Return the distance of an output's distributions in both arms, and what chance adds to it at most."""
    counts = state.bin_counts.get(rule.output, ())
    distance = distance_of(counts, state.bin_expected.get(rule.output, ()))
    return distance, distance_by_chance(counts, state.bin_noise.get(rule.output, 0.0))


def bins_of(state: AnalysisState, rule: MetricRule) -> int:
    """Return how many bins an output has; 0 while none are known."""
    return bins_in(state.bin_edges.get(rule.output, ()), state.bin_values.get(rule.output, ()))


def below_key(rule: MetricRule) -> str:
    """Return the key of the test that a metric is below its limit."""
    return f"{rule.name}:below"


def bounded_key(rule: MetricRule) -> str:
    """Return the key of the test that the canary's rate is below `max_rate`."""
    return f"{rule.name}:rate"


def verdict_of(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> Verdict:
    """Return what the present step has shown of a metric; one that has failed stays so for the whole rollout.

    A metric with a limit for pairs passes with evidence only; the others with enough requests, and with evidence where
    the plan requires it.
    """
    if rule.name in state.failed:
        return Verdict.FAIL
    if not judges(rule, mirrors=state.mirrors):
        return Verdict.NOT_JUDGED
    seen = min(ArmEvents(*state.counts.get(rule.name, ())).canary_requests, state.step_requests)
    needs_evidence = rule.limit > 0 if rule.kind in OF_PAIRS else analysis.require_evidence
    is_enough = _is_proved(state, analysis, rule) if needs_evidence else True
    return Verdict.PASS if is_enough and seen >= state.min_requests else Verdict.NOT_ENOUGH_DATA


def _is_proved(state: AnalysisState, analysis: Analysis, rule: MetricRule) -> bool:
    """Whether the canary is provably within the limit."""
    if rule.kind is RuleKind.OUTPUT_DRIFT:
        return sum(distance_in(state, rule)) <= rule.limit
    if rule.kind in OF_PAIRS and rule.limit >= 1:
        return True
    peaks = (state.peaks.get(key, 0.0) for key in (below_key(rule), bounded_key(rule)))
    return max(peaks) >= log_limit(analysis)


def conclusion(state: AnalysisState, analysis: Analysis) -> Verdict:
    """Return what the present step has shown: FAIL if any metric failed, PASS if nothing is missing.

    NOT_ENOUGH_DATA while requests or evidence are missing; a step is over when its bake is, too.
    """
    verdicts = {verdict_of(state, analysis, one) for one in analysis.rules}
    if state.structure or Verdict.FAIL in verdicts:
        return Verdict.FAIL
    is_missing = Verdict.NOT_ENOUGH_DATA in verdicts or state.step_requests < state.min_requests
    return Verdict.NOT_ENOUGH_DATA if is_missing else Verdict.PASS


def observed_outputs(state: AnalysisState, analysis: Analysis) -> Mapping[str, Binning]:
    """Return the outputs that replicas have to count, with their bins: `Division.observed` while a rollout runs."""
    return {
        one.output: Binning(state.bin_edges.get(one.output, ()), state.bin_values.get(one.output, ()))
        for one in analysis.rules
        if one.kind is RuleKind.OUTPUT_DRIFT
    }
