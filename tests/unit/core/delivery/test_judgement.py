"""Tests of the judgement: what fails, what passes, what is not known, and how often an equal canary is blamed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.delivery.analysis import NOTHING_SEEN, AnalysisState, ArmWindow, Verdict
from core.delivery.arm_counts import LATENCY_EDGES_S, Tally, bucket_of
from core.delivery.judgement import (
    begun,
    conclusion,
    distance_in,
    evidence_against,
    log_limit,
    observed,
    observed_outputs,
    verdict_of,
)
from core.delivery.mirror_counts import MirrorCounts, OutputCounts
from core.delivery.output_counts import MOST_SAMPLES, Binning, OutputBins
from core.delivery.plan import Analysis, MetricRule, RolloutStep, RuleKind
from core.delivery.rollout_record import RolloutRecord
from core.delivery.standings import standings
from core.rollouts.record_json import record_of_json, record_to_json

ERRORS = MetricRule(RuleKind.SERVER_ERRORS, 1.2)
SLOW = MetricRule(RuleKind.SLOW_REQUESTS, 1.5, quantile=0.99)
FLIPS = MetricRule(RuleKind.FLIPS, 0.02, output="scores")
DRIFT = MetricRule(RuleKind.OUTPUT_DRIFT, 0.1, output="scores")
ANALYSIS = Analysis(initial_delay_s=0.0)
STEP = RolloutStep(weight=1000, bake_s=600.0)
MIRROR = RolloutStep(mirror=10_000, bake_s=600.0)
SLOW_S = 2.0


def of_rules(*rules: MetricRule, **fields: float) -> Analysis:
    """Return an analysis without delay that has these rules."""
    return replace(ANALYSIS, rules=rules, **fields)  # type: ignore[arg-type]


def tally(requests: int, server_errors: int = 0, client_errors: int = 0, slow: int = 0) -> Tally:
    """Return counts of requests that took 10 ms, and of slow ones."""
    latency = [0] * (bucket_of(SLOW_S) + 1)
    latency[bucket_of(0.01)] = requests - slow
    latency[bucket_of(SLOW_S)] = slow
    return Tally(requests, server_errors, client_errors, tuple(latency))


def pairs(identical: int, *, flips: int = 0, outside: int = 0, **counts: int) -> MirrorCounts:
    """Return counts of compared copies; those that differ do so in one output."""
    differ = flips + outside
    output = OutputCounts(pairs=differ, flips=flips, outside=outside)
    return MirrorCounts(
        identical, within=flips, outside=outside, outputs={"scores": output} if differ else {}, **counts
    )


def seen(analysis: Analysis, *windows: ArmWindow, step: RolloutStep = STEP) -> AnalysisState:
    """Return the state after a step's windows."""
    return reduce(lambda state, one: observed(state, analysis, one), windows, begun(NOTHING_SEEN, analysis, step))


GOOD = ArmWindow(tally(900, 9), tally(100, 1))
BAD = ArmWindow(tally(900, 9), tally(100, 60))


def test_nothing_is_known_before_enough_requests() -> None:
    """A plan decides what follows from that; it is neither a pass nor a failure."""
    state = seen(ANALYSIS, GOOD, GOOD)

    assert conclusion(seen(ANALYSIS), ANALYSIS) is Verdict.NOT_ENOUGH_DATA
    assert (state.step_requests, state.min_requests) == (200, 300)
    assert conclusion(state, ANALYSIS) is Verdict.NOT_ENOUGH_DATA


def test_an_equal_canary_passes_with_enough_requests() -> None:
    """Latency is judged from the second window on, of which the first one made the limit."""
    assert conclusion(seen(ANALYSIS, *[GOOD] * 6), ANALYSIS) is Verdict.PASS


def test_requests_are_counted_anew_in_each_step_and_evidence_is_not() -> None:
    """A step says how many it needs; the error budget is that of the whole rollout."""
    before = seen(ANALYSIS, *[GOOD] * 6)
    after = begun(before, ANALYSIS, replace(STEP, min_requests=50))

    assert conclusion(after, ANALYSIS) is Verdict.NOT_ENOUGH_DATA
    assert (after.sums, after.peaks, after.edges) == (before.sums, before.peaks, before.edges)
    assert conclusion(observed(after, ANALYSIS, GOOD), ANALYSIS) is Verdict.PASS


def test_a_canary_with_more_errors_fails_and_stays_failed() -> None:
    """Good windows afterwards do not help: evidence has reached its limit once."""
    failed = seen(ANALYSIS, GOOD, BAD)
    later = reduce(lambda state, one: observed(state, ANALYSIS, one), [GOOD] * 500, failed)

    assert conclusion(failed, ANALYSIS) is Verdict.FAIL
    assert failed.failed == ("server_errors",)
    assert conclusion(begun(later, ANALYSIS, STEP), ANALYSIS) is Verdict.FAIL


