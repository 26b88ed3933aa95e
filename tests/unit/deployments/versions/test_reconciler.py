"""Tests of the watcher's tick with storage, configuration and Serve in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig, ModelResources
from core.config.server_settings import LoadingSettings, ModelSourceSettings, PollingSettings
from core.config.version_policy import All
from core.errors import Code, Problem, Unavailable
from core.protos import model_config_pb2
from core.routing.admission import TrafficLimits
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.versions.lifecycle import State
from core.versions.record import Failure
from core.versions.world import AppObservation, Condition
from deployments.versions.published_table import ROUTER_FORGOTTEN_AFTER_S
from deployments.versions.reconciler import BUSY_TICK_S, Reconciler
from tests.support.fakes import HALF_WRITTEN, FakeRouter, Killed
from tests.support.sites import SETTINGS, M, Site

DRAINING = replace(M, resources=ModelResources(drain_timeout_s=30.0))


def test_a_version_found_is_deployed_and_then_routed_to() -> None:
    """The whole way from a directory to a table."""
    site = Site()

    site.tick()
    assert (site.host.deployed, site.host.paths, site.state(1)) == (["m:1"], {"m:1": "/m/1"}, State.LOADING)
    site.host.progress()
    site.tick()

    assert site.router.table.resolve("m").app == "m:1"


def test_a_version_still_being_copied_is_not_loaded() -> None:
    """A half-written directory must never reach a replica."""
    site = Site(running=["m:1"])
    site.source.write("/m", 2, HALF_WRITTEN)

    site.settle()

    assert site.host.running == {"m:1"}
    assert site.watch.table.models["m"].waiting[2].startswith("waits for saved_model.pb: it holds variables without")


def test_a_version_of_unknown_age_is_looked_at_twice() -> None:
    """Storage that does not tell times shows stillness only by two equal listings."""
    site = Site(())
    site.source.write("/m", 1, changed_s=None)

    site.tick()
    assert (site.host.deployed, site.watch.table.settled) == ([], False)
    site.tick(2.0)

    assert site.host.deployed == ["m:1"]


def test_storage_that_is_not_polled_is_still_asked_until_versions_are_complete() -> None:
    """With a poll period of 0 the one look includes the time that a copy takes."""
    site = Site((), settings=replace(SETTINGS, polling=PollingSettings(file_system_poll_wait_s=0)))
    site.source.write("/m", 1, changed_s=None)
    site.tick()
    site.tick(1.0)
    assert site.host.deployed == ["m:1"]
    listed = site.source.listed["/m"]

    site.settle()

    assert site.source.listed["/m"] == listed


def test_a_new_version_replaces_the_old_one_without_a_gap() -> None:
    """In every table that the router ever had, one of both answers; the old application ends last."""
    site = Site(running=["m:1"])
    site.tick()
    site.source.write("/m", 2)

    site.settle()

    assert all(table.models["m"].routes for table in site.host.published)
    assert (site.host.running, site.host.deployed, site.host.deleted) == ({"m:2"}, ["m:2"], ["m:1"])


def test_a_broken_version_is_tried_as_often_as_configured_and_then_shows_its_error() -> None:
    """The old version answers on."""
    site = Site((1, 2), running=["m:1"])
    site.host.broken = lambda path: path == "/m/2"
    site.settle()
    assert site.state(2) is State.LOADING

    site.clock.advance(60.0)
    site.settle()

    (status,) = site.watch.table.statuses("m", 2)
    assert (status.state, status.code, status.message) == (State.END, Code.NOT_FOUND, "no SavedModel there")
    assert site.host.deployed == ["m:2", "m:2"]
    assert site.host.running == {"m:1"}


def test_a_deployment_that_serve_refuses_is_a_failed_version() -> None:
    """Options that Serve does not take concern one model; the others go on, and the watcher lives."""
    site = Site(configs=(M, ModelConfig("n", "/n")))
    site.source.write("/n", 1)
    site.host.refused["m:1"] = ValueError("num_gpus must not be negative")
    site.tick()
    site.settle()
    site.tick(60.0)

    (status,) = site.watch.table.statuses("m")
    assert (status.state, status.code) == (State.END, Code.INVALID_ARGUMENT)
    assert status.message == "The deployment was refused: num_gpus must not be negative"
    assert site.host.running == {"n:1"}


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_deployment_whose_outcome_is_unknown_is_neither_lost_nor_doubled(after_effect) -> None:
    """The next look at Serve tells whether it was carried out."""
    site = Site()
    site.host.fail_at, site.host.fail_after_effect = 3, after_effect
    with pytest.raises(Unavailable):
        site.tick()

    site.settle()

    assert (site.host.deployed, site.host.running) == (["m:1"], {"m:1"})


def test_a_running_version_is_not_deployed_again_by_a_new_watcher() -> None:
    """Nothing is deployed, deleted or published for the restart alone."""
    site = Site()
    site.settle()
    table = site.watch.table

    site.restart()
    site.settle()

    assert (site.host.deployed, site.host.deleted, site.router.table) == (["m:1"], [], table)


def upgrade(kill_at: int | None, *, after_effect: bool) -> tuple[Site, int]:
    """Roll from version 1 to 2 with a broken 3 beside; the watcher is killed in the given call to the host."""
    site = Site(running=["m:1"], configs=(replace(M, policy=All()),))
    site.settle(1)
    site.source.write("/m", 2)
    site.source.write("/m", 3)
    site.source.remove("/m", 1)
    site.host.broken = lambda path: path == "/m/3"
    site.host.may_delete = lambda app: assert_nobody_needs(site, app)
    begun = site.host.calls
    site.host.fail_with = Killed()
    site.host.fail_at = None if kill_at is None else begun + kill_at
    site.host.fail_after_effect = after_effect
    turn_until_over(site)
    calls = site.host.calls - begun
    turn_until_over(site)
    return site, calls


def turn_until_over(site: Site) -> None:
    for _ in range(12):
        try:
            site.tick(20.0)
        except Killed:
            site.restart()
        assert site.router.table.models["m"].latest is not None
        site.host.progress()


def assert_nobody_needs(site: Site, app: str) -> None:
    assert not site.router.needs(app)


CALLS = upgrade(None, after_effect=False)[1]


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_watcher_that_is_killed_at_any_call_is_continued_by_the_next(after_effect) -> None:
    """Whenever the process dies, before or after Serve did what it was told, the rollout comes to the same end."""
    for kill_at in range(1, CALLS + 1):
        site, _ = upgrade(kill_at, after_effect=after_effect)

        assert site.host.running == {"m:2"}, kill_at
        assert site.router.table.apps == {"m:2"}, kill_at
        assert site.host.deployed.count("m:2") == 1, kill_at
        assert site.state(3) is State.END, kill_at


def test_an_application_is_not_deleted_while_a_call_is_in_flight() -> None:
    """Calls to an application that is being deleted would hang."""
    site = Site((1, 2), running=["m:1", "m:2"])
    site.router.in_flight["m:1"] = 1
    site.tick()
    assert (site.host.deleted, site.state(1)) == ([], State.UNLOADING)

    site.router.in_flight.clear()
    site.tick(1.0)

    assert site.host.deleted == ["m:1"]


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_drain_timeout_ends_the_wait_for_calls(is_removed) -> None:
    """After it the application goes, although somebody still waits; a removed model has the server's timeout."""
    site = Site((1, 2), running=["m:1", "m:2"], configs=(ModelConfig("a", "/a"), DRAINING))
    site.router.in_flight.update({"m:1": 1, "m:2": 1})
    site.tick()
    if is_removed:
        site.model_list.configs = ()
    site.tick(29.0)
    assert site.host.deleted == []

    site.tick(2.0)

    assert "m:1" in site.host.deleted


