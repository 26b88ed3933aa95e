"""Tests of what a look means while no rollout runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.rollout_record import NO_RECORD, Rejection, RolloutPhase
from core.delivery.split import WHOLE
from core.rollouts.orders import OrderVerb
from tests.support.rollout_scene import GOOD, Scene

REJECTED = {8: Rejection("bad", "f8", 1.0)}


def at_rest(**fields: object) -> Scene:
    """Return a scene in which version 7 is stable and nothing newer is on storage."""
    scene = Scene(**fields)  # type: ignore[arg-type] # whatever a scene has
    if "stored" not in fields:
        scene.stored = {7: "f7"}
        scene.available = {7}
    return scene


def test_the_first_version_is_served_at_once_and_that_is_said() -> None:
    """There is nothing to compare it with."""
    scene = Scene(record=NO_RECORD, available=set())
    scene.look()
    assert scene.record.stable == 0
    assert scene.record.division is None

    scene.available = {8}
    scene.look()

    assert scene.record.stable == 8
    assert scene.told[-1].text == "version 8 is stable: nothing is known of an earlier one"


def test_the_first_version_is_the_newest_and_not_the_fastest() -> None:
    """While a newer one loads, none is stable."""
    scene = Scene(record=NO_RECORD, available={7}, chosen=frozenset({7, 8}))
    scene.look()
    assert scene.record.stable == 0

    scene.failed[8] = "broken"
    scene.look()
    assert scene.record.stable == 7


def test_the_label_stable_names_the_first_version() -> None:
    """A start without a record has a baseline by that, and the newest has to earn its traffic."""
    scene = Scene(record=NO_RECORD, available=set(), labels={"stable": 7})

    scene.look()
    assert scene.record.stable == 7
    scene.available = {7, 8}
    scene.look()

    assert (scene.record.phase, scene.record.canary) == (RolloutPhase.LOADING, 8)
    assert scene.told[0].text == "version 7 is stable: the label `stable` names it"


def test_a_label_of_a_version_that_is_nowhere_names_no_first_one() -> None:
    """The newest is served as without it."""
    scene = Scene(record=NO_RECORD, labels={"stable": 3})

    scene.look()

    assert scene.record.stable == 8


def test_a_rejected_version_does_not_begin_again() -> None:
    """Unversioned requests stay with stable although a higher number is on storage (kserve #2130)."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED))

    for _ in range(5):
        scene.look()

    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.weights == {7: WHOLE}


def test_other_files_are_another_chance() -> None:
    """A rejection is of the directory as it was; what is loaded of it must go first."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED))
    scene.stored[8] = "repaired"

    scene.look()
    assert scene.record.phase is RolloutPhase.IDLE
    assert "the old ones are still loaded" in scene.record.reason

    scene.available = {7}
    scene.look()
    assert scene.record.phase is RolloutPhase.LOADING
    assert scene.record.rejected == {}


def test_a_newer_version_has_its_own_chance() -> None:
    """What was found against its predecessor is not its own."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED))
    scene.stored[9] = "f9"

    scene.look()

    assert scene.record.canary == 9
    assert scene.record.rejected == REJECTED


def test_a_rollout_does_not_begin_without_the_files_of_stable() -> None:
    """There would be no way back; it is said once, and can be forced."""
    scene = Scene(stored={8: "f8"})

    for _ in range(3):
        scene.look()
    assert (scene.record.phase, scene.record.queued) == (RolloutPhase.IDLE, 8)
    assert scene.names == ["rollout_queued"]
    assert "`rollout start --force` begins all the same" in scene.told[0].text

    scene.order(OrderVerb.START, is_forced=True)
    assert scene.record.phase is RolloutPhase.LOADING


def test_a_rollout_does_not_begin_before_stable_answers() -> None:
    """After a restart of everything, stable is loaded first."""
    scene = Scene(available=set())

    scene.look()
    assert scene.record.queued == 8

    scene.available = {7}
    scene.look()
    assert scene.record.phase is RolloutPhase.LOADING


def test_a_version_that_waits_in_vain_is_forgotten() -> None:
    """It was deleted."""
    scene = Scene(available=set())
    scene.look()
    del scene.stored[8]

    scene.look()

    assert (scene.record.queued, scene.record.reason) == (0, "")


def test_a_stable_version_whose_files_are_gone_goes_on_while_it_runs() -> None:
    """A retention job deletes old versions."""
    scene = at_rest(stored={})
    scene.available = {7}

    for _ in range(5):
        scene.look(100.0)

    assert scene.record.stable == 7
    assert scene.weights == {7: WHOLE}
    assert scene.told == []


def test_another_version_takes_the_place_of_a_lost_one() -> None:
    """After the health grace; the newest that there is."""
    scene = Scene(stored={8: "f8"}, available={8})
    scene.look(29.0)
    assert scene.record.stable == 7
    assert scene.weights == {8: WHOLE}

    scene.look(40.0)
    scene.look(1.0)

    assert scene.record.stable == 8
    assert "rollout_stable_lost" in scene.names


def test_a_lost_version_without_another_is_said_once_and_may_come_back() -> None:
    """Nothing can be done but to wait for its files."""
    scene = at_rest(stored={})
    scene.available = set()

    for _ in range(5):
        scene.look(50.0)
    assert scene.names == ["rollout_stable_lost"]
    assert scene.record.stable == 7

    scene.stored, scene.available = {7: "f7"}, {7}
    scene.look(1.0)
    assert scene.weights == {7: WHOLE}
    assert scene.record.reason == ""


def test_a_moment_without_stable_costs_it_nothing() -> None:
    """It is being loaded again."""
    scene = at_rest()
    scene.available = set()

    for _ in range(5):
        scene.look(1000.0)

    assert scene.record.stable == 7
    assert scene.told == []


def test_an_older_version_that_the_policy_turns_to_takes_the_ordinary_way() -> None:
    """Somebody has changed the policy to go back."""
    scene = Scene(record=replace(Scene().record, stable=8), chosen=frozenset({7}))

    scene.look()

    assert (scene.record.phase, scene.record.canary) == (RolloutPhase.LOADING, 7)


def test_an_older_version_that_is_left_alone_on_storage_is_no_candidate() -> None:
    """Deleting stable's directory does not replace what runs."""
    scene = Scene(record=replace(Scene().record, stable=8), stored={7: "f7"})

    scene.look()

    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.weights == {8: WHOLE}


def test_a_model_without_a_plan_has_an_empty_record() -> None:
    """It costs nothing, and the newest version answers as before."""
    scene = Scene(record=NO_RECORD, plan=None)

    for _ in range(3):
        scene.look(10.0, GOOD)

    assert scene.record == replace(NO_RECORD, is_in_force=True)
    assert scene.told == []


def test_without_a_plan_a_rejected_version_stays_rejected() -> None:
    """Removing the plan is no pardon; a retry is."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED), plan=None)

    scene.look()
    assert scene.weights == {7: WHOLE}

    scene.order(OrderVerb.RETRY)
    scene.look()
    assert scene.record.division is None
    assert scene.record.stable == 0


def test_without_a_plan_a_newer_version_takes_over_as_soon_as_it_answers() -> None:
    """As ever, also where an older one is rejected."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED), plan=None)
    scene.look()
    scene.stored[9] = "f9"
    scene.look()
    assert scene.weights == {7: WHOLE}

    scene.available.add(9)
    scene.look()
    assert scene.weights == {9: WHOLE}


def test_without_a_plan_repaired_files_end_a_rejection() -> None:
    """As with one."""
    scene = Scene(record=replace(Scene().record, rejected=REJECTED), plan=None)
    scene.stored[8] = "repaired"

    scene.look()

    assert scene.record.rejected == {}
    assert scene.record.division is None


@pytest.mark.parametrize("phase", [RolloutPhase.PROMOTED])
def test_a_removed_plan_ends_the_rollback_window(phase: RolloutPhase) -> None:
    """Nobody could undo any more."""
    scene = Scene()
    scene.to(phase)
    scene.plan = None

    scene.look()
    scene.look()

    assert (scene.record.phase, scene.record.previous) == (RolloutPhase.IDLE, 0)


def test_a_lost_version_and_a_removed_plan_leave_the_canary() -> None:
    """It is the only one that answers."""
    scene = Scene()
    scene.to(RolloutPhase.STEP)
    del scene.stored[7]
    scene.available = {8}
    scene.look(1.0)
    scene.look(31.0)
    scene.plan = None

    for _ in range(4):
        scene.look(1.0)

    assert scene.record.phase is RolloutPhase.IDLE
    assert scene.record.rejected == {}
