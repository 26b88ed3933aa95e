"""Tests of what a look does to a rollout that runs: each phase with each thing that may have happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.analysis import ArmWindow
from core.delivery.plan import (
    MetricRule,
    OnFailure,
    OnInconclusive,
    OnNewVersion,
    RolloutPlan,
    RolloutStep,
    RuleKind,
)
from core.delivery.rollout_record import PauseCause, RolloutOutcome, RolloutPhase
from core.delivery.split import WHOLE
from core.rollouts.orders import OrderVerb
from core.rollouts.progress import awaited_gate
from core.rollouts.record_json import record_of_json, record_to_json
from tests.support.rollout_scene import ANALYSIS, BAD, FEW, GOOD, PLAN, Scene, tally

INF = float("inf")
MIRROR_PLAN = replace(PLAN, steps=(RolloutStep(mirror=WHOLE, bake_s=60.0, min_requests=0), *PLAN.steps))


def with_steps(*steps: RolloutStep) -> RolloutPlan:
    """Return the usual plan with other steps."""
    return replace(PLAN, steps=steps)


def test_an_equal_canary_takes_over_step_by_step() -> None:
    """Shares rise with the steps, and the old version goes when the rollback window is over."""
    scene = Scene()
    seen = []

    while "rollout_ended" not in scene.names:
        scene.look(10.0, GOOD)
        seen.append(scene.weights)

    assert [one for place, one in enumerate(seen) if place == 0 or one != seen[place - 1]] == [
        {7: WHOLE},
        {7: 9500, 8: 500},
        {7: 5000, 8: 5000},
        {8: WHOLE},
    ]
    assert scene.names == [
        "rollout_started",
        "rollout_step",
        "rollout_step",
        "rollout_promoting",
        "rollout_promoted",
        "rollout_ended",
    ]
    assert (scene.record.stable, scene.record.stable_fingerprint) == (8, "f8")
    assert scene.record.outcome is RolloutOutcome.PROMOTED


def test_a_canary_has_no_share_before_it_answers_at_every_router() -> None:
    """A share of a version without a route would be errors (kserve #5983)."""
    scene = Scene()
    scene.to(RolloutPhase.LOADING)

    scene.look(10.0)
    assert scene.weights == {7: WHOLE}

    scene.available.add(8)
    scene.look()
    assert scene.record.phase is RolloutPhase.STEP
    assert scene.weights == {7: 9500, 8: 500}


def test_a_rollout_waits_for_stable_too() -> None:
    """There is nothing to compare with before it answers."""
    scene = Scene()
    scene.to(RolloutPhase.LOADING)
    scene.available = {8}

    scene.look()

    assert scene.record.phase is RolloutPhase.LOADING


@pytest.mark.parametrize(
    ("plan", "problems", "phase"),
    [
        (PLAN, None, RolloutPhase.LOADING),
        (PLAN, (), RolloutPhase.STEP),
        (PLAN, ("input x is missing",), RolloutPhase.IDLE),
        (replace(PLAN, allow_signature_change=True), ("input x is missing",), RolloutPhase.STEP),
        (replace(PLAN, allow_signature_change=True), None, RolloutPhase.STEP),
    ],
)
def test_other_signatures_are_a_reason_to_reject(
    plan: RolloutPlan, problems: tuple[str, ...] | None, phase: RolloutPhase
) -> None:
    """Unless the plan allows them; as long as they are not known, nothing begins."""
    scene = Scene(plan=plan, signature_problems=problems)

    scene.look()
    scene.look()

    assert scene.record.phase is phase
    if phase is RolloutPhase.IDLE:
        assert "signatures differ from those of version 7: input x is missing" in scene.record.rejected[8].reason


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_plan_with_a_metric_of_an_unknown_output_begins_nothing(*, is_allowed: bool) -> None:
    """The metric would see no events, and pass; other signatures may be allowed, this cannot."""
    rules = (MetricRule(RuleKind.OUTPUT_DRIFT, 0.1, output="scorez"),)
    analysis = replace(PLAN.analysis, rules=rules)
    scene = Scene(
        plan=replace(PLAN, analysis=analysis, allow_signature_change=is_allowed), outputs=frozenset({"scores"})
    )

    scene.look()
    scene.look()

    assert scene.record.phase is RolloutPhase.IDLE
    assert "name outputs that it does not have: scorez; it has scores" in scene.record.rejected[8].reason


@pytest.mark.parametrize("phase", [RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PAUSED])
def test_a_canary_that_cannot_be_loaded_is_rejected(phase: RolloutPhase) -> None:
    """It is not tried again with the same files."""
    scene = Scene()
    scene.to(phase)
    scene.available.discard(8)
    scene.failed[8] = "no space"

    for _ in range(5):
        scene.look()

    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.record.rejected[8].reason == "could not be loaded: no space"
    assert scene.record.rejected[8].fingerprint == "f8"
    assert scene.names.count("rollout_started") == 1


@pytest.mark.parametrize("phase", [RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PAUSED])
@pytest.mark.parametrize("cause", ["directory", "policy"])
def test_a_canary_that_is_no_longer_offered_is_withdrawn_and_may_come_again(phase: RolloutPhase, cause: str) -> None:
    """Nothing was found against it: it is not rejected."""
    scene = Scene()
    scene.to(phase)
    scene.chosen = frozenset({7})
    if cause == "directory":
        del scene.stored[8]

    scene.look()
    scene.look()

    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.record.rejected == {}
    assert scene.record.outcome is RolloutOutcome.WITHDRAWN

    scene.stored[8], scene.chosen = "f8", None
    scene.look()
    assert scene.record.phase is RolloutPhase.LOADING


@pytest.mark.parametrize("phase", [RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PROMOTING])
def test_storage_that_cannot_be_read_withdraws_nothing(phase: RolloutPhase) -> None:
    """What is not seen is not gone."""
    scene = Scene(is_listed=False, record=Scene().to(phase))
    scene.stored.clear()
    if phase is RolloutPhase.LOADING:
        scene.available.discard(8)

    scene.look()

    assert scene.record.phase in {phase, RolloutPhase.PROMOTED}


def test_a_step_bakes_only_while_every_router_divides_as_it_says() -> None:
    """A bake that begins before its share is in force would be too short."""
    scene = Scene()
    scene.to_step()
    scene.look(10.0)
    baked_s = scene.record.baked_s

    scene.look(50.0, GOOD, epoch_in_force=scene.record.epoch - 1)
    scene.look(5.0, GOOD)
    assert scene.record.baked_s == baked_s

    scene.look(5.0, GOOD)
    assert scene.record.baked_s == baked_s + 5.0


def test_time_without_a_watcher_does_not_bake() -> None:
    """A new watcher looks for the first time with no time elapsed, whatever the clock on the wall says."""
    scene = Scene()
    scene.to_step()
    scene.look(10.0, GOOD)
    baked_s = scene.record.baked_s
    scene.record = record_of_json(record_to_json(scene.record))
    scene.wall_s += 100_000.0

    scene.look(0.0)

    assert scene.record.phase is RolloutPhase.STEP
    assert scene.record.baked_s == baked_s


def test_a_restart_of_everything_goes_on_where_it_was() -> None:
    """Shares come back when both versions answer, and neither is blamed for being loaded anew."""
    scene = Scene()
    scene.to_step(1)
    scene.look(20.0, GOOD)
    baked_s = scene.record.baked_s
    scene.available.clear()
    scene.look(0.0, epoch_in_force=-1)

    for _ in range(10):
        scene.look(60.0)
    assert scene.record.phase is RolloutPhase.STEP
    assert scene.record.division is None

    scene.available |= {7, 8}
    scene.look(1.0)
    assert scene.weights == {7: 5000, 8: 5000}
    assert scene.record.baked_s == baked_s


def test_evidence_of_another_division_does_not_count() -> None:
    """A window that was counted while a router had other shares says nothing of these (two routers, two tables)."""
    scene = Scene()
    scene.to_step()

    scene.look(10.0, BAD, epoch_in_force=scene.record.epoch - 1)

    assert scene.record.phase is RolloutPhase.STEP
    assert scene.record.analysis.step_requests == 0


def test_a_worse_canary_loses_its_share_first_and_then_its_process() -> None:
    """It is rejected with the numbers when no router sends it anything any more."""
    scene = Scene()
    scene.to_step()

    scene.look(10.0, BAD)
    assert scene.record.phase is RolloutPhase.ROLLING_BACK
    assert scene.weights == {7: WHOLE}
    assert scene.record.canary == 8

    scene.look(10.0, epoch_in_force=scene.record.epoch - 1)
    assert scene.record.phase is RolloutPhase.ROLLING_BACK

    scene.look(1.0)
    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.record.canary == 0
    assert "server_errors: 90 of 100 requests against 0 of 1900 of version 7" in scene.record.rejected[8].reason
    assert "rollout_verdict" in scene.names


def test_a_failed_canary_can_be_left_for_a_person_to_decide() -> None:
    """With on_failure: pause, it keeps its share, and that is said once."""
    scene = Scene(plan=replace(PLAN, on_failure=OnFailure.PAUSE))
    scene.to_step()

    for _ in range(5):
        scene.look(10.0, BAD)

    assert scene.record.phase is RolloutPhase.PAUSED
    assert (scene.record.pause_cause, scene.record.paused_by) == (PauseCause.FAILED, "analysis")
    assert scene.names.count("rollout_verdict") == 1


def test_a_paused_canary_is_still_judged() -> None:
    """It has traffic: a pause is no shelter (flagger #1801)."""
    scene = Scene()
    scene.to(RolloutPhase.PAUSED)

    scene.look(10.0, BAD)

    assert scene.record.phase is RolloutPhase.ROLLING_BACK


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (OnInconclusive.PAUSE, RolloutPhase.PAUSED),
        (OnInconclusive.ADVANCE, RolloutPhase.STEP),
        (OnInconclusive.ROLLBACK, RolloutPhase.ROLLING_BACK),
    ],
)
def test_too_few_requests_are_neither_a_pass_nor_a_failure(answer: OnInconclusive, phase: RolloutPhase) -> None:
    """The plan says what follows (flagger #1011, #1035, argo #1905)."""
    scene = Scene(plan=replace(PLAN, on_inconclusive=answer))
    scene.to_step()

    for _ in range(6):
        scene.look(10.0, FEW)

    assert scene.record.phase is phase
    assert scene.record.step == (1 if answer is OnInconclusive.ADVANCE else 0)


