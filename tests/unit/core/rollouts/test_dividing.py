"""Tests of how requests are divided: by settings and orders, and while versions are missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.plan import DeliverySettings, RolloutPlan, RolloutStep
from core.delivery.rollout_record import NO_RECORD, Rejection
from core.delivery.split import WHOLE, MirrorSettings
from core.rollouts.dividing import effective_step
from tests.support.rollout_scene import Scene

TRAFFIC = {"7": 9000, "8": 1000}


def without_plan(**settings: object) -> Scene:
    """Return a model without a plan whose settings are fixed."""
    scene = Scene(record=NO_RECORD, plan=None, settings=DeliverySettings(**settings))  # type: ignore[arg-type] # fields
    scene.look()
    return scene


@pytest.mark.parametrize(
    ("available", "weights"),
    [
        ({7, 8}, {7: 9000, 8: 1000}),
        ({7}, {7: WHOLE}),
        ({8}, {8: WHOLE}),
        (set(), {}),
        ({6}, {}),
    ],
)
def test_fixed_shares_are_of_versions_that_answer(available: set[int], weights: dict[int, int]) -> None:
    """The first of them takes what is of others."""
    scene = without_plan(traffic=TRAFFIC)
    scene.available = available

    scene.look()

    assert scene.weights == weights


def test_the_oldest_version_is_the_one_that_others_diverge_from() -> None:
    """However the file lists them."""
    scene = without_plan(traffic={"8": 1000, "7": 9000})

    assert scene.record.division is not None
    assert scene.record.division.stable == 7


def test_shares_of_labels_move_with_them() -> None:
    """A label that names nothing leaves its share to the first."""
    scene = without_plan(traffic={"blue": 9000, "green": 1000})
    assert scene.weights == {}

    scene.labels = {"blue": 7}
    scene.look()
    assert scene.weights == {7: WHOLE}

    scene.labels = {"blue": 7, "green": 8}
    scene.look()
    assert scene.weights == {7: 9000, 8: 1000}


def test_a_share_of_nothing_keeps_a_version_ready() -> None:
    """It gets no requests."""
    scene = without_plan(traffic={"7": WHOLE, "8": 0})

    assert scene.weights == {7: WHOLE}


def test_requests_by_a_label_have_shares_of_their_own() -> None:
    """Those without label go to the newest, as ever."""
    scene = without_plan(label_traffic={"beta": {"7": 5000, "8": 5000}})

    division = scene.record.division
    assert division is not None
    assert division.labels == {"beta": ((7, 5000), (8, 5000))}
    assert division.weights == ((8, WHOLE),)
    assert division.is_counted


def test_a_mirror_does_not_choose_who_answers() -> None:
    """The newest version answers, and gets copies of its own requests here."""
    scene = without_plan(mirror=MirrorSettings("8", 1000, 4))

    division = scene.record.division
    assert division is not None
    assert division.mirror is not None
    assert (division.mirror.version, division.mirror.share, division.mirror.max_in_flight) == (8, 1000, 4)
    assert division.weights == ((8, WHOLE),)


@pytest.mark.parametrize("mirror", [MirrorSettings("9"), MirrorSettings("nolabel")])
def test_a_mirror_to_nothing_is_none(mirror: MirrorSettings) -> None:
    """Until the version answers."""
    scene = without_plan(mirror=mirror)

    assert scene.record.division is None


def test_only_what_is_chosen_by_a_key_is_sticky() -> None:
    """One version for all needs neither salt nor header."""
    assert (without_plan(traffic=TRAFFIC, stickiness="x-user").record.division or None) is not None
    division = without_plan(traffic=TRAFFIC, stickiness="x-user").record.division
    assert division is not None
    assert (division.header, division.salt) == ("x-user", "m/traffic")

    one = without_plan(traffic={"7": WHOLE}, stickiness="x-user").record.division
    assert one is not None
    assert (one.header, one.salt) == ("", "")


def test_another_division_has_a_higher_epoch_and_the_same_one_keeps_it() -> None:
    """Counts of different shares must not be added up."""
    scene = without_plan(traffic=TRAFFIC)
    epoch = scene.record.epoch
    scene.look(10.0)
    assert scene.record.epoch == epoch

    scene.settings = DeliverySettings(traffic={"7": 8000, "8": 2000})
    scene.look()
    assert scene.record.epoch == epoch + 1

    scene.settings = DeliverySettings()
    scene.look()
    assert scene.record.division is None
    assert scene.record.epoch == epoch + 2


def test_a_rejected_version_answers_only_if_nothing_else_does() -> None:
    """Nobody gets a 404 while a version is loaded."""
    rejected = {8: Rejection("bad", "f8")}
    scene = Scene(record=replace(Scene().record, rejected=rejected), available={6, 8})
    scene.look()
    assert scene.weights == {6: WHOLE}

    scene.available = {8}
    scene.look()
    assert scene.weights == {8: WHOLE}


def test_a_pause_has_the_shares_of_the_step_before_it() -> None:
    """The first step has none before it."""
    first, pause = RolloutStep(weight=500), RolloutStep(pause_s=1.0)
    plan = RolloutPlan((pause, first, pause, pause))

    assert [effective_step(plan, step) for step in range(4)] == [RolloutStep(), first, first, first]