def test_client_errors_are_counted_by_themselves() -> None:
    """A model with another signature makes them, and would pass where only failures of the server count."""
    state = seen(ANALYSIS, ArmWindow(tally(900, 0, 9), tally(100, 0, 60)))

    assert state.failed == ("client_errors",)


def test_an_outage_of_both_fails_nobody() -> None:
    """Half of all requests of both arms."""
    both = ArmWindow(tally(900, 450), tally(100, 50))

    assert conclusion(seen(ANALYSIS, *[both] * 20), ANALYSIS) is Verdict.PASS


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_five_errors_of_the_canary_and_none_of_stable_are_enough_at_a_small_share(share: float) -> None:
    """No rule of its own is needed for that, which would be wrong too often."""
    window = ArmWindow(tally(round(1000 * (1 - share))), tally(round(1000 * share), 5))

    assert conclusion(seen(ANALYSIS, window), ANALYSIS) is Verdict.FAIL


def test_the_error_budget_is_divided_over_the_rules() -> None:
    """One rule of three fails at 300 with a budget of 1 %."""
    assert log_limit(ANALYSIS) == pytest.approx(math.log(300))
    assert log_limit(of_rules(ERRORS)) == pytest.approx(math.log(100))
    assert log_limit(of_rules()) == pytest.approx(math.log(100))


def test_what_comes_in_the_initial_delay_proves_nothing() -> None:
    """A cold version's first errors are not judged; stable's latency is known already."""
    analysis = Analysis(initial_delay_s=30.0, interval_s=15.0)
    state = seen(analysis, BAD, BAD)

    assert (state.failed, state.step_requests, state.delay_left_s) == ((), 0, 0.0)
    assert "slow_requests_p99" in state.edges
    assert observed(state, analysis, BAD).failed == ("server_errors",)
    assert seen(analysis, replace(BAD, lasted_s=60.0), BAD).failed == ("server_errors",)


def test_at_low_traffic_windows_are_judged_together() -> None:
    """Each has one request of the canary or none: by itself it would say nothing of the shares."""
    empty = ArmWindow(tally(19), tally(0))
    failing = ArmWindow(tally(0), tally(1, 1))
    state = seen(ANALYSIS, *[empty, failing] * 4)

    assert conclusion(state, ANALYSIS) is Verdict.NOT_ENOUGH_DATA
    assert conclusion(observed(state, ANALYSIS, failing), ANALYSIS) is Verdict.FAIL


def test_what_waits_is_judged_at_the_end_of_a_step() -> None:
    """Its shares are those of the step that is over."""
    analysis = of_rules(replace(ERRORS, limit=1.0), false_rollback_probability=0.5)
    state = seen(analysis, ArmWindow(tally(96), tally(4, 4)))
    assert state.failed == ()

    assert begun(state, analysis, STEP).failed == ("server_errors",)
    assert begun(state, analysis, STEP).pending == {}


def test_a_request_is_slow_above_the_edge_next_to_stables_quantile() -> None:
    """The first 1,000 latencies of stable decide; without them nothing is judged."""
    window = ArmWindow(tally(990, slow=5), tally(110, slow=100))
    state = seen(of_rules(SLOW), window)
    assert (state.edges, conclusion(state, of_rules(SLOW))) == ({}, Verdict.NOT_ENOUGH_DATA)

    state = observed(state, of_rules(SLOW), window)
    assert LATENCY_EDGES_S[state.edges["slow_requests_p99"]] == pytest.approx(0.01, rel=0.2)
    assert state.failed == ()  # what made the limit is not judged by it

    assert observed(state, of_rules(SLOW), window).failed == ("slow_requests_p99",)


def test_time_outs_are_slow() -> None:
    """They are in the last bucket; trailing zeros of stable are left out."""
    timed_out = Tally(100, 0, 0, (*(0,) * len(LATENCY_EDGES_S), 100))
    state = seen(of_rules(SLOW), ArmWindow(tally(2000), tally(200)), ArmWindow(tally(900), timed_out))

    assert state.failed == ("slow_requests_p99",)


def test_a_stable_that_only_times_out_makes_no_other_slow() -> None:
    """There is no edge above its quantile; the last one is taken."""
    timed_out = Tally(2000, 2000, 0, (*(0,) * len(LATENCY_EDGES_S), 2000))
    state = seen(of_rules(SLOW), ArmWindow(timed_out, tally(100)), ArmWindow(timed_out, tally(100)))

    assert state.edges == {"slow_requests_p99": len(LATENCY_EDGES_S) - 1}
    assert state.failed == ()