def test_an_inconclusive_step_says_how_long_it_would_take() -> None:
    """People choose between waiting and going on by that."""
    scene = Scene()
    scene.to_step()

    for _ in range(6):
        scene.look(10.0, FEW)

    assert "of 100 requests; at 0.1 requests/s the other" in scene.record.reason
    assert "take 16 minutes" in scene.record.reason


def test_a_canary_without_replicas_has_no_share_for_the_moment() -> None:
    """Its requests go to stable; when it is back, a new epoch keeps the counts apart."""
    scene = Scene()
    scene.to_step()
    epoch = scene.record.epoch
    scene.gone_s = {8: 5.0}

    scene.look(1.0)
    assert scene.record.phase is RolloutPhase.STEP
    assert scene.weights == {7: WHOLE}
    assert scene.record.epoch == epoch + 1

    scene.gone_s = {}
    scene.look(1.0)
    assert scene.weights == {7: 9500, 8: 500}
    assert scene.record.epoch == epoch + 2


@pytest.mark.parametrize("phase", [RolloutPhase.STEP, RolloutPhase.PAUSED, RolloutPhase.PROMOTING])
def test_a_canary_without_replicas_for_long_is_rolled_back(phase: RolloutPhase) -> None:
    """Longer than the plan's health grace."""
    scene = Scene()
    scene.to(phase)
    scene.gone_s = {8: 31.0}

    scene.look(1.0)
    scene.look(1.0)

    assert scene.record.rejected[8].reason == "has had no replica for 31 seconds"


