"""Tests of which versions keep their replicas while a rollout runs."""

from __future__ import annotations

from dataclasses import replace

from core.config.model_config import Autoscaling, ModelResources
from core.delivery.rollout_record import RolloutRecord
from core.versions.world import Delivered
from deployments.delivery.held_replicas import TOLD_EVERY_S, HeldReplicas, resources_of
from tests.support.sites import M

SCALED = replace(M, resources=ModelResources(autoscaling=Autoscaling(min_replicas=0, max_replicas=4)))
RUNS = {"m": Delivered(record=RolloutRecord(stable=7, canary=8))}
RESTS = {"m": Delivered(record=RolloutRecord(stable=7))}


def test_both_arms_are_told_again_and_again() -> None:
    """And nobody any more, once, when the rollout is over."""
    held = HeldReplicas()
    assert held.due((SCALED,), RESTS, 0.0) is None

    assert held.due((SCALED,), RUNS, TOLD_EVERY_S) == {"m:7", "m:8"}
    assert held.due((SCALED,), RUNS, TOLD_EVERY_S + 1.0) is None
    assert held.due((SCALED,), RUNS, 2 * TOLD_EVERY_S) == {"m:7", "m:8"}

    assert held.due((SCALED,), RESTS, 3 * TOLD_EVERY_S) == frozenset()
    assert held.due((SCALED,), {}, 4 * TOLD_EVERY_S) is None


def test_the_way_back_keeps_its_replicas() -> None:
    """An undo is one change of the table."""
    record = RolloutRecord(stable=8, previous=7)

    assert HeldReplicas().due((SCALED,), {"m": Delivered(record=record)}, 0.0) == {"m:7", "m:8"}


def test_models_that_are_not_scaled_need_nothing() -> None:
    """Their replicas stay anyway."""
    assert HeldReplicas().due((M,), RUNS, 0.0) is None


def test_a_canary_has_a_replica_from_its_first_moment() -> None:
    """Of a model that may have none, or begins with more."""
    scaling = resources_of(SCALED, 8, RUNS["m"]).autoscaling
    assert scaling is not None
    assert (scaling.min_replicas, scaling.initial_replicas) == (0, 1)

    more = replace(SCALED, resources=ModelResources(autoscaling=Autoscaling(0, 4, initial_replicas=3)))
    assert resources_of(more, 8, RUNS["m"]) == more.resources
    for config, version, delivered in ((SCALED, 7, RUNS["m"]), (SCALED, 8, RESTS["m"]), (M, 8, RUNS["m"])):
        assert resources_of(config, version, delivered) is config.resources
