"""Tests of the watcher's side of version hosts, against hosts in memory: placing, loading, losing, removing."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from core.config.server_settings import ServerSettings
from core.errors import Code
from core.versions.load_report import LoadFailed, failure_in
from core.versions.record import Failure
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.hosting import hosted_versions
from deployments.hosting.hosted_versions import ASKED_EVERY_S, SILENT_AFTER_S, UNUSED_AFTER_S, HostedVersions
from tests.support.fakes import FakeClock
from tests.support.version_hosts import FakeVersionHosts


def spec(name: str = "m", version: int = 1) -> ServableSpec:
    """Return what a host gets of a version."""
    return ServableSpec(ServableId(name, version), f"/{name}/{version}", ServerSettings())


@dataclass
class Site:
    """A watcher's hosted versions on a cluster."""

    hosts: FakeVersionHosts = field(default_factory=lambda: FakeVersionHosts("n1"))
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hosted = HostedVersions(self.hosts, self.clock, self.metrics.extend)

    def observe(self, *, after_s: float = ASKED_EVERY_S, own: tuple[str, ...] = ()) -> dict[str, tuple[Condition, str]]:
        """Let time pass and look; returns condition and host of each version."""
        self.clock.advance(after_s)
        running = dict.fromkeys(own, AppObservation(Condition.RUNNING))
        return {app: (one.condition, one.host) for app, one in self.hosted.observe(running).items()}

    def settle(self) -> dict[str, tuple[Condition, str]]:
        """Let everything finish what it is doing, and look."""
        for _ in range(3):
            self.observe()
            self.hosts.progress()
        return self.observe()

    def nodes(self) -> dict[str, set[str]]:
        """Return the versions in the host of each node."""
        return {node: set(one.apps) for node, one in self.hosts.hosts.items()}


@pytest.fixture
def site() -> Site:
    return Site()


def running(*apps: str, on: str = "n1") -> dict[str, tuple[Condition, str]]:
    return dict.fromkeys(apps, (Condition.RUNNING, f"host@{on}"))


def test_without_hosted_versions_nothing_is_asked(site: Site) -> None:
    """A server that hosts nothing pays nothing for it."""
    assert site.observe() == {}
    assert site.observe() == {}

    assert site.hosts.questions == 0


def test_the_first_version_of_a_node_starts_its_host_and_is_loaded_there(site: Site) -> None:
    """From the first moment it counts as being deployed."""
    site.hosted.load(spec())

    assert site.observe() == {"m:1": (Condition.DEPLOYING, "host@n1")}
    assert site.settle() == running("m:1")


def test_versions_that_wait_for_a_host_are_all_loaded_once_it_answers(site: Site) -> None:
    """Each of them once."""
    for name in "abc":
        site.hosted.load(spec(name))

    assert site.settle() == running("a:1", "b:1", "c:1")
    assert set(site.hosts.hosts["n1"].loads.values()) == {1}


def test_versions_spread_over_the_nodes() -> None:
    """The node with the fewest gets the next one."""
    site = Site(FakeVersionHosts("n1", "n2"))
    for name in "abcd":
        site.hosted.load(spec(name))

    site.settle()

    assert site.nodes() == {"n1": {"a:1", "c:1"}, "n2": {"b:1", "d:1"}}


def test_an_unloaded_version_ends_after_its_last_metrics_were_taken(site: Site) -> None:
    """What it counted stays counted."""
    site.hosted.load(spec())
    site.settle()

    site.hosted.unload("m:1")

    assert site.metrics == [b"metrics of m:1"]
    assert site.observe() == {"m:1": (Condition.DELETING, "host@n1")}
    assert site.settle() == {}


def test_a_failed_load_is_shown_with_its_reason_and_forgotten_when_unloaded(site: Site) -> None:
    """The watcher then tries it again, as it does for an application."""
    site.hosted.load(spec())
    site.settle()
    site.hosts.hosts["n1"].fail("m:1", LoadFailed(Code.NOT_FOUND, "no SavedModel there"))
    site.clock.advance(ASKED_EVERY_S)

    seen = site.hosted.observe({})["m:1"]
    site.hosted.unload("m:1")

    assert failure_in(seen.message) == Failure(Code.NOT_FOUND, "no SavedModel there")
    assert site.observe() == {}


def test_a_version_that_its_host_refuses_has_failed_with_the_host_s_words(site: Site) -> None:
    """And is not offered again and again."""
    site.hosted.load(spec())
    site.settle()
    site.hosts.hosts["n1"].refused["g:1"] = "a child has no GPU"
    site.hosted.load(spec("g"))
    site.observe()

    seen = site.hosted.observe({})["g:1"]

    assert failure_in(seen.message) == Failure(Code.INVALID_ARGUMENT, "The deployment was refused: a child has no GPU")
    assert seen.condition is Condition.FAILED


def test_versions_of_a_host_that_was_replaced_are_loaded_again(site: Site) -> None:
    """Until then they count as running or being deployed, and their routes stay."""
    site.hosted.load(spec("a"))
    site.hosted.load(spec("b"))
    site.settle()

    site.hosts.hosts["n1"].die()
    assert site.observe() == running("a:1", "b:1")
    site.hosts.hosts["n1"].is_up = True

    assert site.observe() == dict.fromkeys(("a:1", "b:1"), (Condition.DEPLOYING, "host@n1"))
    assert site.settle() == running("a:1", "b:1")


