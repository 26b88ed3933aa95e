"""Tests of what the state machine of rollouts is told of a tick."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import Autoscaling, ModelConfig, ModelResources
from core.config.version_policy import Latest, PolicyFailed
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import Division
from core.errors import Code
from core.rollouts.sight import ModelSight
from core.routing.table import ModelRoutes, RoutingTable
from core.storage.version_listing import FileEntry, Judged, VersionDirectory, VersionListing
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP, Failure, VersionRecord
from core.versions.servable import ServableId
from core.versions.world import AppObservation, Condition
from deployments.delivery.model_sights import ModelSights, TickLook
from tests.support.sites import M

RECORD = RolloutRecord(stable=7, canary=8)


def listing(*versions: int) -> VersionListing:
    files = frozenset({FileEntry("saved_model.pb", 7, 0.0)})
    return VersionListing({number: VersionDirectory(f"/m/{number}", files) for number in versions})


def look(now_s: float = 0.0, *, available=(7,), stored=(7,), epoch: int | None = None, **changes) -> TickLook:
    """Return what a tick saw: versions that answer, and versions on storage."""
    statuses = tuple(VersionStatus(one, State.AVAILABLE, Code.OK, "") for one in available)
    histories = {one: VersionHistory(State.AVAILABLE) for one in (7, 8)}
    table = RoutingTable(1, {"m": ModelRoutes(statuses=statuses, histories=histories)})
    division = Division(((7, 10_000),), epoch) if epoch is not None else None
    in_force = RoutingTable(1, {"m": ModelRoutes(division=division)})
    seen = TickLook((M,), {"m": Judged(listing(*stored))}, {}, {}, table, in_force, now_s, now_s + 1e9)
    return replace(seen, **changes)


def runs(version: int, replicas: int = 1, condition: Condition = Condition.RUNNING) -> dict[str, AppObservation]:
    return {f"m:{version}": AppObservation(condition, replicas=replicas)}


def sights(*looks: TickLook, config: ModelConfig = M) -> list[ModelSight]:
    """Look several times."""
    made = ModelSights()
    return [made.sight(config, RECORD, one) for one in looks]


def test_time_is_counted_between_two_looks_of_the_same_watcher() -> None:
    """The first look has none before it."""
    first, second = sights(look(100.0), look(103.5))

    assert (first.elapsed_s, second.elapsed_s) == (0.0, 3.5)
    assert second.wall_s == 103.5 + 1e9


def test_versions_that_are_being_written_are_not_stored_unless_they_answer() -> None:
    """What answers is complete."""
    judged = Judged(listing(7, 8, 9), {7: "changes", 9: "waits for saved_model.pb"})
    (sight,) = sights(look(storage={"m": judged}))

    assert sight.stored.keys() == {7, 8}
    assert sight.chosen == {8}
    assert sight.stored[8] == judged.listing.versions[8].fingerprint


@pytest.mark.parametrize("storage", [{}, {"m": Judged()}, {"m": Judged(listing(7), is_unsure=True)}])
def test_nothing_follows_from_storage_that_is_not_known(storage) -> None:
    """A store that is away takes no version away."""
    (sight,) = sights(look(storage=storage))

    assert (sight.is_listed, sight.stored) == (False, {})


class Broken(Latest):
    """A policy of a package that fails."""

    def select(self, _):
        raise PolicyFailed("broken")


def test_nothing_follows_from_a_policy_that_fails() -> None:
    """As if storage were not known."""
    (sight,) = sights(look(), config=replace(M, policy=Broken()))

    assert not sight.is_listed


def test_a_version_that_answered_is_gone_since_it_does_not() -> None:
    """One that this watcher has not seen answering is not gone: it is loaded."""
    first, second, third = sights(look(0.0, available=(7, 8)), look(1.0, available=(7,)), look(5.0, available=(7,)))
    (fresh,) = sights(look(5.0, available=(7,)))

    assert (first.gone_s, second.gone_s, third.gone_s) == ({}, {8: 1.0}, {8: 5.0})
    assert fresh.gone_s == {}


def test_a_version_without_a_replica_is_gone_although_it_is_available() -> None:
    """Serve starts another one; a model that may have none is as it should be."""
    looks = [look(float(at), available=(8,), apps=runs(8, count)) for at, count in enumerate((1, 0, 0, 1))]

    assert [one.gone_s for one in sights(*looks)] == [{}, {8: 1.0}, {8: 2.0}, {}]
    scaled = replace(M, resources=ModelResources(autoscaling=Autoscaling(min_replicas=0, max_replicas=2)))
    assert [one.gone_s for one in sights(*looks, config=scaled)] == [{}, {}, {}, {}]


def test_replicas_of_the_canary_that_die_are_counted() -> None:
    """Each look counts those that are missing since the last."""
    looks = [look(apps=runs(8, count)) for count in (2, 1, 2, 1, 1)]

    assert [one.restarts for one in sights(*looks)] == [0, 1, 0, 1, 0]


def test_a_process_that_starts_again_counts_as_one_that_died() -> None:
    """A version host shows that by the condition."""
    looks = [look(apps=runs(8, 1)), look(apps=runs(8, 0, Condition.DEPLOYING)), look(apps=runs(8, 1))]

    assert [one.restarts for one in sights(*looks)] == [0, 1, 0]


def test_a_version_that_is_ended_or_scaled_down_has_not_died() -> None:
    """Its replicas were let go."""
    ended = [look(apps=runs(8, 1)), look(apps=runs(8, 0, Condition.DELETING))]
    scaled = replace(M, resources=ModelResources(autoscaling=Autoscaling(min_replicas=1, max_replicas=2)))

    assert [one.restarts for one in sights(*ended)] == [0, 0]
    assert [one.restarts for one in sights(look(apps=runs(8, 2)), look(apps=runs(8, 1)), config=scaled)] == [0, 0]


def test_loads_that_have_failed_for_good_are_told() -> None:
    """With the error, and without those that were only given up."""

    def record(version: int, state: State, failure: Failure | None) -> dict[ServableId, VersionRecord]:
        servable = ServableId("m", version)
        return {servable: VersionRecord(servable, "/m", state, failure=failure)}

    failure = Failure(Code.NOT_FOUND, "no SavedModel there")
    seen = [
        look(records=record(8, State.END, failure)),
        look(records=record(8, State.START, failure)),
        look(records=record(8, State.END, GIVEN_UP)),
        look(records=record(8, State.AVAILABLE, None)),
    ]

    assert [dict(one.failed) for one in sights(*seen)] == [{8: "NOT_FOUND: no SavedModel there"}, {}, {}, {}]


def test_the_epoch_is_that_which_every_router_has() -> None:
    """Before there is any, it is none."""
    first, second = sights(look(), look(epoch=4))

    assert (first.epoch_in_force, second.epoch_in_force) == (-1, 4)
