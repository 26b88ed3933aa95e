"""Tests of which versions stay loaded, and of a division on a table with some routes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import NO_RECORD, Rejection, RolloutPhase
from core.delivery.split import WHOLE, Division, MirrorOrder, MirrorSettings
from core.rollouts.holding import Holding, division_of, holding_of
from tests.support.rollout_scene import Scene


def holding(scene: Scene) -> Holding:
    """Return what is held in a scene."""
    return holding_of(scene.record, scene.sight(), scene.in_force)


@pytest.mark.parametrize(
    ("phase", "keep"),
    [
        (RolloutPhase.LOADING, {7, 8}),
        (RolloutPhase.STEP, {7, 8}),
        (RolloutPhase.PAUSED, {7, 8}),
        (RolloutPhase.PROMOTING, {7, 8}),
        (RolloutPhase.PROMOTED, {7, 8}),
        (RolloutPhase.ROLLING_BACK, {7, 8}),
    ],
)
def test_both_versions_of_a_rollout_stay_loaded_until_it_is_over(phase: RolloutPhase, keep: set[int]) -> None:
    """The policy `latest` alone would drop the old one as soon as the new one answers."""
    scene = Scene()
    scene.to(phase)

    assert holding(scene) == Holding(frozenset(keep))


def test_a_rejected_version_is_not_the_latest() -> None:
    """The policy is not offered it, and turns to no other that was passed over."""
    scene = Scene(
        record=replace(Scene().record, rejected={9: Rejection("bad", "f9")}), stored={7: "f7", 8: "f8", 9: "f9"}
    )

    assert holding(scene) == Holding(frozenset({7}), frozenset({8, 9}))


def test_versions_that_the_policy_wants_by_itself_are_not_avoided() -> None:
    """`all` and `specific` name them: they are loaded, without traffic."""
    scene = Scene(
        record=replace(Scene().record, rejected={9: Rejection("bad", "f9")}),
        stored={7: "f7", 8: "f8", 9: "f9"},
        chosen=frozenset({7, 8, 9}),
    )

    assert holding(scene).avoid == {9}


def test_a_version_that_waits_is_not_loaded() -> None:
    """There may be no room for a third one."""
    scene = Scene(stored={8: "f8"})
    scene.look()

    assert holding(scene) == Holding(frozenset({7}), frozenset({8}))


def test_a_stable_version_without_a_directory_stays_loaded() -> None:
    """It runs, and there is nothing else."""
    scene = Scene(stored={}, available={7})
    scene.look()

    assert 7 in holding(scene).keep


def test_versions_with_fixed_shares_are_loaded_as_far_as_there_are_any() -> None:
    """Whatever the policy says of them."""
    settings = DeliverySettings(
        traffic={"7": 9000, "99": 1000}, label_traffic={"beta": {"5": WHOLE}}, mirror=MirrorSettings("6")
    )
    scene = Scene(record=NO_RECORD, plan=None, settings=settings)
    scene.stored |= {5: "f5", 6: "f6"}

    assert holding(scene) == Holding(frozenset({5, 6, 7}))


def test_what_stands_in_for_stable_is_not_unloaded() -> None:
    """It answers all requests."""
    scene = Scene(available={6})
    scene.look()

    assert scene.weights == {6: WHOLE}
    assert 6 in holding(scene).keep


def test_a_division_has_no_shares_without_routes() -> None:
    """The table is made a moment later than the record."""
    division = Division(
        ((7, 9000), (8, 1000)),
        3,
        mirror=MirrorOrder(9, WHOLE),
        labels={"beta": ((8, WHOLE),), "both": ((7, 5000), (8, 5000))},
    )
    record = replace(NO_RECORD, division=division)

    assert division_of(record, frozenset({7, 8, 9})) == division
    assert division_of(record, frozenset({7})) == Division(((7, WHOLE),), 3, labels={"both": ((7, WHOLE),)})
    assert division_of(record, frozenset()) is None
    assert division_of(NO_RECORD, frozenset({7})) is None
