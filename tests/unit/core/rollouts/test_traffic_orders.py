"""Tests of orders that fix traffic and mirrors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import NO_RECORD, Rejection
from core.delivery.split import WHOLE, MirrorSettings
from core.errors import FailedPrecondition, InvalidArgument
from core.rollouts.orders import OrderVerb
from tests.support.rollout_scene import Scene

HALVES = (("7", 5000), ("8", 5000))


def unplanned(settings: DeliverySettings | None = None) -> Scene:
    """Return a model without a plan."""
    scene = Scene(record=NO_RECORD, plan=None, settings=settings or DeliverySettings())
    scene.look()
    return scene


def test_ordered_shares_are_in_force_at_once_and_told() -> None:
    """With the name of who ordered them."""
    scene = unplanned()

    scene.order(OrderVerb.TRAFFIC, traffic=(("8", 1000), ("7", 9000)))

    assert scene.weights == {7: 9000, 8: 1000}
    assert scene.told[-1].text == "version 7 90 %, version 8 10 %, ordered by ann"


def test_the_same_order_twice_does_nothing() -> None:
    """Neither does the end of what is not ordered."""
    scene = unplanned()
    scene.order(OrderVerb.TRAFFIC, traffic=HALVES)
    scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("7", 1000))
    before = scene.record

    scene.order(OrderVerb.TRAFFIC, traffic=HALVES)
    scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("7", 1000))
    assert scene.record == before

    other = unplanned()
    before = other.record
    other.order(OrderVerb.TRAFFIC)
    other.order(OrderVerb.MIRROR)
    assert other.record == before


def test_an_ended_order_gives_the_traffic_back_to_the_settings() -> None:
    """Or to the newest version."""
    scene = unplanned(DeliverySettings(traffic={"7": WHOLE}))
    scene.order(OrderVerb.TRAFFIC, traffic=HALVES)

    scene.order(OrderVerb.TRAFFIC)

    assert scene.weights == {7: WHOLE}


def test_an_order_counts_until_the_settings_change() -> None:
    """What was said last counts."""
    scene = unplanned(DeliverySettings(traffic={"7": WHOLE}))
    scene.order(OrderVerb.TRAFFIC, traffic=HALVES)
    scene.look()
    assert scene.weights == {7: 5000, 8: 5000}

    scene.settings = DeliverySettings(traffic={"7": 6000, "8": 4000})
    scene.look()

    assert scene.weights == {7: 6000, 8: 4000}
    assert scene.record.fixed_weights == ()
    assert scene.names[-1] == "traffic_changed"


def test_a_mirror_of_the_settings_can_be_ended_until_they_change() -> None:
    """An order without a share is one, too."""
    scene = unplanned(DeliverySettings(mirror=MirrorSettings("8", 1000)))
    assert scene.record.division is not None

    scene.order(OrderVerb.MIRROR)
    scene.look()
    assert scene.record.division is None

    scene.settings = DeliverySettings(mirror=MirrorSettings("8", 2000))
    scene.look()
    assert scene.record.division is not None


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        ((("7", 5000), ("8", 4000)), "they add up to 90 %"),
        ((("7", 11000), ("8", -1000)), "none be below 0"),
        ((("7", 5000), ("007", 5000)), "Two of the shares are of the same version"),
        ((("7", 5000), ("blue", 5000)), "'blue' is neither a version number nor a label of m"),
        ((("7", 5000), ("9", 5000)), "Version 9 of m neither runs nor is complete on storage"),
        (tuple((str(one), 100) for one in range(101)), "at most 100 versions"),
    ],
)
def test_shares_that_cannot_be_are_refused(traffic: tuple[tuple[str, int], ...], message: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidArgument, match=message):
        unplanned().order(OrderVerb.TRAFFIC, traffic=traffic)


def test_a_rejected_version_gets_traffic_only_by_force() -> None:
    """And is not rejected any more then."""
    scene = unplanned()
    scene.record = replace(scene.record, stable=7, rejected={8: Rejection("too slow", "f8")})

    with pytest.raises(FailedPrecondition, match=r"Version 8 was rejected: too slow; --force"):
        scene.order(OrderVerb.TRAFFIC, traffic=HALVES)
    scene.order(OrderVerb.TRAFFIC, traffic=HALVES, is_forced=True)

    assert scene.weights == {7: 5000, 8: 5000}
    assert scene.record.rejected == {}


def test_a_version_has_either_a_share_or_copies() -> None:
    """Copies for the oldest one, from which the others diverge, show the noise."""
    scene = unplanned()
    scene.order(OrderVerb.TRAFFIC, traffic=(("7", 9000), ("8", 1000)))
    with pytest.raises(InvalidArgument, match="Version 8 cannot get both"):
        scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("8"))
    scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("7"))
    scene.order(OrderVerb.TRAFFIC, traffic=(("7", WHOLE),))
    scene.order(OrderVerb.MIRROR, mirror=MirrorSettings("8"))

    with pytest.raises(InvalidArgument, match="Version 8 cannot get both"):
        scene.order(OrderVerb.TRAFFIC, traffic=(("8", 9000), ("7", 1000)))


@pytest.mark.parametrize("mirror", [MirrorSettings("8", WHOLE + 1), MirrorSettings("8", -1), MirrorSettings("8", 1, 0)])
def test_a_mirror_has_bounds(mirror: MirrorSettings) -> None:
    """More than all requests cannot be copied, and nothing can be copied with none in flight."""
    with pytest.raises(InvalidArgument, match="A mirror copies more than 0 and at most 100 %"):
        unplanned().order(OrderVerb.MIRROR, mirror=mirror)


def test_a_label_is_taken_as_the_version_that_it_names_now() -> None:
    """An order does not move with it."""
    scene = unplanned()
    scene.labels = {"blue": 7}
    scene.order(OrderVerb.TRAFFIC, traffic=(("blue", WHOLE),))

    scene.labels = {"blue": 8}
    scene.look()

    assert scene.weights == {7: WHOLE}
