"""Tests of the orders of people: each in each phase, and what it takes to force one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.delivery.plan import OnFailure, RolloutStep
from core.delivery.rollout_record import NO_RECORD, PauseCause, Rejection, RolloutPhase
from core.delivery.split import WHOLE, MirrorSettings
from core.errors import Aborted, FailedPrecondition, InvalidArgument
from core.rollouts.holding import holding_of
from core.rollouts.orders import OrderVerb, change_problem
from tests.support.rollout_scene import BAD, FEW, GOOD, PLAN, Scene

IDLE, LOADING, STEP, PAUSED = RolloutPhase.IDLE, RolloutPhase.LOADING, RolloutPhase.STEP, RolloutPhase.PAUSED
PROMOTING, PROMOTED, BACK = RolloutPhase.PROMOTING, RolloutPhase.PROMOTED, RolloutPhase.ROLLING_BACK
NOTHING = "nothing"
REFUSED = "refused"
TABLE: dict[OrderVerb, dict[RolloutPhase, RolloutPhase | str]] = {
    OrderVerb.START: {IDLE: LOADING, PROMOTED: REFUSED},
    OrderVerb.PAUSE: {LOADING: PAUSED, STEP: PAUSED, PAUSED: NOTHING},
    OrderVerb.RESUME: {LOADING: NOTHING, STEP: NOTHING, PAUSED: STEP},
    OrderVerb.PROMOTE: {STEP: STEP, PAUSED: STEP, PROMOTING: NOTHING, PROMOTED: NOTHING},
    OrderVerb.ABORT: {LOADING: IDLE, STEP: BACK, PAUSED: BACK, PROMOTING: BACK, BACK: NOTHING},
    OrderVerb.UNDO: {PROMOTED: BACK, BACK: NOTHING},
    OrderVerb.RETRY: {},
    OrderVerb.TRAFFIC: dict.fromkeys(RolloutPhase, NOTHING),
    OrderVerb.MIRROR: {IDLE: NOTHING, PROMOTED: NOTHING},
}
ALL = [(verb, phase, TABLE[verb].get(phase, REFUSED)) for verb in OrderVerb for phase in RolloutPhase]


@pytest.mark.parametrize(("verb", "phase", "outcome"), ALL)
def test_every_order_in_every_phase_acts_or_does_nothing_or_is_refused(
    verb: OrderVerb, phase: RolloutPhase, outcome: RolloutPhase | str
) -> None:
    """None does anything else, in particular not to a model without a rollout (argo-rollouts #1292)."""
    scene = Scene()
    scene.to(phase)
    before = scene.record

    if outcome == REFUSED:
        with pytest.raises(FailedPrecondition) as refused:
            scene.order(verb)
        assert len(str(refused.value)) > 20
    else:
        scene.order(verb)

    assert scene.record.phase is (outcome if isinstance(outcome, RolloutPhase) else phase)
    assert (scene.record == before) is (outcome in {NOTHING, REFUSED})


def test_an_order_for_another_generation_is_refused() -> None:
    """Somebody else was first: compare and set."""
    scene = Scene()
    scene.to(STEP)
    generation = scene.record.generation

    with pytest.raises(Aborted, match=f"this is generation {generation}"):
        scene.order(OrderVerb.ABORT, generation=generation - 1)
    scene.order(OrderVerb.ABORT, generation=generation)

    assert scene.record.phase is BACK


@pytest.mark.parametrize(
    ("fields", "order", "message"),
    [
        ({"plan": None}, {}, "has no rollout plan"),
        ({"record": NO_RECORD}, {}, "No version is stable yet"),
        ({"stored": {7: "f7"}}, {}, "chooses no version that is newer than 7"),
        ({}, {"version": 7}, "Version 7 is stable already"),
        ({}, {"version": 99}, "Version 99 is not complete on storage"),
        ({"stored": {8: "f8"}}, {}, "not complete on storage"),
        ({"available": {8}}, {}, "does not answer"),
    ],
)
def test_a_start_says_why_it_is_not_possible(fields: dict[str, Any], order: dict[str, Any], message: str) -> None:
    """And nothing changes."""
    scene = Scene(**fields)

    with pytest.raises(FailedPrecondition, match=message):
        scene.order(OrderVerb.START, **order)


@pytest.mark.parametrize("version", [0, 8])
def test_a_rejected_version_needs_a_retry_and_not_a_start(version: int) -> None:
    """The reason is in the text."""
    scene = Scene(record=replace(Scene().record, rejected={8: Rejection("too slow", "f8")}))

    with pytest.raises(FailedPrecondition, match=r"rejected.*use retry"):
        scene.order(OrderVerb.START, version=version)
    scene.order(OrderVerb.RETRY, version=version)

    assert scene.record.phase is LOADING
    assert scene.record.rejected == {}


def test_a_retry_of_a_version_that_was_not_rejected_is_refused() -> None:
    """A typing error would start another rollout."""
    with pytest.raises(FailedPrecondition, match="Version 8 was not rejected"):
        Scene().order(OrderVerb.RETRY, version=8)


def test_a_start_with_a_version_takes_that_one() -> None:
    """It need not be the newest."""
    scene = Scene(stored={7: "f7", 8: "f8", 9: "f9"})

    scene.order(OrderVerb.START, version=8)

    assert scene.record.canary == 8


def test_a_start_closes_the_rollback_window() -> None:
    """The next version is there, and the one before is not needed any more."""
    scene = Scene()
    scene.to(PROMOTED)
    scene.stored[9] = "f9"

    scene.order(OrderVerb.START)

    assert (scene.record.phase, scene.record.canary, scene.record.previous) == (LOADING, 9, 0)


def test_a_forced_start_skips_the_comparison_of_signatures() -> None:
    """Whoever forces it knows."""
    scene = Scene(signature_problems=("input x is missing",))

    scene.order(OrderVerb.START, is_forced=True)
    scene.look()

    assert scene.record.phase is STEP


def test_a_bake_goes_on_where_it_was_paused() -> None:
    """Hours of a pause are no bake."""
    scene = Scene()
    scene.to(STEP)
    scene.look(20.0, GOOD)
    baked_s = scene.record.baked_s

    scene.order(OrderVerb.PAUSE)
    scene.look(7200.0, GOOD)
    scene.order(OrderVerb.RESUME)

    assert scene.record.baked_s == baked_s
    assert scene.record.phase is STEP


def test_a_pause_while_loading_keeps_the_canary_from_its_first_step() -> None:
    """It is loaded, and has no share."""
    scene = Scene()
    scene.to(LOADING)
    scene.order(OrderVerb.PAUSE)
    scene.available.add(8)

    scene.look()
    assert scene.weights == {7: WHOLE}

    scene.order(OrderVerb.RESUME)
    assert scene.record.phase is LOADING
    scene.look()
    assert scene.record.phase is STEP


def test_a_pause_takes_over_the_plans_pause() -> None:
    """It does not end by itself any more; resuming goes on with the plan."""
    scene = Scene(plan=replace(PLAN, steps=(RolloutStep(pause_s=10.0), RolloutStep(weight=500, bake_s=60.0))))
    scene.look()
    scene.look()

    scene.order(OrderVerb.PAUSE)
    scene.look(1000.0)
    assert (scene.record.phase, scene.record.paused_by) == (PAUSED, "ann")

    scene.order(OrderVerb.RESUME)
    assert (scene.record.phase, scene.record.step) == (STEP, 1)


def test_a_resumed_inconclusive_step_bakes_once_more() -> None:
    """Otherwise it would be paused again at once."""
    scene = Scene()
    scene.to(STEP)
    while scene.record.phase is STEP:
        scene.look(10.0, FEW)

    scene.order(OrderVerb.RESUME)
    scene.look(10.0, GOOD)
    assert (scene.record.phase, scene.record.step) == (STEP, 0)

    for _ in range(6):
        scene.look(10.0, GOOD)
    assert scene.record.step == 1


def test_a_promote_goes_one_step_and_full_goes_to_the_end() -> None:
    """Without waiting for the bake."""
    scene = Scene()
    scene.to(STEP)

    scene.order(OrderVerb.PROMOTE)
    assert scene.weights == {7: 5000, 8: 5000}
    scene.order(OrderVerb.PROMOTE)
    assert scene.record.phase is PROMOTING

    other = Scene()
    other.to(STEP)
    other.order(OrderVerb.PROMOTE, is_full=True)
    assert other.weights == {8: WHOLE}


def test_a_canary_that_does_not_answer_is_not_promoted() -> None:
    """Its callers would get errors."""
    scene = Scene()
    scene.to(STEP)
    scene.available.discard(8)

    with pytest.raises(FailedPrecondition, match="Version 8 does not answer at every router"):
        scene.order(OrderVerb.PROMOTE)


@pytest.mark.parametrize("verb", [OrderVerb.RESUME, OrderVerb.PROMOTE])
def test_a_failed_canary_goes_on_only_by_force(verb: OrderVerb) -> None:
    """The evidence is forgotten then: it would stop it at the next look."""
    scene = Scene(plan=replace(PLAN, on_failure=OnFailure.PAUSE))
    scene.to(STEP)
    scene.look(10.0, BAD)
    assert scene.record.pause_cause is PauseCause.FAILED

    with pytest.raises(FailedPrecondition, match=r"server_errors: 90 of 100.*--force"):
        scene.order(verb)
    scene.order(verb, is_forced=True)
    scene.look(10.0, GOOD)

    assert scene.record.phase is STEP


@pytest.mark.parametrize("verb", [OrderVerb.ABORT, OrderVerb.RESUME])
def test_there_is_no_going_back_to_a_lost_version(verb: OrderVerb) -> None:
    """The text says what can be done."""
    scene = Scene()
    scene.to(STEP)
    del scene.stored[7]
    scene.available = {8}
    scene.look(1.0)
    scene.look(31.0)

    with pytest.raises(FailedPrecondition, match="promote --full makes version 8 stable"):
        scene.order(verb)
    scene.order(OrderVerb.PROMOTE, is_full=True)
    scene.look()

    assert (scene.record.phase, scene.record.stable) == (PROMOTED, 8)


def test_what_was_being_rolled_back_is_promoted_only_by_force() -> None:
    """Stable was lost on the way back."""
    scene = Scene()
    scene.to(STEP)
    scene.look(10.0, BAD)
    del scene.stored[7]
    scene.available = {8}
    scene.look(1.0)
    scene.look(31.0)

    with pytest.raises(FailedPrecondition, match="Version 8 was being rolled back"):
        scene.order(OrderVerb.PROMOTE, is_full=True)
    scene.order(OrderVerb.PROMOTE, is_full=True, is_forced=True)

    assert scene.record.phase is PROMOTING


def test_an_abort_takes_the_share_before_it_rejects() -> None:
    """And says by whom."""
    scene = Scene()
    scene.to(STEP)

    scene.order(OrderVerb.ABORT)
    assert scene.weights == {7: WHOLE}
    assert scene.record.canary == 8
    scene.look()

    assert scene.record.rejected[8].reason == "aborted by ann"
    assert scene.names[-1] == "rollout_aborted"


def test_an_abort_while_the_canary_stands_in_for_stable_waits_for_stable() -> None:
    """It serves, although it is only being loaded: it goes when somebody else answers."""
    scene = Scene()
    scene.to(LOADING)
    scene.available = {8}

    scene.order(OrderVerb.ABORT)
    scene.look()
    assert scene.record.phase is BACK
    assert scene.weights == {8: WHOLE}

    scene.available = {7, 8}
    scene.look()
    scene.look()
    assert scene.record.phase is IDLE


def test_an_undo_goes_back_without_steps() -> None:
    """The old version is loaded until the window is over; the new one is rejected."""
    scene = Scene()
    scene.to(PROMOTED)

    scene.order(OrderVerb.UNDO)
    assert scene.weights == {7: WHOLE}
    scene.look()

    assert (scene.record.phase, scene.record.stable) == (IDLE, 7)
    assert scene.record.rejected[8].reason == "undone by ann"
    assert scene.record.rejected[8].fingerprint == "f8"
    scene.look()
    assert scene.record.phase is IDLE


def test_an_undo_needs_the_version_before() -> None:
    """It may have died in the meantime."""
    scene = Scene()
    scene.to(PROMOTED)
    scene.available = {8}

    with pytest.raises(FailedPrecondition, match="Version 7, which was stable before, does not answer any more"):
        scene.order(OrderVerb.UNDO)


@pytest.mark.parametrize(("phase", "touched"), [(IDLE, False), (STEP, True), (PROMOTED, True)])
def test_labels_of_versions_in_a_rollout_are_not_moved_under_it(phase: RolloutPhase, touched: bool) -> None:  # noqa: FBT001 # a column of the table
    """Of other versions they may be."""
    scene = Scene()
    scene.to(phase)

    assert bool(change_problem(scene.record, frozenset({7}))) is touched
    assert change_problem(scene.record, frozenset({3})) == ""


def test_fixed_traffic_with_a_plan_needs_force_and_suspends_it() -> None:
    """A running rollout is aborted, and no other one begins until the order is ended."""
    scene = Scene()
    scene.to(STEP)
    with pytest.raises(FailedPrecondition, match="divided by its rollout plan"):
        scene.order(OrderVerb.TRAFFIC, traffic=(("7", 9000), ("8", 1000)))

    scene.order(OrderVerb.TRAFFIC, traffic=(("7", 9000), ("8", 1000)), is_forced=True)
    assert scene.weights == {7: WHOLE}
    scene.look()
    scene.look()
    assert scene.record.phase is IDLE
    assert scene.weights == {7: 9000, 8: 1000}
    assert scene.record.rejected == {}
    assert "the traffic is fixed by an order" in scene.record.reason

    scene.order(OrderVerb.TRAFFIC)
    scene.look()
    assert scene.record.phase is LOADING


def test_fixed_traffic_closes_the_rollback_window() -> None:
    """The version before is loaded only if it has a share."""
    scene = Scene()
    scene.to(PROMOTED)

    scene.order(OrderVerb.TRAFFIC, traffic=(("8", WHOLE),), is_forced=True)

    assert (scene.record.phase, scene.record.previous) == (IDLE, 0)


def test_a_mirror_of_stable_against_itself_is_there_until_a_rollout_has_its_own() -> None:
    """It shows how much two answers of one version differ."""
    scene = Scene(stored={7: "f7"}, available={7})
    scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("7", 1000))
    assert scene.record.division is not None
    assert scene.record.division.mirror is not None

    scene.stored[8] = "f8"
    scene.look()
    assert scene.record.phase is LOADING
    assert scene.record.division.mirror is None