def test_an_application_is_not_deleted_until_every_router_confirmed() -> None:
    """A router that does not answer may still use the old table."""
    site = Site((1, 2), running=["m:1", "m:2"])
    site.router.answers = False
    with pytest.raises(Unavailable):
        site.tick()
    site.router.answers = True
    site.tick()
    site.router.answers = False
    site.model_list.configs = ()
    site.tick(5.0)
    site.tick(1.0)
    assert site.host.deleted == ["m:1"]

    site.router.answers = True
    site.tick(1.0)

    assert site.host.deleted == ["m:1", "m:2"]


def test_a_router_that_pulls_but_takes_no_broadcasts_yet_counts() -> None:
    """A starting router may have got the table in which the version still stood; silent ones are forgotten."""
    site = Site((1, 2), running=["m:1", "m:2"])
    site.router.is_known = False
    site.watch.pulled(RouterReport("r", 0))
    site.tick()
    assert site.host.deleted == []

    site.tick(ROUTER_FORGOTTEN_AFTER_S + 1.0)

    assert site.host.deleted == ["m:1"]


def test_generations_rise_over_restarts_of_the_watcher() -> None:
    """A new watcher goes on from the newest table of a router."""
    site = Site()
    site.router.table = RoutingTable(41)
    site.host.routers["s"] = FakeRouter("s", RoutingTable(17))

    site.tick()

    assert site.watch.table.generation == 42