def test_a_promotion_ends_without_a_canary_that_could_be_loaded() -> None:
    """Its directory is gone, and then its process: stable has all requests again."""
    scene = Scene()
    scene.to(RolloutPhase.PROMOTING)
    del scene.stored[8]
    scene.available = {7}

    scene.look()
    scene.look()

    assert (scene.record.phase, scene.record.stable) == (RolloutPhase.IDLE, 7)
    assert scene.record.rejected[8].reason == "does not run, and its directory is gone"


def test_replicas_that_die_need_no_statistics() -> None:
    """Two are enough; replicas that died before the rollout do not count."""
    scene = Scene()
    scene.look(1.0, restarts=1)
    scene.to_step()

    scene.look(1.0, restarts=1)
    assert scene.record.phase is RolloutPhase.STEP

    scene.look(1.0, restarts=1)
    assert scene.record.phase is RolloutPhase.ROLLING_BACK


@pytest.mark.parametrize("phase", [RolloutPhase.LOADING, RolloutPhase.STEP])
def test_a_newer_version_takes_the_place_of_the_canary(phase: RolloutPhase) -> None:
    """The older one is superseded, which is nothing against it; it does not come again."""
    scene = Scene()
    scene.to(phase)
    scene.stored[9] = "f9"

    while scene.record.canary != 9:
        scene.look(1.0)

    assert scene.record.rejected[8].reason == "superseded by version 9"
    assert "rollout_superseded" in scene.names
    assert "rollout_rolled_back" not in scene.names


