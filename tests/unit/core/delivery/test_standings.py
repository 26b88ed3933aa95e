"""Tests of what is said of each metric."""

from __future__ import annotations

import pytest

from core.delivery.analysis import NOTHING_SEEN, ArmWindow, MetricStanding, Verdict
from core.delivery.judgement import begun
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.plan import Analysis
from core.delivery.rule_events import STRUCTURE
from core.delivery.standings import standings
from tests.unit.core.delivery.test_judgement import (
    ALIKE,
    ANALYSIS,
    BAD,
    DRIFT,
    ERRORS,
    FIRST,
    FLIPS,
    GOOD,
    MIRROR,
    SLOW,
    answers,
    of_rules,
    pairs,
    replace,
    seen,
    tally,
)


def only(analysis: Analysis, *windows: ArmWindow, mirrors: bool = False) -> MetricStanding:
    """Return the standing of the only rule after some windows."""
    step = MIRROR if mirrors else replace(MIRROR, mirror=0, weight=1000)
    (found,) = standings(seen(analysis, *windows, step=step), analysis)
    return found


def test_every_rule_has_a_standing_in_the_order_of_the_plan() -> None:
    """With the numbers of both arms, and the evidence of the limit."""
    found = standings(seen(ANALYSIS, *[GOOD] * 6), ANALYSIS)

    assert [one.metric for one in found] == ["server_errors", "client_errors", "slow_requests_p99"]
    assert {one.verdict for one in found} == {Verdict.PASS}
    assert (found[0].stable_events, found[0].stable_requests) == (54, 5400)
    assert (found[0].canary_events, found[0].canary_requests) == (6, 600)
    assert found[0].limit == pytest.approx(300)
    assert found[0].unit == "requests"


def test_a_failure_says_its_numbers() -> None:
    """Nobody has to look for them elsewhere."""
    failed = only(of_rules(ERRORS), GOOD, BAD)

    assert failed.verdict is Verdict.FAIL
    assert failed.evidence >= failed.limit
    assert failed.outlook == (
        "server errors: 61 of 200 (30.5 %) of the canary, 18 of 1800 (1 %) of stable, at most 1.2 times that allowed"
    )


def test_missing_requests_are_said_with_the_time_that_they_take() -> None:
    """At the rate of the step so far."""
    slowly = ArmWindow(tally(60), tally(3), lasted_s=15.0)

    assert only(of_rules(ERRORS), slowly).outlook == (
        "3 of 300 requests of the canary; at 0.2 a second the others take 25 minutes"
    )
    assert only(of_rules(ERRORS)).outlook == "0 of 300 requests of the canary"
    fast = ArmWindow(tally(6000), tally(290), lasted_s=15.0)
    assert only(of_rules(ERRORS), fast).outlook.endswith("the others take 1 s")


def test_what_passes_says_what_would_make_it_fail() -> None:
    """Few errors of the canary alone are enough where stable has none."""
    assert only(of_rules(ERRORS), *[ArmWindow(tally(900), tally(100))] * 3).outlook == (
        "fails after 3 more server errors of the canary alone"
    )
    assert " more slow requests (over 11." in only(of_rules(SLOW), *[GOOD] * 6).outlook


def test_required_evidence_says_how_far_it_is() -> None:
    """And what would make it fail."""
    strict = replace(of_rules(ERRORS), require_evidence=True)
    found = only(strict, *[GOOD] * 3)

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert found.outlook.startswith("evidence of being within the limit 1 of 100; fails after ")


def test_slow_requests_wait_for_stables_latencies() -> None:
    """It says how many of them there are."""
    assert only(of_rules(SLOW), GOOD).outlook == (
        "when a request is slow is known after 1000 requests of stable, 900 so far"
    )


def test_pairs_say_their_rate_and_the_limit() -> None:
    """In a step that mirrors they are judged, in another one they say so."""
    failed = only(of_rules(FLIPS), ArmWindow(mirror=pairs(80, flips=20)), mirrors=True)

    assert failed.outlook == "flips: 20 of 100 (20 %), at most 2 % allowed"
    assert failed.unit == "pairs"
    passed = only(of_rules(FLIPS), ArmWindow(mirror=pairs(1000)), mirrors=True)
    assert (passed.verdict, passed.outlook) == (Verdict.PASS, "flips are at most 2 %")
    assert only(of_rules(FLIPS), GOOD).outlook == "only copies say something of it"
    assert only(of_rules(SLOW), ArmWindow(mirror=pairs(9)), mirrors=True).outlook == "copies say nothing of it"
    assert only(of_rules(FLIPS), ArmWindow(mirror=pairs(9)), mirrors=True).outlook == (
        "9 of 300 pairs of the canary; at 0.6 a second the others take 8 minutes"
    )


def test_drift_says_the_distance_and_the_bin() -> None:
    """Of all bins the one with the most evidence."""
    moved = replace(ALIKE, canary_outputs=answers([55, *[5] * 9]))
    failed = only(of_rules(DRIFT), FIRST, *[moved] * 5)

    assert (failed.verdict, failed.unit) == (Verdict.FAIL, "answers")
    assert failed.outlook == (
        "distance 0.450, 0.372 of it certain, at most 0.1 allowed; "
        "values up to 0.1: 275 of 500 (55 %) of the canary, 450 of 4500 (10 %) of stable"
    )
    assert only(of_rules(DRIFT)).outlook == "waits for the first answers of stable with the output scores"
    assert only(of_rules(DRIFT), FIRST, *[ALIKE] * 3).outlook == (
        "distance 0.000, 0.000 of it certain, at most 0.1 allowed"
    )


def test_structure_comes_first_when_it_failed() -> None:
    """No plan names it."""
    broken = ArmWindow(mirror=MirrorCounts(identical=50, structural=1))
    found = standings(seen(ANALYSIS, broken, step=MIRROR), ANALYSIS)

    assert (found[0].metric, found[0].verdict) == (STRUCTURE, Verdict.FAIL)
    assert (found[0].canary_events, found[0].canary_requests) == (1, 51)
    assert found[0].outlook == "An answer has other outputs, types or shapes."
    assert len(found) == 4


def test_keys_are_called_so() -> None:
    """Where requests with the same key count once, numbers are not those of requests."""
    state = begun(NOTHING_SEEN, ANALYSIS, MIRROR, unit="keys")
    by_key = begun(state, ANALYSIS, replace(MIRROR, mirror=0, weight=500), unit="keys")

    assert {one.unit for one in standings(by_key, ANALYSIS)} == {"keys"}
