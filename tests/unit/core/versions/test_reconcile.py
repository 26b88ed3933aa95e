"""Tests of one tick's decisions: records follow the world, actions follow the records, tables follow both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig, ModelResources, Placement, Rollout
from core.config.version_policy import All, Latest, PolicyFailed, Specific
from core.delivery.rollout_record import RolloutRecord
from core.errors import Code
from core.rollouts.holding import Holding
from core.routing.table import RoutingTable
from core.routing.table_of_records import routing_table
from core.storage.version_listing import UNKNOWN, FileEntry, Judged, VersionDirectory, VersionListing
from core.versions.history import Moment, history_of
from core.versions.lifecycle import State, VersionStatus
from core.versions.load_report import LoadFailed
from core.versions.reconcile import ENDED_VERSIONS_KEPT_S, apply, failed, next_actions, observe, unneeded_apps
from core.versions.record import GIVEN_UP, Failure, VersionRecord
from core.versions.servable import ServableId
from core.versions.status_message import status_message
from core.versions.world import AppObservation, Condition, Delivered, Load, LoadLimits, Unload, World
from tests.support.infra_validator import ModelState, model_state

NOW_S = 100.0
LIMITS = LoadLimits(max_retries=1, retry_interval_s=60.0, max_concurrent=2)
NOT_FOUND = Failure(Code.NOT_FOUND, "no SavedModel there")


def listing(*versions: int, changed_s: float = 0.0) -> VersionListing:
    """Make a base path with complete versions."""
    files = frozenset({FileEntry("saved_model.pb", 7, changed_s)})
    return VersionListing({number: VersionDirectory(f"/m/{number}", files) for number in versions})


def world(
    *found: int, policy=None, rollout=Rollout.AVAILABILITY_PRESERVING, apps=None, waiting=None, storage=None, **changes
) -> World:
    """Make a world with model `m`, the versions found and waiting, and the conditions of its applications."""
    config = ModelConfig("m", "/m", policy or Latest(), resources=ModelResources(rollout=rollout))
    seen = {ServableId("m", number): AppObservation(condition) for number, condition in (apps or {}).items()}
    return replace(World(NOW_S, (config,), {"m": storage or Judged(listing(*found), waiting or {})}, seen), **changes)


def records(**states: State) -> dict[ServableId, VersionRecord]:
    """Make records of model `m` from `v1=State.AVAILABLE`; all are aspired."""
    made = {}
    for key, state in states.items():
        servable = ServableId("m", int(key[1:]))
        fingerprint = listing(servable.version).versions[servable.version].fingerprint
        made[servable] = VersionRecord(servable, f"/m/{servable.version}", state, fingerprint=fingerprint)
    return made


def states(seen) -> dict[int, State]:
    """Return the state of each version."""
    return {servable.version: record.state for servable, record in seen.items()}


def one(record: VersionRecord, **changes) -> dict[ServableId, VersionRecord]:
    """Make records of a single one."""
    changed = replace(record, **changes)
    return {changed.servable: changed}


V1 = records(v1=State.START)[ServableId("m", 1)]


def test_a_version_found_is_a_new_record() -> None:
    """It is aspired, and knows its path."""
    (record,) = observe({}, world(1, 2), LIMITS).values()

    assert (record.servable.version, record.state, record.aspired, record.path) == (2, State.START, True, "/m/2")


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        (Condition.RUNNING, State.AVAILABLE),
        (Condition.DEPLOYING, State.LOADING),
        (Condition.DELETING, State.UNLOADING),
        (Condition.FAILED, State.START),
    ],
)
def test_a_new_watcher_adopts_what_it_finds(condition, state) -> None:
    """A version that runs is not loaded again."""
    assert states(observe({}, world(1, apps={1: condition}), LIMITS)) == {1: state}


@pytest.mark.parametrize("condition", [Condition.RUNNING, Condition.DEPLOYING])
@pytest.mark.parametrize(
    "changes",
    [{"storage": UNKNOWN}, {"waiting": {1: "waits until its files stop changing"}}],
    ids=["storage_unreachable", "storage_unsure"],
)
def test_a_new_watcher_keeps_what_runs_until_storage_says_otherwise(condition, changes) -> None:
    """Not to know is no reason to unload."""
    before = world(1, apps={1: condition}, **changes)

    after = observe({}, before, LIMITS)

    assert after[ServableId("m", 1)].aspired
    assert next_actions(after, before, LIMITS) == ()


def test_a_new_watcher_takes_over_only_names_of_versions() -> None:
    """Other applications of that name are not ours to read."""
    before = world(apps={1: Condition.RUNNING}, storage=UNKNOWN)
    odd = {**before.apps, ServableId("n", 1): AppObservation(Condition.RUNNING)}
    strays = {"m:latest": AppObservation(Condition.RUNNING)}

    assert states(observe({}, replace(before, apps=odd, strays=strays), LIMITS)) == {1: State.AVAILABLE}


@pytest.mark.parametrize("aspired", [True, False])
def test_versions_stay_wanted_while_only_half_written_ones_are_found(aspired) -> None:
    """The old directory is gone and the new one is being copied, or repaired: the old version answers meanwhile."""
    before = world(2, waiting={2: "waits for saved_model.pb"}, apps={1: Condition.RUNNING})

    after = observe(one(V1, state=State.AVAILABLE, aspired=aspired), before, LIMITS)

    assert next_actions(after, before, LIMITS) == ()
    assert after[ServableId("m", 1)].aspired


def test_a_running_version_that_is_written_over_stays() -> None:
    """Its files are not needed while it runs."""
    before = world(1, waiting={1: "waits until its files stop changing"}, apps={1: Condition.RUNNING})

    assert observe(records(v1=State.AVAILABLE), before, LIMITS)[ServableId("m", 1)].aspired


def test_a_running_version_that_is_written_over_stays_beside_complete_ones() -> None:
    """It counts for the policy as before, also when another version could answer."""
    apps = {1: Condition.RUNNING, 2: Condition.RUNNING}
    before = world(1, 2, waiting={2: "waits until its files stop changing"}, apps=apps)

    after = observe(records(v1=State.AVAILABLE, v2=State.AVAILABLE), before, LIMITS)

    assert [servable.version for servable, record in after.items() if record.aspired] == [2]


def test_a_half_written_version_is_not_aspired() -> None:
    """Nothing is known of it but that it waits."""
    assert observe({}, world(1, waiting={1: "waits for saved_model.pb"}), LIMITS) == {}


@pytest.mark.parametrize(
    ("state", "condition", "expected"),
    [
        (State.LOADING, Condition.DEPLOYING, State.LOADING),
        (State.LOADING, Condition.RUNNING, State.AVAILABLE),
        (State.LOADING, Condition.ABSENT, State.START),
        (State.LOADING, Condition.DELETING, State.START),
        (State.LOADING, Condition.FAILED, State.START),
        (State.AVAILABLE, Condition.RUNNING, State.AVAILABLE),
        (State.AVAILABLE, Condition.DEPLOYING, State.AVAILABLE),
        (State.AVAILABLE, Condition.ABSENT, State.START),
        (State.AVAILABLE, Condition.DELETING, State.START),
        (State.AVAILABLE, Condition.FAILED, State.START),
        (State.UNLOADING, Condition.RUNNING, State.UNLOADING),
        (State.UNLOADING, Condition.DELETING, State.UNLOADING),
        (State.UNLOADING, Condition.ABSENT, State.END),
    ],
)
def test_records_follow_their_applications(state, condition, expected) -> None:
    """What Serve shows decides, whatever was planned."""
    assert states(observe(records(v1=state), world(1, apps={1: condition}), LIMITS)) == {1: expected}


@pytest.mark.parametrize(
    ("state", "condition", "expected"),
    [
        (State.START, Condition.ABSENT, State.END),
        (State.LOADING, Condition.DEPLOYING, State.END),
        (State.LOADING, Condition.RUNNING, State.AVAILABLE),
        (State.AVAILABLE, Condition.RUNNING, State.AVAILABLE),
    ],
)
def test_versions_that_are_not_wanted_any_more_are_cancelled_or_await_their_unload(state, condition, expected) -> None:
    """A load that is overtaken is cancelled; it is not retried."""
    after = observe(records(v1=state), world(apps={1: condition}), LIMITS)[ServableId("m", 1)]

    assert (after.state, after.aspired) == (expected, False)
    assert after.failure == (GIVEN_UP if expected is State.END else None)


def test_a_failed_load_is_tried_again_after_the_interval() -> None:
    """Meanwhile the version counts as LOADING, and keeps its error."""
    report = AppObservation(Condition.FAILED, str(LoadFailed(Code.NOT_FOUND, "no SavedModel there")))
    before = replace(world(1), apps={V1.servable: report})

    (record,) = observe(records(v1=State.LOADING), before, LIMITS).values()

    assert (record.state, record.failed_attempts, record.failure) == (State.START, 1, NOT_FOUND)
    assert next_actions({record.servable: record}, world(1), LIMITS) == ()
    assert next_actions({record.servable: record}, world(1, now_s=NOW_S + 60.0), LIMITS) == (
        Load(record.servable, "/m/1"),
    )
    assert record.status().state is State.LOADING


def test_case_M11_the_last_attempt_ends_the_version_with_its_error() -> None:
    """Then GetModelStatus shows code and text."""
    (record,) = one(V1, state=State.LOADING, failed_attempts=1).values()

    ended = failed(record, NOT_FOUND, NOW_S, LIMITS)

    assert ended.status() == VersionStatus(1, State.END, Code.NOT_FOUND, "no SavedModel there")


def test_a_broken_version_is_not_tried_again_until_its_files_change() -> None:
    """A repaired directory is a new chance, with all its attempts."""
    ended = one(V1, state=State.END, failure=NOT_FOUND, failed_attempts=2)

    assert states(observe(ended, world(1), LIMITS)) == {1: State.END}
    repaired = observe(ended, world(storage=Judged(listing(1, changed_s=5.0))), LIMITS)
    assert states(repaired) == {1: State.START}
    assert repaired[V1.servable].failed_attempts == 0


@pytest.mark.parametrize("failure", [None, GIVEN_UP])
def test_case_M8_a_version_wanted_again_is_loaded_afresh_once_it_is_gone(failure) -> None:
    """While it is being unloaded nothing happens to it; then it starts anew."""
    unloading = records(v1=State.UNLOADING)
    assert states(observe(unloading, world(1, apps={1: Condition.RUNNING}), LIMITS)) == {1: State.UNLOADING}

    again = observe(one(V1, state=State.END, failure=failure), world(1), LIMITS)

    assert next_actions(again, world(1), LIMITS) == (Load(V1.servable, "/m/1"),)


def test_an_ended_version_that_nobody_wants_is_forgotten_after_a_while() -> None:
    """GetModelStatus shows it for an hour."""
    ended = one(V1, state=State.END, aspired=False, since_s=NOW_S)

    assert states(observe(ended, world(now_s=NOW_S + ENDED_VERSIONS_KEPT_S), LIMITS)) == {1: State.END}
    assert observe(ended, world(now_s=NOW_S + ENDED_VERSIONS_KEPT_S + 1), LIMITS) == {}


def test_case_M1_all_versions_of_an_empty_directory_are_unloaded() -> None:
    """No aspired version means that none may answer."""
    before = world(apps={1: Condition.RUNNING})

    assert next_actions(observe(records(v1=State.AVAILABLE), before, LIMITS), before, LIMITS) == (Unload(V1.servable),)


def test_case_M2_a_version_that_is_not_aspired_any_more_is_unloaded() -> None:
    """The others stay."""
    before = world(0, 1, policy=Specific(frozenset({0})), apps={0: Condition.RUNNING, 1: Condition.RUNNING})

    after = observe(records(v0=State.AVAILABLE, v1=State.AVAILABLE), before, LIMITS)

    assert next_actions(after, before, LIMITS) == (Unload(ServableId("m", 1)),)


def test_case_M3_the_successor_loads_before_the_old_version_unloads() -> None:
    """Also when the successor has the lower number."""
    policy = Specific(frozenset({0}))
    before = world(0, 1, policy=policy, apps={1: Condition.RUNNING})
    loading = observe(records(v1=State.AVAILABLE), before, LIMITS)
    assert next_actions(loading, before, LIMITS) == (Load(ServableId("m", 0), "/m/0"),)

    later = world(0, 1, policy=policy, apps={0: Condition.RUNNING, 1: Condition.RUNNING})
    loaded = observe(apply(loading, Load(ServableId("m", 0), "/m/0"), NOW_S), later, LIMITS)

    assert next_actions(loaded, later, LIMITS) == (Unload(ServableId("m", 1)),)


def test_a_resource_preserving_model_unloads_first() -> None:
    """Of two versions only one fits."""
    before = world(1, 2, rollout=Rollout.RESOURCE_PRESERVING, apps={1: Condition.RUNNING})

    after = observe(records(v1=State.AVAILABLE), before, LIMITS)

    assert next_actions(after, before, LIMITS) == (Unload(V1.servable),)


def test_a_version_whose_retry_is_not_due_does_not_hold_up_the_others() -> None:
    """The newest version may be broken for minutes; an older one that is wanted too loads meanwhile."""
    stream = records(v1=State.START) | one(
        records(v2=State.START)[ServableId("m", 2)], failed_attempts=1, retry_at_s=NOW_S + 60
    )

    assert next_actions(stream, world(1, 2, policy=All()), LIMITS) == (Load(V1.servable, "/m/1"),)


def test_nothing_is_loaded_before_its_former_application_has_ended() -> None:
    """To deploy an application that exists would replace its replicas."""
    assert next_actions(records(v1=State.START), world(1, apps={1: Condition.FAILED}), LIMITS) == ()


def test_nothing_is_loaded_from_nowhere() -> None:
    """A version that ran when storage was never seen has no path to be loaded from again."""
    lost = one(V1, path="")

    assert next_actions(lost, world(storage=UNKNOWN), LIMITS) == ()


def test_loads_are_limited_over_all_models() -> None:
    """Versions that load already count; unloads are never held up."""
    names = ("a", "b", "c")
    configs = tuple(ModelConfig(name, f"/{name}") for name in names)
    stream = {
        ServableId("a", 1): VersionRecord(ServableId("a", 1), "/a/1", State.LOADING),
        ServableId("b", 1): VersionRecord(ServableId("b", 1), "/b/1"),
        ServableId("c", 1): VersionRecord(ServableId("c", 1), "/c/1"),
        ServableId("d", 1): VersionRecord(ServableId("d", 1), "/d/1", State.AVAILABLE, aspired=False),
    }

    actions = next_actions(stream, World(NOW_S, configs), LIMITS)

    assert actions == (Load(ServableId("b", 1), "/b/1"), Unload(ServableId("d", 1)))


def test_a_removed_model_is_unloaded_version_by_version() -> None:
    """Its records outlive its configuration until they have ended."""
    stream = records(v1=State.AVAILABLE, v2=State.AVAILABLE, v3=State.END)

    gone = World(NOW_S, (), apps=world(apps={1: Condition.RUNNING, 2: Condition.RUNNING}).apps)

    after = observe(stream, gone, LIMITS)
    assert next_actions(after, gone, LIMITS) == (Unload(V1.servable),)
    assert next_actions(one(V1, state=State.UNLOADING, aspired=False), gone, LIMITS) == ()


def test_carrying_out_an_action_changes_the_state() -> None:
    """A load makes a version LOADING, an unload UNLOADING."""
    loading = apply(records(v1=State.START), Load(V1.servable, "/m/1"), NOW_S)
    assert states(loading) == {1: State.LOADING}

    assert states(apply(records(v1=State.AVAILABLE), Unload(V1.servable), NOW_S)) == {1: State.UNLOADING}


@pytest.mark.parametrize(
    ("state", "condition", "is_unneeded"),
    [
        (State.LOADING, Condition.DEPLOYING, False),
        (State.AVAILABLE, Condition.RUNNING, False),
        (State.UNLOADING, Condition.RUNNING, True),
        (State.UNLOADING, Condition.DELETING, False),
        (State.END, Condition.FAILED, True),
        (State.START, Condition.FAILED, True),
        (None, Condition.RUNNING, True),
    ],
)
def test_applications_that_no_record_needs_are_unneeded(state, condition, is_unneeded) -> None:
    """Also those of models that nobody knows any more; what is being deleted already is left alone."""
    stream = records(v1=state) if state is not None else {}

    unneeded = unneeded_apps(stream, world(apps={1: condition}))

    assert unneeded == ({"m:1"} if is_unneeded else frozenset())


@pytest.mark.parametrize(("condition", "is_unneeded"), [(Condition.RUNNING, True), (Condition.DELETING, False)])
def test_applications_of_nobodys_models_are_unneeded(condition, is_unneeded) -> None:
    """A model may have been removed while no watcher ran."""
    unneeded = unneeded_apps({}, world(strays={"gone:1": AppObservation(condition)}))

    assert unneeded == ({"gone:1"} if is_unneeded else frozenset())


def test_a_table_leads_to_available_versions_only() -> None:
    """Everything else shows in the statuses, newest first; labels show whether or not their version answers."""
    storage = Judged(listing(1, 2, 3), {4: "waits for saved_model.pb"}, problem="slow")
    before = world(policy=All(), storage=storage)
    before = replace(before, models=(replace(before.models[0], labels={"stable": 9}),))
    stream = records(v1=State.UNLOADING, v2=State.AVAILABLE, v3=State.LOADING)

    model = routing_table(stream, before, routing_table(stream, before, RoutingTable(7))).models["m"]

    assert list(model.routes) == [2]
    assert [(entry.version, entry.state) for entry in model.statuses] == [
        (3, State.LOADING),
        (2, State.AVAILABLE),
        (1, State.UNLOADING),
    ]
    assert (model.labels, model.problem, model.waiting) == ({"stable": 9}, "slow", {4: "waits for saved_model.pb"})


def test_a_removed_model_keeps_its_statuses_and_loses_its_labels() -> None:
    """As TensorFlow Serving shows versions of models that are gone."""
    table = routing_table(one(V1, state=State.END, aspired=False), World(NOW_S, ()), RoutingTable(1))

    model = table.models["m"]
    assert (model.configured, model.labels, model.ignored, model.waiting) == (False, {}, {}, {})
    assert table.statuses("m")[0].state is State.END


@pytest.mark.parametrize(
    ("stream", "changes", "is_settled"),
    [
        pytest.param(records(v1=State.AVAILABLE), {}, True, id="answers"),
        pytest.param(one(V1, state=State.END, failure=NOT_FOUND), {}, True, id="case_M12"),
        pytest.param(one(V1, failure=NOT_FOUND, failed_attempts=1), {}, True, id="failed_once"),
        pytest.param(records(v1=State.LOADING), {}, False, id="loads"),
        pytest.param({}, {}, True, id="nothing_to_load"),
        pytest.param({}, {"storage": Judged(listing(), is_unsure=True)}, False, id="unsure"),
        pytest.param({}, {"storage": UNKNOWN}, False, id="not_listed"),
        pytest.param({}, {"storage": Judged(problem="Could not find base path")}, True, id="cannot_be_listed"),
    ],
)
def test_a_table_settles_when_every_model_has_something_to_show(stream, changes, is_settled) -> None:
    """One model without files must not keep the doors shut for all."""
    before = world(**changes)

    assert routing_table(stream, before, routing_table(stream, before, RoutingTable(1))).settled is is_settled
    assert routing_table(stream, before, RoutingTable(1, settled=True)).settled


def test_the_same_world_gives_the_same_answer() -> None:
    """Level-based: to look twice changes nothing."""
    before = world(1, 2, apps={1: Condition.RUNNING, 2: Condition.DEPLOYING})
    once = observe(records(v1=State.AVAILABLE, v2=State.LOADING), before, LIMITS)

    assert observe(once, before, LIMITS) == once


def test_a_model_of_which_nothing_answers_loads_before_a_second_version_of_another() -> None:
    """Where not all have room: one version of each model serves more requests than two of one."""
    configs = (ModelConfig("m", "/m", All()), ModelConfig("n", "/n", All()))
    names = {"m:1": State.START, "m:2": State.LOADING, "n:1": State.START}
    stream = {
        (servable := ServableId(key[0], int(key[2:]))): VersionRecord(servable, f"/{key}", state)
        for key, state in names.items()
    }

    (action,) = next_actions(stream, World(NOW_S, configs), replace(LIMITS, max_concurrent=2))

    assert action == Load(ServableId("n", 1), "/n:1")


def test_a_hosted_model_is_loaded_although_there_is_no_room() -> None:
    """Its host bounds how many load at a time; what waits for a GPU of its own must not keep it from starting."""
    hosted = ModelConfig("h", "/h", resources=ModelResources(placement=Placement.HOSTED))
    configs = (*(ModelConfig(name, f"/{name}") for name in "abc"), hosted)
    names = {"a": State.LOADING, "b": State.LOADING, "c": State.START, "h": State.START}
    stream = {ServableId(name, 1): VersionRecord(ServableId(name, 1), f"/{name}", names[name]) for name in names}

    assert next_actions(stream, World(NOW_S, configs), LIMITS) == (Load(ServableId("h", 1), "/h"),)


@pytest.mark.parametrize("condition", [Condition.RUNNING, Condition.DEPLOYING])
def test_a_version_that_a_host_shows_late_is_taken_as_it_is(condition: Condition) -> None:
    """It waits for room, and its host, which had not answered, turns out to have it; it is not unloaded first."""
    one = ServableId("m", 1)
    seen = replace(world(1), apps={one: AppObservation(condition, host="host@n1")})

    found = observe(records(v1=State.START), seen, LIMITS)
    settled = observe(found, seen, LIMITS)

    assert states(found) == {1: State.LOADING}
    assert states(settled) == {1: State.AVAILABLE if condition is Condition.RUNNING else State.LOADING}
    assert unneeded_apps(found, seen) == frozenset()


def test_a_permanent_failure_is_not_tried_again_until_the_files_change() -> None:
    """No time can mend it; GetModelStatus shows the error at once."""
    one = ServableId("m", 1)
    loading = records(v1=State.LOADING)[one]
    limits = replace(LIMITS, max_retries=5)

    ended = failed(loading, replace(NOT_FOUND, is_permanent=True), NOW_S, limits)
    retried = failed(loading, NOT_FOUND, NOW_S, limits)

    assert (ended.state, ended.failed_attempts, ended.status().code) == (State.END, 1, Code.NOT_FOUND)
    assert (retried.state, retried.retry_at_s) == (State.START, NOW_S + 60.0)
    same = observe({one: ended}, world(1), limits)[one]
    repaired = observe({one: ended}, world(storage=Judged(listing(1, changed_s=9.0))), limits)[one]
    assert (same.state, repaired.state) == (State.END, State.START)


def test_a_permanent_failure_is_tried_again_when_its_rollout_is_retried() -> None:
    """Somebody has made room, or knows better."""
    before = one(V1, state=State.END, failure=NOT_FOUND)
    retried = {"m": Delivered(Holding(keep=frozenset({1}), again=frozenset({1})))}

    assert states(observe(before, world(1), LIMITS)) == {1: State.END}
    assert states(observe(before, world(1, delivered=retried), LIMITS)) == {1: State.START}


class Failing:
    """A policy of a package that fails."""

    def select(self, found: frozenset[int]) -> frozenset[int]:
        raise PolicyFailed("seven")


def test_a_policy_that_fails_keeps_what_is_alive() -> None:
    """Nothing is loaded or unloaded because of it, also a version whose folder is gone, and other models go on."""
    before = records(v1=State.AVAILABLE, v2=State.LOADING, v3=State.END)
    at_first = world(1, 3, 4, policy=Failing(), apps={1: Condition.RUNNING, 2: Condition.DEPLOYING})
    other = ModelConfig("n", "/n")
    both = replace(at_first, models=(*at_first.models, other), storage={**at_first.storage, "n": Judged(listing(7))})

    seen = observe(before, both, LIMITS)

    assert {(one.name, one.version) for one, record in seen.items() if record.aspired} == {("m", 1), ("m", 2), ("n", 7)}
    assert next_actions(seen, both, LIMITS) == (Load(ServableId("n", 7), "/m/7"),)


def test_a_version_that_will_be_tried_again_has_not_ended_for_tfx() -> None:
    """InfraValidator takes END for the last word: through every attempt, and a restart of the watcher, it is asked again."""
    limits = LoadLimits(max_retries=2, retry_interval_s=60.0, max_concurrent=2)
    seen = observe({}, world(1), limits)
    told = []

    def tick(now_s: float, condition: Condition, **more: object) -> dict[ServableId, VersionRecord]:
        apps = {ServableId("m", 1): AppObservation(condition, "out of reach")}
        after = observe(seen, replace(world(1), now_s=now_s, apps=apps, **more), limits)
        told.append(model_state(status_message([one.status() for one in after.values()])))
        return after

    for attempt in range(2):
        now_s = NOW_S + 100.0 * attempt
        seen = apply(tick(now_s, Condition.ABSENT), Load(ServableId("m", 1), "/m/1"), now_s)
        seen = tick(now_s + 1.0, Condition.FAILED)
        seen = tick(now_s + 2.0, Condition.ABSENT)
    moment = Moment(NOW_S + 103.0)
    history = {servable: history_of(one, None, moment) for servable, one in seen.items()}
    seen = {}
    seen = tick(NOW_S + 103.0, Condition.ABSENT, remembered=history)
    assert set(told) == {ModelState.NOT_READY}

    loading = apply(tick(NOW_S + 170.0, Condition.ABSENT), Load(ServableId("m", 1), "/m/1"), NOW_S + 170.0)
    seen = loading
    tick(NOW_S + 171.0, Condition.RUNNING)
    tick(NOW_S + 171.0, Condition.FAILED)

    assert told[-2:] == [ModelState.READY, ModelState.UNAVAILABLE]


def aspired(seen) -> set[int]:
    """Return the versions that are aspired."""
    return {servable.version for servable, record in seen.items() if record.aspired}


def held(keep: set[int], avoid: set[int]) -> dict[str, Delivered]:
    """Let a rollout hold versions of model `m`."""
    return {"m": Delivered(Holding(frozenset(keep), frozenset(avoid)))}


@pytest.mark.parametrize(
    ("found", "keep", "avoid", "expected"),
    [
        ((7, 8), {7}, set(), {7, 8}),
        ((7, 8), {7, 8}, set(), {7, 8}),
        ((7, 8), {7}, {8}, {7}),
        ((7, 8, 9), {7, 8}, {9}, {7, 8}),
        ((6, 7, 8), set(), {8}, {7}),
        ((8,), {7}, set(), {7, 8}),
        ((8,), {7}, {8}, {7}),
        ((8,), {5}, set(), {8}),
    ],
    ids=[
        "a canary comes",
        "both are held",
        "the newest is rejected",
        "one waits",
        "the policy takes the next",
        "stable has no directory",
        "nothing but stable",
        "what is nowhere is not loaded",
    ],
)
def test_a_rollout_keeps_versions_and_withholds_others(found, keep, avoid, expected) -> None:
    """The policy chooses among the others; version 7 runs."""
    seen = observe(
        records(v7=State.AVAILABLE),
        world(*found, apps={7: Condition.RUNNING}, delivered=held(keep, avoid)),
        LIMITS,
    )

    assert aspired(seen) == expected


def test_stable_is_loaded_before_a_canary() -> None:
    """After a restart of everything it has most of the traffic, although its number is lower."""
    stable = {"m": Delivered(Holding(frozenset({7, 8})), RolloutRecord(stable=7, canary=8))}
    at_first = world(7, 8, delivered=stable)

    (first,) = next_actions(observe({}, at_first, LIMITS), at_first, LIMITS)

    assert first == Load(ServableId("m", 7), "/m/7")