def test_latencies_that_are_not_judged_are_not_counted_as_fast() -> None:
    """Of a version's first requests there are none: their errors count, their latency does not."""
    cold = replace(tally(100), latency=tally(5).latency)
    state = seen(of_rules(SLOW), ArmWindow(tally(2000), tally(200)), ArmWindow(tally(900), cold))

    assert state.counts["slow_requests_p99"][2:] == (0, 5)


def test_copies_without_flips_pass_by_evidence() -> None:
    """At a limit of 2 % and half a percent of error budget 327 pairs are enough, and not the first 300."""
    analysis = of_rules(FLIPS, false_rollback_probability=0.005)
    state = seen(analysis, *[ArmWindow(mirror=pairs(1))] * 326, step=MIRROR)
    assert conclusion(state, analysis) is Verdict.NOT_ENOUGH_DATA

    assert conclusion(observed(state, analysis, ArmWindow(mirror=pairs(1))), analysis) is Verdict.PASS


@pytest.mark.parametrize("rule", [FLIPS, MetricRule(RuleKind.TOLERANCE, 0.02, output="scores")])
def test_copies_that_differ_too_often_fail(rule: MetricRule) -> None:
    """10 % of the pairs are five times as many as allowed."""
    mirror = pairs(90, flips=10) if rule is FLIPS else pairs(90, outside=10)
    analysis = of_rules(rule)

    assert conclusion(seen(analysis, ArmWindow(mirror=mirror), step=MIRROR), analysis) is Verdict.FAIL


def test_without_an_output_the_tolerance_is_that_of_all() -> None:
    """A pair outside in any output counts once."""
    rule = MetricRule(RuleKind.TOLERANCE, 0.02)
    state = seen(of_rules(rule), ArmWindow(mirror=MirrorCounts(identical=50, outside=50)), step=MIRROR)

    assert state.failed == ("tolerance",)


def test_copies_at_the_limit_prove_nothing() -> None:
    """Neither verdict would be right."""
    state = seen(of_rules(FLIPS), *[ArmWindow(mirror=pairs(98, flips=2))] * 100, step=MIRROR)

    assert conclusion(state, of_rules(FLIPS)) is Verdict.NOT_ENOUGH_DATA


def test_a_limit_of_0_allows_nothing_and_needs_no_statistics() -> None:
    """The first flip fails; without one, as many requests as a step needs are enough."""
    never = of_rules(replace(FLIPS, limit=0.0))

    assert conclusion(seen(never, ArmWindow(mirror=pairs(300)), step=MIRROR), never) is Verdict.PASS
    assert conclusion(seen(never, ArmWindow(mirror=pairs(299, flips=1)), step=MIRROR), never) is Verdict.FAIL


def test_a_limit_of_1_allows_everything() -> None:
    """It shows a number, and stops nothing."""
    always = of_rules(replace(FLIPS, limit=1.0))

    assert conclusion(seen(always, ArmWindow(mirror=pairs(0, flips=300)), step=MIRROR), always) is Verdict.PASS


def test_one_answer_of_another_structure_fails() -> None:
    """It needs no statistics, no rule, and comes in the initial delay, too."""
    window = ArmWindow(mirror=MirrorCounts(identical=50, structural=1, reason="the output scores is missing"))
    state = seen(Analysis(rules=()), window, window, step=MIRROR)

    assert state.structure == "the output scores is missing"
    assert conclusion(state, Analysis(rules=())) is Verdict.FAIL
    assert conclusion(begun(state, ANALYSIS, STEP), ANALYSIS) is Verdict.FAIL


def test_copies_that_fail_alone_are_server_errors() -> None:
    """A canary that crashes on requests is stopped before any caller sees it."""
    window = ArmWindow(tally(1000), mirror=pairs(60, failed=40))
    state = seen(ANALYSIS, window, step=MIRROR)

    assert state.failed == ("server_errors",)
    assert conclusion(seen(ANALYSIS, ArmWindow(tally(1000), mirror=pairs(300)), step=MIRROR), ANALYSIS) is Verdict.PASS