@pytest.mark.parametrize("phase", [RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PAUSED])
def test_a_newer_version_waits_if_the_plan_says_so(phase: RolloutPhase) -> None:
    """It is named while it waits, and forgotten when it is deleted."""
    scene = Scene(plan=replace(PLAN, on_new_version=OnNewVersion.QUEUE))
    scene.to(phase)
    scene.stored[9] = "f9"

    scene.look(1.0)
    scene.look(1.0)
    assert (scene.record.phase, scene.record.canary, scene.record.queued) == (phase, 8, 9)
    assert scene.names.count("rollout_queued") == 1

    del scene.stored[9]
    scene.look(1.0)
    assert scene.record.queued == 0


def test_a_version_that_waited_begins_after_the_rollback_window() -> None:
    """One rollout at a time."""
    scene = Scene(plan=replace(PLAN, on_new_version=OnNewVersion.QUEUE))
    scene.to_step(1)
    scene.stored[9] = "f9"

    while scene.record.canary != 9:
        assert "rollout_ended" not in scene.names or scene.record.canary in {0, 9}
        scene.look(10.0, GOOD)

    assert scene.record.stable == 8
    assert scene.record.queued == 0


def test_what_a_person_has_paused_is_not_superseded() -> None:
    """Somebody looks at it."""
    scene = Scene()
    scene.to(RolloutPhase.PAUSED)
    scene.stored[9] = "f9"

    scene.look(1.0)

    assert (scene.record.phase, scene.record.canary, scene.record.queued) == (RolloutPhase.PAUSED, 8, 9)


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (OnInconclusive.PAUSE, RolloutPhase.PAUSED),
        (OnInconclusive.ROLLBACK, RolloutPhase.IDLE),
        (OnInconclusive.ADVANCE, RolloutPhase.PAUSED),
    ],
)
def test_loading_may_not_last_for_ever(answer: OnInconclusive, phase: RolloutPhase) -> None:
    """A version that is never loaded is no step that could be gone over."""
    scene = Scene(plan=replace(PLAN, on_inconclusive=answer))
    scene.to(RolloutPhase.LOADING)

    scene.look(1000.0)

    assert scene.record.phase is phase


def test_a_rollout_that_lasts_too_long_is_paused_and_can_go_on() -> None:
    """Here a router never gets the table; a resumed rollout gets as much time again."""
    scene = Scene()
    scene.to_step()

    for _ in range(20):
        scene.look(60.0, epoch_in_force=0)
    assert (scene.record.phase, scene.record.pause_cause) == (RolloutPhase.PAUSED, PauseCause.DURATION)

    scene.order(OrderVerb.RESUME)
    scene.look(1.0)
    assert scene.record.phase is RolloutPhase.STEP


def test_a_pause_does_not_count_for_the_longest_duration() -> None:
    """Whoever pauses for a night finds the rollout in the morning."""
    scene = Scene()
    scene.to(RolloutPhase.PAUSED)

    scene.look(50_000.0)
    scene.order(OrderVerb.RESUME)
    scene.look(1.0)

    assert scene.record.phase is RolloutPhase.STEP


