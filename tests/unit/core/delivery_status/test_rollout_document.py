"""Tests of a model's rollout in the status document: it explains itself, and keeps to its schema."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import jsonschema
import pytest

from core.delivery.analysis import MetricStanding, Verdict
from core.delivery.mirror_counts import MirrorCounts, OutputCounts
from core.delivery.plan import RolloutPlan, RolloutStep
from core.delivery.rollout_record import NO_RECORD, Happening, PauseCause, Rejection, RolloutPhase, RolloutRecord
from core.delivery.split import Division
from core.delivery_status.rollout_document import LARGEST, RolloutFacts, evidence_share, rollout_document
from core.openapi.delivery_schema import DELIVERY
from tests.support.rollout_states import NOW_S, PLAN, RECORD, STATES, TRAFFIC, delivery, shares

SECRET = "token=abcdefgh1234"  # as a careless gate or error may contain it


@pytest.mark.parametrize("state", STATES)
def test_every_state_keeps_to_the_schema(state: str) -> None:
    """After a way through JSON, which knows no infinity and no tuples."""
    read = json.loads(json.dumps(delivery(state), allow_nan=False))

    jsonschema.validate(read, DELIVERY)


def test_a_model_without_plan_shares_and_record_says_nothing() -> None:
    """Most models; the page has no card of them."""
    assert rollout_document(NO_RECORD, RolloutFacts(), NOW_S) is None
    assert rollout_document(NO_RECORD, RolloutFacts(plan=PLAN), NOW_S) is not None
    assert rollout_document(NO_RECORD, RolloutFacts(Division(((7, 10_000),))), NOW_S) is not None


def test_changed_signatures_are_told_of_a_model_without_a_plan_too() -> None:
    """Nobody asked for a rollout, and its callers fail all the same."""
    found = rollout_document(NO_RECORD, RolloutFacts(warnings=("input x is missing",)), NOW_S)

    assert found is not None
    assert found["warnings"] == ["input x is missing"]
    jsonschema.validate(json.loads(json.dumps(found)), DELIVERY)


def test_every_metric_says_what_it_counted_and_what_would_change_it() -> None:
    """Whoever asks why a canary was rolled back finds the numbers of both arms."""
    metric = delivery("rolling_back")["metrics"][0]

    assert metric == {
        "metric": "server_errors",
        "verdict": "fail",
        "unit": "requests",
        "limit": {"name": "max_ratio", "value": 1.2},
        "stable": {"events": 5, "requests": 18_240, "rate": 0.000274},
        "canary": {"events": 14, "requests": 962, "rate": 0.014553},
        "evidence": 812.0,
        "evidence_limit": 600.0,
        "evidence_share": 1.0,
        "outlook": "it stays failed",
    }


@pytest.mark.parametrize(
    ("evidence", "limit", "share"),
    [(1.0, 200.0, 0.0), (0.01, 200.0, 0.0), (200.0, 200.0, 1.0), (math.inf, 200.0, 1.0), (10.0, 100.0, 0.5)],
)
def test_evidence_is_shown_as_logarithms(evidence: float, limit: float, share: float) -> None:
    """Half of the bar is half of the way, because evidence multiplies."""
    assert evidence_share(MetricStanding("m", Verdict.NOT_ENOUGH_DATA, evidence=evidence, limit=limit)) == share


def test_numbers_that_json_does_not_know_are_cut() -> None:
    """Python would write them, and no other reader takes them."""
    known = MetricStanding("m", Verdict.FAIL, evidence=math.inf, limit=200.0)
    copies = MirrorCounts(
        outside=1, outputs={"x": OutputCounts(1, largest=math.inf), "y": OutputCounts(1, largest=math.nan)}
    )
    facts = RolloutFacts(shares(0, 100), PLAN, (known,), replace(TRAFFIC, mirrors={8: copies}))

    made = rollout_document(RECORD, facts, NOW_S)

    assert made is not None
    assert made["metrics"][0]["evidence"] == LARGEST
    assert [one["largest"] for one in made["mirrored"]["outputs"]] == [LARGEST, LARGEST]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("idle", ["to_come"] * 5),
        ("loading", ["to_come"] * 5),
        ("mirroring", ["running", *["to_come"] * 4]),
        ("weighted", ["done", "running", *["to_come"] * 3]),
        ("paused", ["done", "paused", *["to_come"] * 3]),
        ("rolling_back", ["done", "ended", *["to_come"] * 3]),
        ("promoted", ["done"] * 5),
    ],
)
def test_steps_say_how_far_it_is(state: str, expected: list[str]) -> None:
    """Only the present one has a running bake."""
    steps = delivery(state)["steps"]

    assert [one["state"] for one in steps] == expected
    assert [one["baked_s"] is not None for one in steps] == [one in {"running", "paused"} for one in expected]


def test_the_running_bake_says_what_follows_and_when() -> None:
    """At the earliest: other conditions may hold it."""
    shown = delivery("weighted")

    assert (shown["left_s"], shown["next_at"]) == (350.0, "2023-11-15T00:24:10.000Z")
    assert shown["next"] == "step 3 of 5: 25 % of the requests"
    assert delivery("weighted", baked_s=9_999.0)["left_s"] == 0.0
    assert delivery("mirroring", step=3)["next"] == "step 5 of 5: a pause until an operator goes on"
    assert delivery("weighted", step=4)["next"] == "version 8 is promoted"


def test_a_pause_of_the_plan_ends_by_itself_and_others_do_not() -> None:
    """Whoever looks knows whether somebody has to do something."""
    plan = RolloutPlan((RolloutStep(pause_s=7200.0), RolloutStep(weight=100)))
    pausing = replace(RECORD, phase=RolloutPhase.PAUSED, pause_cause=PauseCause.PLAN, step=0, baked_s=200.0, plan=plan)

    made = rollout_document(pausing, RolloutFacts(shares(0), plan), NOW_S)
    ordered = rollout_document(replace(pausing, pause_cause=PauseCause.ORDER), RolloutFacts(shares(0), plan), NOW_S)

    assert made is not None
    assert ordered is not None
    assert (made["left_s"], made["next"], made["pause_cause"]) == (7000.0, "step 2 of 2: 1 % of the requests", "plan")
    assert (ordered["left_s"], ordered["next_at"]) == (None, None)
    assert ordered["next"] == "an operator resumes, promotes or aborts; a metric that fails still acts"


def test_the_rollback_window_says_how_long_the_old_version_stays() -> None:
    """That is how long `undo` is possible."""
    shown = delivery("promoted")

    assert (shown["stable"], shown["canary"], shown["previous"]) == ("8", None, "7")
    assert (shown["left_s"], shown["next"]) == (2340.0, "version 7 is unloaded, and the rollout has ended")


def test_both_arms_are_shown_with_rates_errors_and_latencies() -> None:
    """Rates of the last seconds, all others since the shares are in force."""
    stable, canary = delivery("weighted")["arms"]

    assert (stable["role"], canary["role"], canary["percent"]) == ("stable", "canary", 5.0)
    assert (canary["requests"], canary["server_errors"], canary["client_errors"]) == (962, 2, 3)
    assert (canary["requests_per_s"], canary["errors_per_s"], canary["batch_rows"]) == (4.067, 0.067, 1.7)
    assert stable["p50_s"] == pytest.approx(0.0042, rel=0.2)
    assert canary["p99_s"] == pytest.approx(0.0408, rel=0.2)


def test_an_arm_of_which_nothing_was_counted_has_no_rates() -> None:
    """Null, and not 0: nobody knows."""
    stable, canary = delivery("loading")["arms"]

    assert (stable["requests"], canary["requests_per_s"], canary["p50_s"]) == (0, None, None)


def test_copies_are_shown_beside_the_noise_floor() -> None:
    """With how far each output is apart, by decades."""
    shown = delivery("mirroring")

    assert {name: shown["mirrored"][name] for name in ("version", "compared", "structural", "dropped")} == {
        "version": "8", "compared": 613, "structural": 2, "dropped": 37,
    }  # fmt: skip
    assert shown["mirrored"]["outputs"][1]["distances"][-1] == {"up_to": pytest.approx(0.1), "pairs": 1}
    assert (shown["noise_floor"]["version"], shown["noise_floor"]["compared"]) == ("7", 600)
    assert delivery("weighted")["mirrored"] is None


def test_shares_by_hand_need_no_rollout() -> None:
    """Weights, labels and copies are shown as they are in force."""
    shown = delivery("shares by hand")

    assert shown["weights"] == [{"version": "7", "percent": 90.0}, {"version": "8", "percent": 10.0}]
    assert shown["label_weights"][0]["label"] == "beta"
    assert shown["mirror"] == {"version": "9", "percent": 10.5, "max_in_flight": 8}
    assert shown["mirrored"]["version"] == "9"
    assert shown["steps"] == []


def test_rejected_versions_are_listed_with_their_reasons() -> None:
    """The highest first."""
    rejected = delivery("rejected")["rejected"]

    assert [one["version"] for one in rejected] == ["9", "8"]
    assert rejected[1]["reason"].startswith("server_errors failed: 14 of 962")


def test_secrets_in_texts_are_hidden() -> None:
    """In reasons, gates, happenings, and what an answer said."""
    plan = RolloutPlan((RolloutStep(weight=100, gate=f"https://u:p@host/?{SECRET}"),))
    record = RolloutRecord(
        stable=7, canary=8, phase=RolloutPhase.PAUSED, reason=SECRET, paused_by=SECRET, plan=plan,
        rejected={6: Rejection(SECRET)}, happenings=(Happening(NOW_S, "rollout_step", 8, SECRET),),
    )  # fmt: skip
    facts = RolloutFacts(shares(100), plan, (), replace(TRAFFIC, mirrors={8: MirrorCounts(reason=SECRET)}), (SECRET,))

    assert "abcdefgh" not in json.dumps(rollout_document(record, facts, NOW_S))
    assert "u:p@" not in json.dumps(rollout_document(record, facts, NOW_S))


def test_callers_without_the_right_see_states_and_no_texts() -> None:
    """Neither why, nor who, nor where a gate is."""
    record, facts = STATES["paused"]
    bad = replace(record, rejected={6: Rejection("crashed in /models/ranking/6")}, reason="because")
    cut = bad.without_texts()

    made = rollout_document(cut, replace(facts, plan=PLAN.without_addresses(), standings=()), NOW_S)

    assert made is not None
    assert (made["phase"], made["reason"], made["paused_by"]) == ("paused", None, None)
    assert made["rejected"] == [{"version": "6", "reason": None, "at": "1970-01-01T00:00:00.000Z"}]
    assert {one["text"] for one in made["happenings"]} == {None}
    assert {one["gate"] for one in made["steps"]} == {None}
    assert cut.plan == PLAN.without_addresses()