@pytest.mark.parametrize("is_known", [False, True])
def test_a_router_that_is_ahead_is_overtaken(is_known) -> None:
    """It was out of reach when the watcher started, and would take no table with a lower generation."""
    site = Site()
    site.router.is_known = False
    site.router.table = RoutingTable(50)
    site.tick()
    assert site.watch.table.generation == 1

    site.router.is_known = is_known
    if not is_known:
        site.router.apply(site.watch.pulled(site.router.report()))
    site.host.progress()
    site.tick(1.0)
    site.router.apply(site.watch.pulled(site.router.report()))

    assert site.router.table == site.watch.table
    assert site.router.table.resolve("m").app == "m:1"


def test_a_router_that_is_ahead_is_overtaken_although_nothing_else_changes() -> None:
    """It would keep its table until the next change of a version, which may be weeks away."""
    site = Site()
    site.settle()
    late = FakeRouter("late", RoutingTable(50))

    late.apply(site.watch.pulled(late.report()))
    site.tick()
    late.apply(site.watch.pulled(late.report()))

    assert late.table == site.router.table == site.watch.table
    assert late.table.resolve("m").app == "m:1"


def test_a_lost_broadcast_does_not_hold_up_anything() -> None:
    """Routers pull as well."""
    site = Site()
    site.tick()
    site.host.progress()
    site.router.answers = False

    site.tick(1.0)

    assert site.router.apply(site.watch.pulled(site.router.report())).generation == site.watch.table.generation
    assert site.router.table.resolve("m").app == "m:1"


def test_a_broken_configuration_changes_nothing() -> None:
    """The old one stays in force; the mistakes are kept for whoever asks, and logged once."""
    site = Site()
    site.settle()
    site.model_list.problems = (Problem("typo"),)

    site.tick(5.0)
    site.tick(5.0)
    assert site.watch.configuration.problems == (Problem("typo"),)
    assert site.host.running == {"m:1"}

    site.model_list.problems = ()
    site.tick(5.0)
    assert site.watch.configuration.problems == ()


def test_nothing_happens_before_a_configuration_was_read() -> None:
    """Above all, nothing is deleted because no model is known yet; the files are read again at every tick."""
    site = Site(running=["m:1"])
    site.model_list.problems = (Problem("typo"),)
    site.tick()
    assert (site.host.running, site.watch.table) == ({"m:1"}, RoutingTable(0))

    site.model_list.problems = ()
    site.tick(0.1)

    assert site.watch.table.resolve("m").app == "m:1"


