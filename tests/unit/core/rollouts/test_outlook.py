"""Tests of times and numbers of a rollout in words."""

from __future__ import annotations

import math

import pytest

from core.delivery.analysis import AnalysisState, MetricStanding, Verdict
from core.delivery.plan import RolloutPlan, RolloutStep
from core.rollouts.outlook import requests_outlook, standing_in_words, step_in_words, time_in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (90, "90 seconds"), (1500, "25 minutes"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_a_time_is_in_the_unit_that_fits(seconds: float, words: str) -> None:
    """Nobody counts 1,500 seconds."""
    assert time_in_words(seconds) == words


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            AnalysisState(min_requests=300, step_requests=60, step_s=300.0),
            "60 of 300 requests; at 0.2 requests/s the other 240 take 20 minutes",
        ),
        (
            AnalysisState(min_requests=300, step_requests=60, step_s=300.0, mirrors=True),
            "60 of 300 copies; at 0.2 copies/s the other 240 take 20 minutes",
        ),
        (AnalysisState(min_requests=300, step_s=300.0), "0 of 300 requests; none came"),
        (AnalysisState(min_requests=300), "0 of 300 requests; none came"),
        (AnalysisState(min_requests=300, step_requests=300, step_s=1.0), ""),
    ],
)
def test_a_step_says_how_long_its_requests_will_take(state: AnalysisState, words: str) -> None:
    """At low traffic that is what an operator has to know."""
    assert requests_outlook(state) == words


def test_a_standing_says_what_was_seen_of_both_versions() -> None:
    """Of pairs there is only one number."""
    standing = MetricStanding("server_errors", Verdict.FAIL, 5, 4320, 13, 480, evidence=240.4, limit=200.0)

    assert (
        standing_in_words(standing, 7)
        == "server_errors: 13 of 480 requests against 5 of 4320 of version 7, evidence 240 of 200"
    )
    pairs = MetricStanding("flips_y", Verdict.FAIL, 0, 0, 13, 480, evidence=240.4, limit=200.0, unit="pairs")
    assert standing_in_words(pairs, 7) == "flips_y: 13 of 480 pairs, evidence 240 of 200"


def test_a_step_is_named_by_its_place_and_what_it_does() -> None:
    """As people count: from one."""
    plan = RolloutPlan(
        (
            RolloutStep(mirror=10_000, bake_s=1800.0),
            RolloutStep(weight=250, bake_s=600.0),
            RolloutStep(pause_s=7200.0),
            RolloutStep(pause_s=math.inf),
        )
    )

    assert [step_in_words(plan, step) for step in range(4)] == [
        "step 1 of 4: 100 % mirrored, bakes 30 minutes",
        "step 2 of 4: 2.5 % of requests, bakes 10 minutes",
        "step 3 of 4: pause for 2 hours",
        "step 4 of 4: pause",
    ]


def test_a_difference_in_structure_says_in_how_many_pairs_and_which() -> None:
    """There is no evidence to weigh: one is enough."""
    broken = MetricStanding(
        "structure", Verdict.FAIL, 0, 0, 3, 51, unit="pairs", outlook="output y has the shape (3,) instead of (2,)"
    )

    assert standing_in_words(broken, 7) == "structure: 3 of 51 pairs: output y has the shape (3,) instead of (2,)"