def test_a_step_judges_what_it_can_see() -> None:
    """Copies have no latency of interest, and divided requests no counterpart; neither keeps a step from passing."""
    rules = of_rules(ERRORS, SLOW, FLIPS, DRIFT)
    mirroring, divided = begun(NOTHING_SEEN, rules, MIRROR), begun(NOTHING_SEEN, rules, STEP)

    def judged(state: AnalysisState) -> set[str]:
        return {one.name for one in rules.rules if verdict_of(state, rules, one) is not Verdict.NOT_JUDGED}

    assert judged(mirroring) == {"server_errors", "flips_scores"}
    assert judged(divided) == {"server_errors", "slow_requests_p99", "output_drift_scores"}
    assert (mirroring.unit, divided.unit) == ("pairs", "requests")
    assert begun(NOTHING_SEEN, rules, STEP, unit="keys").unit == "keys"


def test_without_rules_a_step_needs_its_requests() -> None:
    """Nothing can fail but the structure."""
    analysis = of_rules()

    assert conclusion(seen(analysis, GOOD), analysis) is Verdict.NOT_ENOUGH_DATA
    assert conclusion(seen(analysis, *[GOOD] * 3), analysis) is Verdict.PASS


def test_evidence_can_be_required_for_passing() -> None:
    """The absence of a failure is none: with few errors, 20 times as many would not be noticed."""
    strict = replace(of_rules(replace(ERRORS, limit=2.0)), require_evidence=True)

    assert conclusion(seen(strict, *[GOOD] * 6), strict) is Verdict.NOT_ENOUGH_DATA
    assert conclusion(seen(strict, *[GOOD] * 600), strict) is Verdict.PASS


def test_a_canary_below_max_rate_has_passed_whatever_stable_does() -> None:
    """Without any error of stable no ratio can be proved."""
    strict = replace(of_rules(replace(ERRORS, max_rate=0.01)), require_evidence=True)
    without = replace(of_rules(ERRORS), require_evidence=True)
    windows = [ArmWindow(tally(900), tally(100))] * 20

    assert conclusion(seen(strict, *windows), strict) is Verdict.PASS
    assert conclusion(seen(without, *windows), without) is Verdict.NOT_ENOUGH_DATA


def answers(counts: list[int]) -> dict[str, OutputBins]:
    """Return answers of one output by bin."""
    return {"scores": OutputBins({str(number): count for number, count in enumerate(counts)})}


FIRST = ArmWindow(stable_outputs={"scores": OutputBins(first=tuple(one / 1000 for one in range(MOST_SAMPLES)))})
ALIKE = ArmWindow(tally(900), tally(100), 0.1, None, answers([90] * 10), answers([10] * 10))


def test_bins_are_made_of_stables_first_answers() -> None:
    """Until then replicas are asked for samples, then for counts."""
    analysis = of_rules(DRIFT)
    before = begun(NOTHING_SEEN, analysis, STEP)
    few = ArmWindow(stable_outputs={"scores": OutputBins(first=(0.5,) * (MOST_SAMPLES - 1))})
    assert observed_outputs(observed(before, analysis, few), analysis) == {"scores": Binning()}

    binning = observed_outputs(observed(before, analysis, FIRST), analysis)["scores"]

    assert binning.edges == pytest.approx([one / 10 for one in range(1, 10)])
    assert observed_outputs(before, ANALYSIS) == {}


def test_a_canary_that_answers_alike_passes() -> None:
    """With as many answers as the step needs."""
    analysis = of_rules(DRIFT)

    assert conclusion(seen(analysis, FIRST, *[ALIKE] * 2), analysis) is Verdict.NOT_ENOUGH_DATA
    assert conclusion(seen(analysis, FIRST, *[ALIKE] * 3), analysis) is Verdict.PASS


@pytest.mark.parametrize("counts", [[55, 5, 5, 5, 5, 5, 5, 5, 5, 5], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100]])
def test_a_canary_whose_answers_have_moved_fails(counts: list[int]) -> None:
    """Half of them to one bin, or all to what is not a number."""
    window = replace(ALIKE, canary_outputs=answers(counts))
    state = seen(of_rules(DRIFT), FIRST, *[window] * 5)

    assert state.failed == (DRIFT.name,)


def test_a_certain_but_small_drift_passes() -> None:
    """A new model is meant to differ."""
    moved = replace(ALIKE, canary_outputs=answers([14, 6, *[10] * 8]))
    state = seen(of_rules(DRIFT), FIRST, *[moved] * 300)

    assert evidence_against(state, DRIFT) > log_limit(of_rules(DRIFT))
    assert distance_in(state, DRIFT)[0] == pytest.approx(0.04)
    assert conclusion(state, of_rules(DRIFT)) is Verdict.PASS