def test_the_configuration_is_read_once_when_it_is_not_polled() -> None:
    """TensorFlow Serving's default."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings(model_config_file_poll_wait_s=0)))
    site.settle()
    site.model_list.configs = ()

    site.settle()

    assert site.host.running == {"m:1"}


def test_a_model_that_is_removed_and_added_again_is_served_again() -> None:
    """What was known of its storage is forgotten in between."""
    site = Site()
    site.settle()
    site.model_list.configs = ()
    site.settle()
    assert site.host.apps == {}
    assert site.state(1) is State.END

    site.model_list.configs = (M,)
    site.settle()

    assert site.host.running == {"m:1"}


@pytest.mark.parametrize("restart", [False, True])
def test_storage_that_fails_unloads_nothing(restart) -> None:
    """The problem is shown; the other models go on."""
    site = Site(configs=(M, ModelConfig("n", "/n")))
    site.settle()
    site.source.errors["/m"] = "UNAVAILABLE: no route to host"
    site.source.write("/n", 1)
    if restart:
        site.restart()

    site.settle()

    assert site.host.running == {"m:1", "n:1"}
    assert site.watch.table.models["m"].problem == (
        "Could not find base path /m for servable m with error UNAVAILABLE: no route to host"
    )


def test_an_empty_base_path_is_told_and_unloads() -> None:
    """TensorFlow Serving does the same, with this text."""
    site = Site()
    site.settle()
    site.source.remove("/m", 1)

    site.settle()

    assert site.host.apps == {}
    assert site.watch.table.models["m"].problem == (
        "No versions of servable m found under base path /m. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def test_a_lost_application_is_deployed_again() -> None:
    """Somebody deleted it behind our back."""
    site = Site()
    site.settle()
    del site.host.apps["m:1"]

    site.settle()

    assert site.host.running == {"m:1"}


def test_applications_of_nobodys_model_are_removed() -> None:
    """A former configuration left them."""
    site = Site(running=["m:1", "old:3"])

    site.settle()

    assert site.host.apps == {"m:1": AppObservation(Condition.RUNNING)}


def test_ticks_are_frequent_only_while_something_moves() -> None:
    """Otherwise the next look is due with storage, configuration or a retry, at the latest after a second."""
    site = Site()
    assert site.tick() == BUSY_TICK_S
    site.host.progress()
    assert site.tick() == 1.0
    assert site.tick(1.5) == pytest.approx(0.5)

    site.source.write("/m", 2)
    site.host.broken = lambda _: True
    site.tick(2.0)
    site.host.progress()
    site.tick()
    site.host.progress()
    assert site.tick(59.4) == pytest.approx(0.6)


def test_as_many_versions_load_at_a_time_as_the_cluster_has_cpus() -> None:
    """Unless the number of load threads is given."""
    unlimited = replace(SETTINGS, loading=LoadingSettings(num_load_threads=0))
    site = Site((1, 2, 3), configs=(replace(M, policy=All()),), settings=unlimited)

    for _ in range(4):
        site.tick()

    assert site.host.deployed == ["m:3", "m:2"]


def reload_of(*names: str) -> model_config_pb2.ModelServerConfig:
    """Make the configuration of a reload request."""
    config = model_config_pb2.ModelServerConfig()
    for name in names:
        config.model_config_list.config.add(name=name, base_path=f"/{name}", model_platform="tensorflow")
    return config


@pytest.mark.parametrize("names", [("m",), ("m", "n")])
def test_a_reloaded_list_of_models_outlives_the_watcher(names) -> None:
    """Routers hold it, also when it changes nothing else; files that are not polled do not count again."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings(model_config_file_poll_wait_s=0)))
    site.source.write("/n", 1)
    site.settle()

    assert site.watch.configuration.reload(reload_of(*names), site.watch.table).added == set(names) - {"m"}
    site.settle()
    assert site.router.table.in_force.is_requested
    site.model_list.configs = ()
    site.restart()
    site.settle()

    assert site.host.running == {f"{name}:1" for name in names}


