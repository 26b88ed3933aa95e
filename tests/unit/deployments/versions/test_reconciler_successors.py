"""Tests of what outlives a watcher, and of what a new one may not do at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig
from core.config.server_settings import ModelSourceSettings
from core.config.version_policy import All
from core.errors import Code, Problem
from core.routing.router_report import RouterReport
from core.routing.table import ModelRoutes
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from core.versions.world import AppObservation, Condition
from deployments.versions.reconciler import BUSY_TICK_S, FIRST_DELETE_AFTER_S
from tests.support.fakes import WALL_AHEAD_S, FakeRouter, Killed
from tests.support.sites import SETTINGS, M, Site

PROBLEMS = (Problem("typo", "models.config", 3),)


def history(site: Site, version: int = 1) -> VersionHistory:
    return site.router.table.models["m"].histories[version]


def broken_site() -> Site:
    """A site whose only version cannot be loaded; it may be tried twice."""
    site = Site()
    site.host.broken = lambda _: True
    return site


def turn(site: Site, *, seconds: float, ticks: int = 8) -> None:
    for _ in range(ticks):
        site.tick(seconds)
        site.host.progress()


@pytest.mark.parametrize("restart_every", [1, 2, 3])
def test_a_failing_version_is_tried_as_often_however_often_the_watcher_starts(restart_every) -> None:
    """A watcher that crashes again and again must not try a broken version for ever."""
    site = broken_site()
    for number in range(1, 31):
        site.tick(70.0)
        site.host.progress()
        if number % restart_every == 0:
            site.restart()
    site.tick()

    assert site.host.deployed == ["m:1", "m:1"]
    assert (site.state(1), history(site).failed_attempts) == (State.END, 2)


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("kill_at", range(1, 16))
def test_a_watcher_killed_at_any_call_loses_at_most_one_failure(kill_at, after_effect) -> None:
    """Nor does the next one count a failure twice whose application was not deleted yet."""
    site = broken_site()
    site.host.fail_with, site.host.fail_at, site.host.fail_after_effect = Killed(), kill_at, after_effect
    for _ in range(20):
        try:
            site.tick(35.0)
        except Killed:
            site.restart()
        site.host.progress()

    assert len(site.host.deployed) in {2, 3}
    assert (site.state(1), site.host.apps) == (State.END, {})


def test_the_next_attempt_is_due_when_it_was_due_for_the_former_watcher() -> None:
    """A restart neither hastens nor delays it; a wall clock that was set back does not put it off for hours."""
    site = broken_site()
    turn(site, seconds=1.0)
    assert history(site).retry_at_s == pytest.approx(site.clock.wall_s() + 53.0, abs=2.0)

    site.restart()
    site.tick(30.0)
    assert site.host.deployed == ["m:1"]
    site.restart()
    site.clock.set_back(7200.0)
    site.tick()
    site.tick(60.0)

    assert site.host.deployed == ["m:1", "m:1"]


def test_a_version_that_failed_for_good_is_not_tried_again_by_a_new_watcher_until_its_files_change() -> None:
    """Its error is still told."""
    site = broken_site()
    turn(site, seconds=70.0)
    assert site.state(1) is State.END

    site.restart()
    turn(site, seconds=70.0)
    (status,) = site.watch.table.statuses("m")
    assert (status.state, status.code, len(site.host.deployed)) == (State.END, Code.NOT_FOUND, 2)
    site.host.broken = lambda _: False
    site.source.write("/m", 1, changed_s=5.0)
    turn(site, seconds=2.0)

    assert site.host.running == {"m:1"}


def test_times_that_people_see_survive_the_watcher() -> None:
    """Since when a version answers and how long it took to load do not change because somebody else watches."""
    site = Site()
    site.settle()
    before = history(site)
    assert before.since_s == pytest.approx(site.clock.wall_s() - 16.0)
    assert before.load_s == 2.0

    site.restart()
    site.settle()

    assert history(site) == before
    assert site.watch.table.started_s == WALL_AHEAD_S + 1000.0 + FIRST_DELETE_AFTER_S + 2.0


def test_the_load_time_of_a_version_that_was_submitted_before_the_watcher_started_is_whole() -> None:
    """The launcher submits the first versions; Serve knows when."""
    site = Site()
    site.host.apps["m:1"] = AppObservation(Condition.DEPLOYING, deployed_s=site.clock.wall_s() - 7.0)
    site.tick()
    site.host.progress()

    site.tick(1.0)

    assert history(site).load_s == 8.0


def test_ended_versions_are_shown_on_by_a_new_watcher_and_forgotten_after_their_hour() -> None:
    """GetModelStatus must not depend on who watches."""
    site = Site((1, 2), configs=(replace(M, policy=All()),))
    site.settle()
    site.source.remove("/m", 1)
    site.settle()
    site.restart()
    site.tick()
    assert site.state(1) is State.END

    site.tick(3700.0)

    assert [one.version for one in site.watch.table.statuses("m")] == [2]


def test_a_wall_clock_that_is_set_back_does_not_stop_the_polling() -> None:
    """Deadlines and periods go by the steady clock."""
    site = Site()
    site.settle()
    site.clock.set_back(3600.0)
    site.source.write("/m", 2)

    site.settle()

    assert site.host.running == {"m:2"}
    assert site.tick() <= 2.0


def test_a_new_watcher_lets_every_router_pull_once_before_it_deletes() -> None:
    """A router that is just starting may hold the former watcher's table, and takes no broadcasts yet."""
    site = Site((1, 2), running=["m:1", "m:2"])
    site.clock.advance(-FIRST_DELETE_AFTER_S)
    site.tick()
    site.tick(FIRST_DELETE_AFTER_S - 1.0)
    assert site.host.deleted == []

    site.watch.pulled(RouterReport("starting", 0, {"m:1": 1}))
    site.tick(1.0)
    assert site.host.deleted == []
    site.watch.pulled(RouterReport("starting", site.watch.table.generation, {}, site.watch.table.watcher))
    site.tick(0.1)

    assert site.host.deleted == ["m:1"]