def test_a_pause_of_the_plan_keeps_the_share_and_ends_by_itself() -> None:
    """Its time is counted as a bake is."""
    scene = Scene(plan=with_steps(RolloutStep(weight=500, bake_s=60.0), RolloutStep(pause_s=100.0)))
    scene.to_step()
    while scene.record.phase is RolloutPhase.STEP:
        scene.look(10.0, GOOD)

    assert (scene.record.phase, scene.record.paused_by) == (RolloutPhase.PAUSED, "plan")
    assert scene.weights == {7: 9500, 8: 500}

    scene.look(99.0)
    assert scene.record.phase is RolloutPhase.PAUSED
    scene.look(1.0)
    assert scene.record.phase is RolloutPhase.PROMOTING


def test_a_pause_without_an_end_waits_for_an_order() -> None:
    """`pause: {}` is for people."""
    scene = Scene(plan=with_steps(RolloutStep(pause_s=INF), RolloutStep(weight=500, bake_s=60.0)))
    scene.look()
    scene.look()

    scene.look(1e9)
    assert scene.record.phase is RolloutPhase.PAUSED
    assert scene.weights == {7: WHOLE}

    scene.order(OrderVerb.PROMOTE)
    assert (scene.record.phase, scene.record.step) == (RolloutPhase.STEP, 1)


def test_a_gate_is_asked_when_its_step_has_passed_and_not_before() -> None:
    """What is in doubt is not anybody's to approve."""
    scene = Scene(plan=with_steps(RolloutStep(weight=500, bake_s=60.0, gate="http://gate/")))
    scene.to_step()
    assert awaited_gate(scene.record) == ""

    for _ in range(20):
        scene.look(10.0, GOOD)
    assert scene.record.phase is RolloutPhase.STEP
    assert awaited_gate(scene.record) == "http://gate/"

    scene.look(1.0, is_gate_open=False)
    assert scene.record.phase is RolloutPhase.STEP
    scene.look(1.0, is_gate_open=True)
    assert scene.record.phase is RolloutPhase.PROMOTING


def test_a_pause_may_have_a_gate_as_well() -> None:
    """Both must be over."""
    scene = Scene(plan=with_steps(RolloutStep(pause_s=10.0, gate="http://gate/"), RolloutStep(weight=500, bake_s=60.0)))
    scene.look()
    scene.look()
    scene.look(5.0, is_gate_open=True)
    assert awaited_gate(scene.record) == ""

    scene.look(5.0)
    assert awaited_gate(scene.record) == "http://gate/"

    scene.look(1.0, is_gate_open=True)
    assert scene.record.phase is RolloutPhase.STEP


def test_a_mirror_step_copies_and_gives_no_share() -> None:
    """Nobody gets the canary's answers."""
    scene = Scene(plan=MIRROR_PLAN)
    scene.to_step()

    division = scene.record.division

    assert scene.weights == {7: WHOLE}
    assert division is not None
    assert division.mirror is not None
    assert (division.mirror.version, division.mirror.share) == (8, WHOLE)


def test_a_changed_plan_counts_from_the_next_rollout() -> None:
    """Steps do not move under a canary."""
    scene = Scene()
    scene.to_step()
    scene.plan = with_steps(RolloutStep(weight=9000, bake_s=1.0))

    scene.look(10.0, GOOD)

    assert scene.weights == {7: 9500, 8: 500}
    assert scene.record.plan == PLAN


@pytest.mark.parametrize("phase", [RolloutPhase.STEP, RolloutPhase.PAUSED])
def test_a_removed_plan_aborts_the_rollout(phase: RolloutPhase) -> None:
    """The canary does not take over only because nobody watches it any more."""
    scene = Scene()
    scene.to(phase)
    scene.plan = None

    scene.look(1.0)
    assert scene.weights == {7: WHOLE}
    scene.look(1.0)
    scene.look(1.0)

    assert scene.record.phase is RolloutPhase.IDLE
    assert "its plan was removed" in scene.record.rejected[8].reason
    assert scene.weights == {7: WHOLE}


def test_a_promotion_is_finished_without_a_plan() -> None:
    """Every router gets one and the same version."""
    scene = Scene()
    scene.to(RolloutPhase.PROMOTING)
    scene.plan = None

    scene.look(1.0)
    scene.look(1.0)
    scene.look(1.0)

    assert scene.record.phase is RolloutPhase.IDLE
    assert "rollout_promoted" in scene.names