def test_a_reloaded_list_stays_until_the_configuration_file_changes() -> None:
    """TensorFlow Serving's poller would undo the reload within seconds; ours waits for somebody's change."""
    site = Site()
    for base_path in ("/n", "/o"):
        site.source.write(base_path, 1)
    site.settle()
    site.watch.configuration.reload(reload_of("n"), site.watch.table)
    site.settle()
    assert site.host.running == {"n:1"}

    site.model_list.configs = (M, ModelConfig("o", "/o"))
    site.settle()

    assert site.host.running == {"m:1", "o:1"}
    assert not site.router.table.in_force.is_requested


def test_a_version_whose_runs_all_fail_is_published_with_its_error() -> None:
    """Routers report it when they pull; it stays AVAILABLE and routed, and recovers with their next report."""
    site = Site(running=["m:1"])
    site.tick()
    lost = Failure(Code.INTERNAL, "every run failed so far: device lost")

    site.watch.pulled(RouterReport("r", 1, failing={"m:1": lost, "gone:7": lost}))
    site.tick()
    (status,) = site.watch.table.statuses("m", 1)
    assert (status.state, status.code, status.message) == (State.AVAILABLE, lost.code, lost.message)
    assert site.watch.table.models["m"].is_failing
    generation = site.watch.table.generation
    site.tick()
    assert site.watch.table.generation == generation

    site.watch.pulled(RouterReport("r", 2))
    site.tick()
    assert not site.watch.table.models["m"].is_failing


def test_the_report_of_a_router_that_is_gone_is_forgotten() -> None:
    """Otherwise its last word would hold for as long as the watcher lives."""
    site = Site(running=["m:1"])
    site.tick()
    site.watch.pulled(RouterReport("other", 1, failing={"m:1": Failure(Code.INTERNAL, "device lost")}))
    site.tick()
    assert site.watch.table.models["m"].is_failing

    site.tick(ROUTER_FORGOTTEN_AFTER_S + 1.0)

    assert not site.watch.table.models["m"].is_failing


def limited(**limits: float) -> ModelConfig:
    """Return the model with limits."""
    return replace(M, resources=replace(M.resources, **limits))


def test_changed_limits_reach_the_routers_and_load_nothing() -> None:
    """A limit is raised because it hurts: nobody wants to wait for a load then."""
    site = Site(running=["m:1"])
    site.settle()
    assert site.router.table.models["m"].limits == TrafficLimits()

    site.model_list.configs = (limited(max_requests_per_second=5.0, max_in_flight=2),)
    site.tick(6.0)

    assert site.router.table.models["m"].limits == TrafficLimits(5.0, 2)
    assert site.host.deployed == []
    assert site.state(1) is State.AVAILABLE


def test_routers_learn_how_many_they_are() -> None:
    """They share the limits of models; one that is gone leaves its part to the others after a while."""
    site = Site(running=["m:1"], configs=(limited(max_in_flight=2),))
    for name in ("r", "s", "t"):
        site.watch.pulled(RouterReport(name, 0))
    site.settle()
    for name in ("r", "s"):
        site.watch.pulled(RouterReport(name, site.watch.table.generation))
    site.tick()
    before = site.router.table.routers

    site.clock.advance(ROUTER_FORGOTTEN_AFTER_S - 1.0)
    site.watch.pulled(RouterReport("r", site.watch.table.generation))
    site.tick(2.0)

    assert (before, site.router.table.routers) == (2, 1)


def test_a_new_watcher_keeps_the_number_of_routers_until_all_could_pull() -> None:
    """Otherwise each would let in the whole for a moment."""
    site = Site(running=["m:1"], configs=(limited(max_in_flight=2),))
    for name in ("r", "s"):
        site.watch.pulled(RouterReport(name, 0))
    site.tick(1.0)
    assert site.router.table.routers == 2

    site.watch = Reconciler(site.settings, site.host, site.source, site.model_list, site.clock)
    site.tick()

    assert site.watch.table.routers == 2