def test_versions_of_a_lost_node_are_loaded_on_another() -> None:
    """And the host that cannot come back is removed."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosted.load(spec("a"))
    site.settle()

    site.hosts.lose("n1")

    assert site.observe(after_s=5.0) == {"a:1": (Condition.DEPLOYING, "host@n2")}
    assert site.settle() == running("a:1", on="n2")
    assert site.hosts.stopped == ["n1"]


def test_a_new_watcher_finds_what_the_former_one_had_loaded(site: Site) -> None:
    """In the answers of the hosts; nothing is loaded twice."""
    site.hosted.load(spec())
    site.settle()

    successor = Site(site.hosts)

    assert successor.observe() == running("m:1")
    assert site.hosts.hosts["n1"].loads == {"m:1": 1}


def test_what_a_former_watcher_had_loaded_and_is_lost_is_gone(site: Site) -> None:
    """Its files and settings are not known here, so that it must be loaded anew."""
    site.hosted.load(spec())
    site.settle()
    successor = Site(site.hosts)
    successor.observe()

    site.hosts.hosts["n1"].die()
    site.hosts.progress()

    assert successor.observe() == {}


def test_a_host_that_fails_to_start_fails_its_versions_with_serve_s_words(site: Site) -> None:
    """The next attempt submits it again."""
    site.hosted.load(spec())
    site.hosts.broken["n1"] = "the library cannot be opened"
    site.observe()
    assert site.observe(after_s=SILENT_AFTER_S + 1) == {"m:1": (Condition.FAILED, "host@n1")}
    assert "the library cannot be opened" in site.hosted.observe({})["m:1"].message

    del site.hosts.broken["n1"]
    site.hosted.unload("m:1")
    site.hosted.load(spec())

    assert site.settle() == running("m:1")


def test_what_failed_with_its_host_stays_failed_until_it_is_unloaded(site: Site) -> None:
    """Otherwise a host that can never start would be started again and again, and nobody would see why."""
    site.hosted.load(spec())
    site.hosts.broken["n1"] = "the library cannot be opened"
    site.observe()
    failed = site.observe(after_s=SILENT_AFTER_S + 1)

    assert [site.observe(after_s=5.0) for _ in range(3)] == [failed] * 3


def test_a_version_is_placed_on_a_node_that_is_alive_now() -> None:
    """However long ago the nodes were looked at."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosted.load(spec("a"))
    site.settle()
    site.hosted.unload("a:1")
    site.settle()
    site.hosts.lose("n1")
    site.clock.advance(60.0)

    site.hosted.load(spec("b"))

    assert site.settle() == running("b:1", on="n2")


def test_a_host_that_does_not_answer_is_not_asked_for_last_metrics(site: Site) -> None:
    """The watcher repeats an unload that was not seen; each time it would wait."""
    site.hosted.load(spec())
    site.settle()
    site.hosts.hosts["n1"].is_up = False
    site.observe(after_s=hosted_versions.HEARD_LATELY_S + 1)
    before = site.hosts.questions

    site.hosted.unload("m:1")

    assert site.hosts.questions == before + 1


def test_a_host_that_somebody_deleted_is_noticed(site: Site) -> None:
    """Its versions fail, and their next attempt starts another one."""
    site.hosted.load(spec())
    site.settle()

    site.hosts.hosts.clear()
    site.observe()
    seen = site.observe(after_s=SILENT_AFTER_S + 1)

    assert seen == {"m:1": (Condition.FAILED, "host@n1")}


def test_a_host_without_versions_is_removed_after_a_while(site: Site) -> None:
    """Not at once: the next version may be on its way."""
    site.hosted.load(spec())
    site.settle()
    site.hosted.unload("m:1")
    site.settle()
    assert site.hosts.stopped == []

    site.observe(after_s=UNUSED_AFTER_S + 1)

    assert site.hosts.stopped == ["n1"]


def test_a_version_with_an_application_of_its_own_is_unloaded_from_its_host(site: Site) -> None:
    """The application counts: it is what another watcher saw."""
    site.hosted.load(spec())
    site.settle()
    successor = Site(site.hosts)

    assert successor.observe(own=("m:1",)) == {}
    site.hosts.progress()

    assert site.nodes() == {"n1": set()}


def test_a_host_in_which_nothing_moves_is_asked_once_a_second(site: Site) -> None:
    """While a version comes or goes, in every tick."""
    site.hosted.load(spec())
    site.settle()
    before = site.hosts.questions
    for _ in range(20):
        site.observe(after_s=0.1)
    resting = site.hosts.questions - before

    site.hosted.unload("m:1")
    site.observe(after_s=ASKED_EVERY_S)
    before = site.hosts.questions
    for _ in range(20):
        site.observe(after_s=0.1)

    assert 1 <= resting <= 3
    assert site.hosts.questions - before == 20


def test_a_host_that_hangs_does_not_stop_a_tick_for_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is taken by a later tick, and it is not asked twice at a time."""
    monkeypatch.setattr(hosted_versions, "PATIENCE_S", 0.001)
    site.hosted.load(spec())
    site.settle()
    late: Future[object] = Future()
    answers, site.hosts.ask = site.hosts.ask, lambda *_: late  # type: ignore[method-assign,assignment]

    assert site.observe() == running("m:1")
    assert site.observe() == running("m:1")
    site.hosts.ask = answers  # type: ignore[method-assign]
    late.set_result({"m:1": AppObservation(Condition.DELETING)})

    assert site.observe(after_s=0.0) == {"m:1": (Condition.DELETING, "host@n1")}