def test_a_lost_stable_version_is_followed_by_a_canary_that_has_shown_something() -> None:
    """Its directory was deleted, and then its last replica died: a step with traffic counts as proof."""
    scene = Scene()
    scene.to_step(1)
    del scene.stored[7]
    scene.look(5.0)
    assert scene.record.phase is RolloutPhase.STEP

    scene.available.discard(7)
    scene.look(1.0)
    assert scene.weights == {8: WHOLE}
    scene.look(31.0)

    assert scene.record.phase is RolloutPhase.PROMOTING
    assert "rollout_stable_lost" in scene.names


@pytest.mark.parametrize("phase", [RolloutPhase.STEP, RolloutPhase.LOADING])
def test_a_canary_without_proof_serves_in_place_of_a_lost_version_and_a_person_decides(phase: RolloutPhase) -> None:
    """Nobody gets a 404 while a version is loaded; when stable is back, the rollout goes on."""
    scene = Scene()
    scene.to(phase)
    del scene.stored[7]
    scene.available = {8}
    scene.look(1.0)
    scene.look(31.0)

    assert (scene.record.phase, scene.record.pause_cause) == (RolloutPhase.PAUSED, PauseCause.STABLE_LOST)
    assert scene.weights == {8: WHOLE}
    assert scene.names.count("rollout_stable_lost") == 1
    scene.look(100.0)
    assert scene.names.count("rollout_stable_lost") == 1

    scene.stored[7] = "f7"
    scene.available.add(7)
    scene.look(1.0)
    assert scene.record.phase is phase


def test_nothing_is_rolled_back_to_a_lost_version() -> None:
    """The canary goes on serving; when stable is back, it is turned down."""
    scene = Scene()
    scene.to_step()
    scene.look(10.0, BAD)
    del scene.stored[7]
    scene.available.discard(7)

    scene.look(1.0)
    scene.look(31.0)
    assert (scene.record.phase, scene.record.pause_cause) == (RolloutPhase.PAUSED, PauseCause.STABLE_LOST)
    assert scene.weights == {8: WHOLE}

    scene.stored[7] = "f7"
    scene.available.add(7)
    scene.look(1.0)
    assert scene.record.phase is RolloutPhase.ROLLING_BACK
    scene.look(1.0)
    assert "server_errors" in scene.record.rejected[8].reason


def test_two_lost_versions_do_not_keep_a_third_from_serving() -> None:
    """The rollout ends, and the newest version begins anew."""
    scene = Scene()
    scene.to(RolloutPhase.PROMOTING)
    scene.stored = {9: "f9"}
    scene.available.clear()

    for _ in range(10):
        scene.look(31.0)
        scene.available |= {9} if scene.record.stable == 0 else set()

    assert scene.record.stable == 9
    assert scene.weights == {9: WHOLE}


def test_two_lost_versions_in_a_rollback_window_do_not_keep_a_third_from_serving() -> None:
    """The window would never end: nothing is left to go back to, and the promoted version does not answer."""
    scene = Scene()
    scene.to(RolloutPhase.PROMOTED)
    scene.available.clear()
    scene.stored = {9: "f9"}

    for _ in range(10):
        scene.look(20.0)
    scene.available = {9}
    scene.look()

    assert (scene.record.phase, scene.record.stable) == (RolloutPhase.IDLE, 9)


def test_a_promoted_version_that_breaks_down_is_taken_back_within_the_window() -> None:
    """The old one is still loaded."""
    scene = Scene()
    scene.to(RolloutPhase.PROMOTED)
    scene.gone_s = {8: 31.0}

    scene.look(1.0)

    assert (scene.record.phase, scene.record.stable) == (RolloutPhase.ROLLING_BACK, 7)
    assert scene.weights == {7: WHOLE}


@pytest.mark.parametrize(
    ("answer", "phase"), [(OnNewVersion.REPLACE, RolloutPhase.IDLE), (OnNewVersion.QUEUE, RolloutPhase.PROMOTED)]
)
def test_a_newer_version_ends_the_rollback_window_or_waits_for_its_end(
    answer: OnNewVersion, phase: RolloutPhase
) -> None:
    """As the plan says of newer versions."""
    scene = Scene(plan=replace(PLAN, on_new_version=answer))
    scene.to(RolloutPhase.PROMOTED)
    scene.stored[9] = "f9"

    scene.look(1.0)

    assert scene.record.phase is phase


