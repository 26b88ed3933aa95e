"""Tests of labels that move, and of what a table says of its models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig, ModelResources, Rollout
from core.config.version_policy import All, Latest, Specific
from core.delivery.plan import RolloutPlan, RolloutStep
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import Division
from core.errors import Code, LabelNotFound, ServableNotFound
from core.routing.admission import TrafficLimits
from core.routing.table import RoutingTable
from core.routing.table_of_records import WITHDRAWN_WITHIN_S, routing_table
from core.storage.version_listing import UNKNOWN, Judged, VersionDirectory, VersionListing
from core.versions.lifecycle import State
from core.versions.record import Failure, VersionRecord
from core.versions.servable import ServableId
from core.versions.world import AppObservation, Condition, Delivered, World

M = ModelConfig("m", "/m")


def published(
    before: RoutingTable,
    labels: dict[str, int] | None = None,
    *,
    is_confirmed: bool,
    now_s: float = 1.0,
    **states: State,
) -> RoutingTable:
    """Return the table that follows one that every router uses, or that some router does not use yet."""
    records = {
        (servable := ServableId("m", int(key[1:]))): VersionRecord(servable, "/m", state)
        for key, state in states.items()
    }
    world = World(now_s, (replace(M, labels=labels or {}),))
    return routing_table(records, world, before, is_confirmed=is_confirmed)


def table(before: RoutingTable, labels: dict[str, int], **states: State) -> RoutingTable:
    """Return the table for `v1=State.AVAILABLE` and labels, after every router confirmed those that lead to it."""
    after = published(before, labels, is_confirmed=True, **states)
    return after if after == before else table(after, labels, **states)


EMPTY = RoutingTable(1)
ONE = table(EMPTY, {"stable": 1}, v1=State.AVAILABLE)


def test_a_new_label_is_pending_until_its_version_answers() -> None:
    """Then requests by it are told that nothing answers."""
    before = table(EMPTY, {"stable": 2}, v1=State.AVAILABLE, v2=State.LOADING)
    assert before.models["m"].pending_labels == {"stable": 2}
    with pytest.raises(ServableNotFound):
        before.resolve("m", label="stable")

    after = table(before, {"stable": 2}, v1=State.AVAILABLE, v2=State.AVAILABLE)

    assert after.resolve("m", label="stable").app == "m:2"


def test_a_label_that_moves_names_its_old_version_until_the_new_one_answers() -> None:
    """In no table does it name nothing."""
    loading = table(ONE, {"stable": 2}, v1=State.AVAILABLE, v2=State.LOADING)
    assert loading.resolve("m", label="stable").app == "m:1"
    assert loading.models["m"].pending_labels == {"stable": 2}

    both = table(loading, {"stable": 2}, v1=State.AVAILABLE, v2=State.AVAILABLE)

    assert both.resolve("m", label="stable").app == "m:2"
    assert both.models["m"].held == {}


def test_a_label_that_moves_twice_keeps_the_version_that_answers() -> None:
    """Whichever comes first, or back."""
    twice = table(table(ONE, {"stable": 2}, v1=State.AVAILABLE), {"stable": 3}, v1=State.AVAILABLE)
    assert twice.resolve("m", label="stable").app == "m:1"

    back = table(twice, {"stable": 1}, v1=State.AVAILABLE)

    assert (back.resolve("m", label="stable").app, back.models["m"].held) == ("m:1", {})


def test_a_held_version_that_ends_is_let_go() -> None:
    """Then the label is as pending as a new one."""
    held = table(ONE, {"stable": 2}, v1=State.AVAILABLE)

    with pytest.raises(ServableNotFound, match=r"Specific\(m, 2\)"):
        table(held, {"stable": 2}, v1=State.UNLOADING).resolve("m", label="stable")


def test_a_label_that_is_removed_names_nothing() -> None:
    """Labels of a new configuration replace the old ones as a whole."""
    with pytest.raises(LabelNotFound):
        table(ONE, {}, v1=State.AVAILABLE).resolve("m", label="stable")


def test_a_label_follows_its_version_only() -> None:
    """A version that ends takes its label along (TensorFlow Serving, version labels)."""
    with pytest.raises(ServableNotFound, match=r"Specific\(m, 1\)"):
        table(ONE, {"stable": 1}, v1=State.UNLOADING, v2=State.AVAILABLE).resolve("m", label="stable")


def test_a_table_tells_how_its_models_are_configured() -> None:
    """Whoever has the table can say so without the watcher; a removed model has no configuration."""
    limited = ModelResources(max_requests_per_second=5.0, max_in_flight=3)
    resources = replace(limited, rollout=Rollout.RESOURCE_PRESERVING)
    config = ModelConfig("m", "/m", Specific(frozenset({1})), resources=resources)
    record = VersionRecord(ServableId("m", 1), "/m/1", State.AVAILABLE)

    model = routing_table({record.servable: record}, World(1.0, (config,)), EMPTY).models["m"]
    gone = routing_table({record.servable: record}, World(1.0, ()), EMPTY).models["m"]

    assert (model.base_path, model.policy, model.rollout) == ("/m", config.policy, Rollout.RESOURCE_PRESERVING)
    assert (model.limits, gone.limits) == (TrafficLimits(5.0, 3), TrafficLimits())
    assert (gone.configured, gone.base_path, gone.policy) == (False, "", None)
    assert model.histories[1].state is State.AVAILABLE


def test_a_version_is_shown_as_available_once_every_router_leads_to_it() -> None:
    """Requests are answered from the first table on; until all have it, its state stays LOADING."""
    first = published(EMPTY, is_confirmed=True, v1=State.AVAILABLE)
    assert (first.resolve("m").app, first.models["m"].available) == ("m:1", frozenset())
    assert first.statuses("m")[0].state is State.LOADING

    waiting = published(first, is_confirmed=False, v1=State.AVAILABLE)
    after = published(waiting, is_confirmed=True, v1=State.AVAILABLE)

    assert (waiting, waiting.settled) == (first, False)
    assert (after.models["m"].available, after.settled) == ({1}, True)
    assert published(after, is_confirmed=False, v1=State.AVAILABLE) == after


def test_a_version_that_is_lost_and_comes_back_is_shown_anew() -> None:
    """A router may still have the table in between, which does not lead to it."""
    served = table(EMPTY, {}, v1=State.AVAILABLE)
    lost = published(served, is_confirmed=True, v1=State.START)
    back = published(lost, is_confirmed=False, v1=State.AVAILABLE)

    assert lost.models["m"].routes == {}
    assert published(back, is_confirmed=False, v1=State.AVAILABLE).models["m"].available == frozenset()
    assert published(back, is_confirmed=True, v1=State.AVAILABLE).models["m"].available == {1}


def test_a_version_is_shown_as_unloading_before_it_is_answered_no_more() -> None:
    """Otherwise a router that shows it as AVAILABLE would contradict one that does not find it."""
    served = table(EMPTY, {}, v1=State.AVAILABLE, v2=State.AVAILABLE)
    going = published(served, is_confirmed=True, v1=State.UNLOADING, v2=State.AVAILABLE)
    assert going.resolve("m", 1).app == "m:1"
    assert going.statuses("m", 1)[0].state is State.UNLOADING

    assert published(going, is_confirmed=False, v1=State.UNLOADING, v2=State.AVAILABLE) == going
    gone = published(going, is_confirmed=True, v1=State.UNLOADING, v2=State.AVAILABLE)
    with pytest.raises(ServableNotFound):
        gone.resolve("m", 1)


def test_a_router_that_never_confirms_does_not_keep_a_version() -> None:
    """Its application is about to end."""
    served = table(EMPTY, {}, v1=State.AVAILABLE)
    going = published(served, is_confirmed=True, v1=State.UNLOADING)
    assert going.models["m"].routes

    late = published(going, is_confirmed=False, now_s=WITHDRAWN_WITHIN_S + 0.1, v1=State.UNLOADING)

    assert late.models["m"].routes == {}


def test_a_label_is_pending_until_every_router_resolves_it() -> None:
    """Whoever is told that it names the new version may ask any router."""
    first = published(EMPTY, {"a": 1}, is_confirmed=True, v1=State.AVAILABLE)

    assert first.resolve("m", label="a").app == "m:1"
    assert first.models["m"].pending_labels == {"a": 1}
    assert published(first, {"a": 1}, is_confirmed=True, v1=State.AVAILABLE).models["m"].pending_labels == {}


def awaited(labels: dict[str, int], policy=None, *, judged: Judged = UNKNOWN, **states: State) -> set[int]:
    """Return the versions that readiness waits for, with `f1=State.START` for one whose load failed once."""
    records = {}
    for key, state in states.items():
        failure = Failure(Code.INTERNAL, "crashed") if key.startswith("f") else None
        servable = ServableId("m", int(key[1:]))
        records[servable] = VersionRecord(servable, "/m", state, failure=failure)
    config = replace(M, labels=labels, policy=policy or Latest(5))
    world = World(1.0, (config,), {"m": judged})
    once = routing_table(records, world, EMPTY)
    return {one.version for one in routing_table(records, world, once).awaited}


@pytest.mark.parametrize(
    ("labels", "states", "expected"),
    [
        ({}, {"v1": State.LOADING, "v2": State.LOADING}, {2}),
        ({"stable": 1}, {"v1": State.LOADING, "v2": State.LOADING, "v3": State.LOADING}, {1, 3}),
        ({"stable": 1}, {"v1": State.START, "v2": State.AVAILABLE}, {1}),
        ({"stable": 1}, {"f1": State.START, "v2": State.AVAILABLE}, set()),
        ({"stable": 1}, {"f1": State.END, "f2": State.END}, set()),
        ({"stable": 1, "canary": 2}, {"v1": State.AVAILABLE, "v2": State.AVAILABLE}, set()),
        ({"stable": 9}, {"v1": State.AVAILABLE}, set()),
    ],
)
def test_readiness_waits_for_the_newest_version_and_for_those_of_labels(labels, states, expected) -> None:
    """Until each has answered or failed once; a version that storage does not have is not waited for."""
    assert awaited(labels, **states) == expected


def test_readiness_waits_for_the_versions_that_the_policy_names() -> None:
    """Those that it only finds may come later."""
    states = {"v1": State.LOADING, "v2": State.LOADING, "v3": State.AVAILABLE}

    assert awaited({}, Specific(frozenset({1, 3})), **states) == {1}
    assert awaited({}, All(), **states) == set()


def test_readiness_waits_for_a_declared_version_that_only_a_second_look_can_judge() -> None:
    """At the start its files may be too young to count as complete."""
    listing = VersionListing({1: VersionDirectory("/m/1"), 2: VersionDirectory("/m/2")})
    unsure = Judged(listing, {1: "waits until its files stop changing"}, is_unsure=True)

    assert awaited({"stable": 1}, judged=unsure, v2=State.AVAILABLE) == {1}
    assert awaited({"stable": 1}, judged=replace(unsure, is_unsure=False), v2=State.AVAILABLE) == set()


def test_what_comes_later_does_not_take_a_ready_server_out_of_service() -> None:
    """Readiness waits for the first list only."""
    ready = table(EMPTY, {"stable": 1}, v1=State.AVAILABLE)
    assert (ready.settled, ready.awaited) == (True, frozenset())

    assert table(ready, {"stable": 2}, v1=State.AVAILABLE, v2=State.LOADING).awaited == frozenset()


def hosted(before: RoutingTable, host: str) -> RoutingTable:
    """Return the table after a version was seen running in a host, or with an application of its own."""
    servable = ServableId("m", 1)
    seen = AppObservation(Condition.RUNNING, host=host)
    world = World(1.0, (M,), apps={servable: seen})
    return routing_table({servable: VersionRecord(servable, "/m", State.AVAILABLE)}, world, before)


def test_a_route_leads_to_the_host_in_which_a_version_was_seen() -> None:
    """Also after it was loaded elsewhere, because its node was lost or its placement was changed."""
    first = hosted(EMPTY, "host@a")
    moved = hosted(first, "host@b")

    assert first.hosts == {"m:1": "host@a"}
    assert moved.hosts == {"m:1": "host@b"}
    assert hosted(moved, "").hosts == {}
    assert hosted(moved, "").resolve("m").app == "m:1"


def test_a_route_stays_where_it_led_while_the_version_is_not_seen() -> None:
    """A version that goes is still called until every router knows."""
    first = hosted(EMPTY, "host@a")

    after = published(first, is_confirmed=True, v1=State.AVAILABLE)

    assert after.hosts == {"m:1": "host@a"}


def test_a_table_carries_the_division_and_the_record_of_a_rollout() -> None:
    """Shares of a version without a route are stable's; labels of the plan are beside those of the list."""
    record = RolloutRecord(stable=7, canary=8, division=Division(((7, 9_000), (8, 1_000)), 3), labels={"stable": 7})
    plan = RolloutPlan((RolloutStep(weight=1_000),))
    delivered = {"m": Delivered(record=record, plan=plan, signature_changes=("input x is missing",))}
    both = {ServableId("m", number): VersionRecord(ServableId("m", number), "/m", State.AVAILABLE) for number in (7, 8)}
    world = World(1.0, (replace(M, labels={"mine": 8}),), delivered=delivered)

    model = routing_table(both, world, EMPTY).models["m"]
    one = routing_table({ServableId("m", 7): both[ServableId("m", 7)]}, world, EMPTY).models["m"]

    assert model.division == record.division
    assert (model.delivery, model.plan) == (record, plan)
    assert model.signature_changes == ("input x is missing",)
    assert model.labels == {"mine": 8, "stable": 7}
    assert one.division == Division(((7, 10_000),), 3)