def test_drift_of_both_arms_over_the_day_is_none() -> None:
    """Weights rise while answers change: each block compares the same hours."""
    analysis = of_rules(DRIFT)
    morning = ArmWindow(tally(950), tally(50), 0.05, None, answers([190] * 5), answers([10] * 5))
    evening = [0] * 5
    later = ArmWindow(
        tally(500), tally(500), 0.5, None, answers([*evening, *[100] * 5]), answers([*evening, *[100] * 5])
    )
    state = seen(analysis, FIRST, *[morning] * 20, *[later] * 20)

    assert distance_in(state, DRIFT)[0] == pytest.approx(0)
    assert conclusion(state, analysis) is Verdict.PASS


def test_evidence_that_answers_are_alike_can_be_required() -> None:
    """The distance must be small with what chance may hide."""
    strict = replace(of_rules(DRIFT), require_evidence=True)

    assert conclusion(seen(strict, FIRST, *[ALIKE] * 3), strict) is Verdict.NOT_ENOUGH_DATA
    assert conclusion(seen(strict, FIRST, *[ALIKE] * 20), strict) is Verdict.PASS


def test_the_state_survives_as_json() -> None:
    """A stored sum goes on where it was."""
    analysis = of_rules(ERRORS, SLOW, DRIFT)
    state = seen(analysis, FIRST, *[ALIKE] * 3, BAD, ArmWindow(tally(3), tally(2)))
    record = record_of_json(record_to_json(RolloutRecord(analysis=state)))

    assert record.analysis == state
    assert observed(record.analysis, analysis, GOOD) == observed(state, analysis, GOOD)


def test_equal_canaries_are_blamed_less_often_than_alpha() -> None:
    """Three rules on the same requests, with weights that change in each window, and few requests in some."""
    random = np.random.default_rng(17)
    analysis = replace(ANALYSIS, rules=(replace(ERRORS, limit=1.0), replace(SLOW, limit=1.0), DRIFT))
    blamed = 0
    for _ in range(120):
        state = observed(begun(NOTHING_SEEN, analysis, STEP), analysis, replace(FIRST, stable=tally(1000, slow=20)))
        for look in range(9):
            state = observed(begun(state, analysis, STEP), analysis, _equal_window(random, look))
        blamed += bool(state.failed)

    assert blamed <= 120 * analysis.false_rollback_probability


def _equal_window(random: np.random.Generator, look: int) -> ArmWindow:
    weight, requests = (0.01, 0.1, 0.5)[look % 3], int(random.poisson((20, 600)[look % 2]))
    of_canary = int(random.binomial(requests, weight))
    arms = [_random_tally(random, one, 0.02 + 0.02 * (look % 4)) for one in (requests - of_canary, of_canary)]
    drawn = [answers(random.multinomial(one.requests, [0.1] * 10).tolist()) for one in arms]
    return ArmWindow(arms[0], arms[1], weight, None, drawn[0], drawn[1])


def _random_tally(random: np.random.Generator, requests: int, rate: float) -> Tally:
    return tally(requests, int(random.binomial(requests, rate)), 0, int(random.binomial(requests, rate)))


COUNT = st.integers(0, 10**6)
TALLIES = st.builds(lambda good, bad, slow: tally(good + bad + slow, bad, 0, slow), COUNT, COUNT, COUNT)
OUTPUTS = st.builds(answers, st.lists(COUNT, max_size=14)) | st.just({})
MIRRORS = st.none() | st.builds(pairs, COUNT, flips=COUNT, outside=COUNT, structural=st.integers(0, 1), failed=COUNT)
WINDOWS = st.builds(
    ArmWindow, TALLIES, TALLIES, st.floats(0, 1), MIRRORS, OUTPUTS, OUTPUTS, st.none() | st.floats(0, 100)
)


@settings(max_examples=60, deadline=None)
@given(
    windows=st.lists(WINDOWS | st.just(FIRST), max_size=6), step=st.sampled_from([STEP, MIRROR]), strict=st.booleans()
)
def test_whatever_was_counted_has_a_standing(windows: list[ArmWindow], step: RolloutStep, *, strict: bool) -> None:
    """Millions of errors and no request at all are judged and said in words, and a failure never ends."""
    rules = (ERRORS, SLOW, replace(FLIPS, limit=0.5), replace(DRIFT, limit=0.0), replace(ERRORS, max_rate=0.3))
    analysis = Analysis(rules=rules, require_evidence=strict)
    state = begun(NOTHING_SEEN, analysis, step)
    for one in windows:
        before = state.failed
        state = observed(state, analysis, one)
        assert state.failed[: len(before)] == before

    found = standings(state, analysis)

    assert all(0 < one.evidence < math.inf and one.limit > 1 for one in found if one.metric != "structure")
    assert record_of_json(record_to_json(RolloutRecord(analysis=state))).analysis == state