@pytest.mark.parametrize("text", ["nolabel", "99", "", "0", "9" * 5000])
def test_a_version_that_is_nowhere_is_refused(text: str) -> None:
    """A typing error would take the traffic away."""
    with pytest.raises(InvalidArgument):
        Scene(plan=None).order(OrderVerb.TRAFFIC, traffic=((text, WHOLE),))
    with pytest.raises(InvalidArgument):
        Scene(plan=None).order(OrderVerb.MIRROR, mirror=MirrorSettings(text, 100))


def test_a_retry_loads_once_more_what_could_not_be_loaded() -> None:
    """The old failure does not count against it, the next one does."""
    scene = Scene()
    scene.to(LOADING)
    scene.failed[8] = "no space"
    scene.look()
    assert scene.record.rejected[8].reason == "could not be loaded: no space"

    scene.order(OrderVerb.RETRY)
    scene.look()
    assert scene.record.phase is LOADING
    assert holding_of(scene.record, scene.sight(), scene.in_force).again == {8}

    scene.failed.clear()
    scene.look()
    assert holding_of(scene.record, scene.sight(), scene.in_force).again == frozenset()
    scene.failed[8] = "no space either"
    scene.look()
    assert scene.record.rejected[8].reason == "could not be loaded: no space either"


def test_a_retried_version_is_not_blamed_for_having_been_unloaded() -> None:
    """It has had no replica since then."""
    scene = Scene(record=replace(Scene().record, rejected={8: Rejection("bad", "f8")}), available={7}, gone_s={8: 1e4})

    scene.order(OrderVerb.RETRY)
    scene.look()
    assert scene.record.phase is LOADING

    scene.available, scene.gone_s = {7, 8}, {}
    scene.look()
    assert scene.record.phase is STEP