def test_an_application_that_never_was_in_a_table_is_deleted_without_asking_routers() -> None:
    """A router that hangs must not keep a failed load in the way of its next attempt."""
    site = broken_site()
    site.router.answers = True
    site.tick()
    site.router.answers = False
    site.host.progress()

    site.tick(1.0)

    assert site.host.deleted == ["m:1"]


def test_an_application_that_was_in_a_table_waits_for_the_router_that_hangs() -> None:
    """Also when it was lost meanwhile and deployed again under the same name."""
    site = Site((1, 2), configs=(replace(M, policy=All()),))
    site.settle()
    del site.host.apps["m:1"]
    site.router.answers = False
    site.tick(1.0)
    site.tick(1.0)
    assert site.host.deployed == ["m:2", "m:1", "m:1"]

    site.host.fail("m:1")
    site.tick(1.0)

    assert site.host.deleted == []


def test_a_new_watcher_with_a_broken_file_goes_on_with_the_last_good_list() -> None:
    """The list in force is in the routers' table, with or without requests."""
    site = Site()
    site.settle()
    site.model_list.problems = PROBLEMS
    site.source.write("/m", 2)
    site.restart()

    site.settle()

    assert site.host.running == {"m:2"}
    assert site.router.table.in_force.problems == PROBLEMS


def test_a_file_that_changed_while_no_watcher_ran_is_taken() -> None:
    """It wins over what a request brought before, as it does when a watcher sees the change."""
    site = Site()
    site.source.write("/n", 1)
    site.settle()
    site.model_list.configs = (ModelConfig("n", "/n"),)
    site.restart()

    site.settle()

    assert site.host.running == {"n:1"}


def test_files_that_are_not_polled_count_once_for_all_watchers() -> None:
    """A crash must not put another configuration in force."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings(model_config_file_poll_wait_s=0)))
    site.settle()
    site.model_list.configs = ()
    site.restart()

    site.settle()

    assert site.host.running == {"m:1"}


def test_a_label_that_was_held_is_held_by_the_next_watcher() -> None:
    """Nobody who asks by it notices that the watcher changed in the middle of a rollout."""
    site = Site(configs=(replace(M, labels={"stable": 1}),))
    site.settle()
    site.host.routers["s"] = FakeRouter("s", site.router.table)
    site.source.write("/m", 2)
    site.model_list.configs = (replace(M, labels={"stable": 2}),)
    site.tick(6.0)
    assert label(site.router.table.models["m"]) == (1, True)

    site.restart()
    site.tick()
    assert label(site.router.table.models["m"]) == (1, True)
    site.settle()

    assert label(site.router.table.models["m"]) == (2, False)


def label(model: ModelRoutes) -> tuple[int | None, bool]:
    return model.version_of("stable"), "stable" in model.pending_labels


def test_a_successor_that_cannot_read_the_files_says_so_and_changes_nothing() -> None:
    """Without a list nothing is loaded or unloaded; the routers show why."""
    site = Site()
    site.settle()
    site.model_list.problems = (Problem("holds only blanks and comments", "settings.yaml"),)
    site.model_list.placed = lambda _: site.model_list.models()  # the YAML file has what a published list lacks
    site.restart()

    site.tick()
    site.tick()

    assert site.router.table.in_force.problems == site.model_list.problems
    assert site.router.table.resolve("m").app == "m:1"
    assert len(site.host.published) == len({one.generation for one in site.host.published})


def test_a_router_that_another_watcher_took_over_is_taken_back_at_once() -> None:
    """The other one was cut off, and has published once more; the router tells it when it pulls next."""
    site = Site()
    site.settle()
    ours = site.watch.table
    site.router.table = replace(ours, generation=ours.generation + 5, watcher="other")

    site.watch.pulled(site.router.report())
    site.tick(1.0)

    assert (site.router.table.watcher, site.router.table.generation) == (ours.watcher, ours.generation + 6)
    assert site.tick(0.1) > BUSY_TICK_S