def test_labels_of_the_plan_move_with_the_traffic() -> None:
    """`canary` is the candidate from its first step on, `stable` moves in the table that moves all requests."""
    scene = Scene(plan=replace(PLAN, labels={"stable": True, "canary": True}))
    scene.to(RolloutPhase.LOADING)
    assert scene.record.labels == {"stable": 7, "canary": 7}

    scene.available.add(8)
    scene.to_step()
    assert scene.record.labels == {"stable": 7, "canary": 8}

    scene.order(OrderVerb.PROMOTE, is_full=True)
    assert scene.weights == {8: WHOLE}
    assert scene.record.labels == {"stable": 8, "canary": 8}


def test_a_declared_label_is_not_moved() -> None:
    """What an operator pins stays where it is."""
    scene = Scene(plan=replace(PLAN, labels={"stable": True, "canary": True}), labels={"stable": 7})

    scene.to_step()

    assert scene.record.labels == {"canary": 8}


def test_the_generation_rises_with_changes_and_not_with_clocks() -> None:
    """Whoever compares before he orders, or stores each generation, is not disturbed by seconds."""
    scene = Scene()
    scene.to_step()
    generation = scene.record.generation

    scene.look(10.0, GOOD)
    assert scene.record.generation == generation

    scene.look(10.0, BAD)
    assert scene.record.generation == generation + 1


def test_happenings_are_kept_up_to_a_number() -> None:
    """A record stays small."""
    scene = Scene()

    for version in range(9, 100):
        scene.stored[version] = "f"
        scene.look(1.0)
        scene.look(1.0)

    assert len(scene.record.happenings) == 50
    assert len(scene.told) > 50
    assert scene.record.happenings == tuple(scene.told[-50:])


def test_the_salt_of_sticky_choices_is_that_of_the_rollout() -> None:
    """The same through all steps, and another one for the next rollout: not always the same people are asked."""
    scene = Scene(settings=replace(Scene().settings, stickiness="x-user"))
    scene.to_step(0)
    first = scene.record.division
    scene.to_step(1)
    second = scene.record.division
    scene.order(OrderVerb.ABORT)
    scene.look(1.0)
    scene.order(OrderVerb.RETRY)
    scene.to_step(0)
    third = scene.record.division

    assert first is not None
    assert second is not None
    assert third is not None
    assert first.salt == second.salt != third.salt
    assert {first.header, second.header, third.header} == {"x-user"}


def test_one_look_makes_at_most_one_transition() -> None:
    """So every state of the record can be stored before what follows from it."""
    scene = Scene(plan=replace(PLAN, steps=(RolloutStep(weight=500, bake_s=0.0, min_requests=0),)))
    phases = [scene.look(1.0).phase for _ in range(4)]

    assert phases == [RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PROMOTING, RolloutPhase.PROMOTED]


def test_a_window_without_the_canary_proves_nothing() -> None:
    """Only requests of the canary count as those that a step needs."""
    scene = Scene(plan=replace(PLAN, analysis=replace(ANALYSIS, min_requests=1)))
    scene.to_step()

    for _ in range(7):
        scene.look(10.0, ArmWindow(tally(1000), tally(0), share=0.05))

    assert (scene.record.phase, scene.record.pause_cause) == (RolloutPhase.PAUSED, PauseCause.INCONCLUSIVE)


def test_requests_of_a_step_begin_anew_when_the_share_comes_back() -> None:
    """The canary is cold again: its first windows do not count, as at the beginning of the step."""
    scene = Scene(plan=replace(PLAN, analysis=replace(ANALYSIS, initial_delay_s=20.0)))
    scene.to_step()
    for _ in range(4):
        scene.look(10.0, GOOD)
    assert scene.record.analysis.step_requests > 0

    scene.gone_s = {8: 5.0}
    scene.look(1.0)
    scene.gone_s = {}
    scene.look(1.0)

    assert (scene.record.analysis.step_requests, scene.record.analysis.delay_left_s) == (0, 20.0)


@pytest.mark.parametrize(("header", "unit"), [("", "requests"), ("x-user", "keys")])
def test_what_is_sticky_is_judged_by_keys(header: str, unit: str) -> None:
    """Ten errors of one user are one event."""
    scene = Scene(settings=replace(Scene().settings, stickiness=header))

    scene.to_step()

    assert scene.record.analysis.unit == unit
