"""Tests of the watcher's side of version hosts, against hosts in memory: placing, loading, losing, removing."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from core.config.server_settings import ServerSettings
from core.errors import Code, FailedPrecondition
from core.versions.hosted import FIRST_PAUSE_S
from core.versions.load_report import LoadFailed, failure_in
from core.versions.record import Failure
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.hosting import hosted_versions
from deployments.hosting.followed_host import ASKED_EVERY_S, SILENT_AFTER_S
from deployments.hosting.hosted_versions import STARTS_WITHIN_S, UNUSED_AFTER_S, HostedVersions
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
        self.hosted = HostedVersions(self.hosts, self.clock, self.metrics.extend, patience_s=0.001)

    def successor(self, **routed: str) -> Site:
        """Replace the watcher by a fresh one, to which the routers' table leads by name and node of hosted models."""
        site = Site(self.hosts, self.clock, self.metrics)
        site.hosted.recall({f"{name}:1": f"host@{node}" for name, node in routed.items()})
        return site

    def load(self, *names: str) -> None:
        """Load the first versions of models."""
        for name in names:
            self.hosted.load(spec(name))

    def wait(self, seconds: float) -> dict[str, tuple[Condition, str]]:
        """Look every second for a while."""
        for _ in range(int(seconds)):
            self.observe(after_s=1.0)
        return self.observe(after_s=1.0)

    def reason(self, app: str) -> Failure:
        """Return why a version has failed."""
        seen = self.hosted.observe({})[app]
        assert seen.condition is Condition.FAILED
        return failure_in(seen.message)

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


def test_a_host_that_hangs_does_not_stop_a_tick_for_long(site: Site) -> None:
    """Its answer is taken by a later tick, and it is not asked twice at a time."""
    site.hosted.load(spec())
    site.settle()
    late: Future[object] = Future()
    answers, site.hosts.ask = site.hosts.ask, lambda *_: late  # type: ignore[method-assign,assignment]

    assert site.observe() == running("m:1")
    assert site.observe() == running("m:1")
    site.hosts.ask = answers  # type: ignore[method-assign]
    late.set_result({"m:1": AppObservation(Condition.DELETING)})

    assert site.observe(after_s=0.0) == {"m:1": (Condition.DELETING, "host@n1")}


def deploying(*apps: str, on: str = "n1") -> dict[str, tuple[Condition, str]]:
    return dict.fromkeys(apps, (Condition.DEPLOYING, f"host@{on}"))


def test_until_a_found_host_has_answered_what_the_table_leads_to_counts_as_there(site: Site) -> None:
    """A late answer, or a host that is being replaced, says nothing about the versions: they answer requests."""
    site.load("a", "b")
    site.settle()
    site.hosts.late.add("n1")
    successor = site.successor(a="n1", b="n1")

    assert successor.observe() == deploying("a:1", "b:1")
    assert successor.wait(SILENT_AFTER_S + 1) == deploying("a:1", "b:1")
    site.hosts.late.clear()
    site.hosts.answer()

    assert successor.observe() == running("a:1", "b:1")
    assert successor.observe() == running("a:1", "b:1")


def test_what_a_found_host_answers_without_is_gone(site: Site) -> None:
    """The table may lead to what has ended meanwhile; likewise where there is no host at all."""
    site.load("a")
    site.settle()
    successor = site.successor(a="n1", b="n1", c="n2")

    assert successor.observe() == running("a:1")


def test_what_a_host_was_assumed_to_have_is_gone_with_it(site: Site) -> None:
    """As soon as Serve has said so."""
    site.load("a")
    site.settle()
    site.hosts.late.add("n1")
    successor = site.successor(a="n1")
    successor.observe()

    site.hosts.hosts.clear()

    assert successor.wait(SILENT_AFTER_S + 1) == {}


def test_nothing_is_loaded_that_a_found_host_may_have() -> None:
    """It is known only when it has answered: the version stays where it is, although another node has fewer."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.without_cpus.add("n1")  # so that all come to n2
    site.load("a", "b")
    site.settle()
    site.hosts.without_cpus.clear()
    site.hosts.late.add("n2")
    successor = site.successor(b="n2")
    successor.observe()

    successor.load("a")
    assert successor.observe()["a:1"][0] is Condition.DEPLOYING
    assert site.hosts.started == ["n2"]
    site.hosts.late.clear()
    site.hosts.answer()

    assert successor.settle() == running("a:1", "b:1", on="n2")
    assert site.hosts.hosts["n2"].loads == {"a:1": 1, "b:1": 1}
    assert site.hosts.started == ["n2"]


def test_a_version_is_loaded_although_a_found_host_never_answers() -> None:
    """After a while it counts as lost."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.load("a")
    site.settle()
    site.hosts.late.add("n1")
    successor = site.successor(a="n1")
    successor.observe()

    successor.load("b")
    successor.wait(SILENT_AFTER_S + 1)

    assert successor.settle() == deploying("a:1") | running("b:1", on="n2")


def test_a_version_that_waits_for_a_found_host_may_be_unloaded(site: Site) -> None:
    """It was nowhere."""
    site.load("a")
    site.settle()
    site.hosts.late.add("n1")
    successor = site.successor()
    successor.observe()
    successor.load("b")

    successor.hosted.unload("b:1")

    assert successor.observe() == {}


def test_what_a_failed_host_had_is_loaded_on_another_node() -> None:
    """And the node is left out while that one is there, for a pause that grows."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.broken["n1"] = "no space left"
    site.load("a")

    site.wait(SILENT_AFTER_S + 1)
    assert site.settle() == running("a:1", on="n2")
    site.load("b")
    site.wait(SILENT_AFTER_S + 1)

    assert site.settle() == running("a:1", "b:1", on="n2")
    assert site.hosts.started == ["n1", "n2"]


def test_a_node_whose_host_failed_is_used_again_when_its_pause_is_over() -> None:
    """Somebody may have mended it."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.broken["n1"] = "no space left"
    site.load("a")
    site.wait(SILENT_AFTER_S + 1)
    site.hosts.broken.clear()
    site.settle()

    site.clock.advance(FIRST_PAUSE_S)
    site.load("b")

    assert site.settle() == running("a:1", on="n2") | running("b:1")


def test_a_node_whose_host_has_answered_meanwhile_is_left_out_for_the_first_pause_only() -> None:
    """What failed long ago is over."""
    site = Site(FakeVersionHosts("n1", "n2"))
    for name in "ab":
        site.hosts.broken["n1"] = "no space left"
        site.load(name)
        site.wait(SILENT_AFTER_S + 1)
        site.hosts.broken.clear()
        site.settle()
        site.clock.advance(FIRST_PAUSE_S)
        site.load(f"{name}2")
        assert site.settle()[f"{name}2:1"] == (Condition.RUNNING, "host@n1")
        for app in (f"{name}:1", f"{name}2:1"):
            site.hosted.unload(app)
        site.settle()
        site.observe(after_s=UNUSED_AFTER_S + 1)


def test_a_host_that_never_starts_is_given_up_while_there_is_another_node() -> None:
    """Serve then calls it one that is being deployed, for ever; without another node it may take its time."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.late.add("n1")
    site.load("a")
    site.wait(STARTS_WITHIN_S + SILENT_AFTER_S)
    assert site.settle() == running("a:1", on="n2")

    alone = Site()
    alone.hosts.late.add("n1")
    alone.load("a")

    assert alone.wait(2 * STARTS_WITHIN_S) == deploying("a:1")


def test_when_the_hosts_of_all_nodes_fail_the_version_fails_with_the_last_reason() -> None:
    """It is not moved from one to the other for ever."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.broken |= {"n1": "no space left", "n2": "no library"}
    site.load("a")

    assert site.wait(2 * SILENT_AFTER_S + 4) == {"a:1": (Condition.FAILED, "host@n2")}
    assert "no library" in site.reason("a:1").message


def test_a_host_that_only_raises_fails_what_waits_for_it_with_its_error(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """After a while, and without a line of the log for each question; the next attempt starts another host."""
    site.hosts.raising["n1"] = FailedPrecondition("/tmp/h1 is not for this user alone")
    site.load("a")
    site.hosts.host_up()

    assert site.observe() == deploying("a:1")
    assert site.wait(SILENT_AFTER_S + 1) == {"a:1": (Condition.FAILED, "host@n1")}

    assert site.reason("a:1") == Failure(
        Code.UNAVAILABLE, "The version host of its node cannot load it: /tmp/h1 is not for this user alone"
    )
    assert caplog.text.count("host_does_not_answer") == 1
    site.hosts.raising.clear()
    site.hosted.unload("a:1")
    site.load("a")
    assert site.settle() == running("a:1")


def test_a_host_that_begins_to_raise_keeps_what_it_runs(site: Site) -> None:
    """Its versions are processes of their own, and answer."""
    site.load("a")
    site.settle()
    site.hosts.raising["n1"] = FailedPrecondition("the disk is full")
    site.load("b")

    assert site.wait(SILENT_AFTER_S + 1) == running("a:1") | {"b:1": (Condition.FAILED, "host@n1")}
    assert site.hosts.stopped == []


def test_a_load_that_only_raises_fails_with_its_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Although its host answers other questions; one error alone says nothing."""
    site.load("a")
    site.settle()
    site.hosts.raising["n1.load"] = OSError(28, "No space left on device")
    site.load("b")
    assert site.observe() == running("a:1") | deploying("b:1")

    assert site.wait(SILENT_AFTER_S + 1) == running("a:1") | {"b:1": (Condition.FAILED, "host@n1")}

    assert "No space left on device" in site.reason("b:1").message
    assert caplog.text.count("hosted_load_failed") == 1


@pytest.mark.parametrize("raising", ["n1", "n1.load"])
def test_errors_count_only_from_the_last_success(site: Site, raising: str) -> None:
    """What is over has nothing to do with what comes later."""
    site.load("a")
    site.settle()
    for name in "bcd":
        site.hosts.raising[raising] = OSError(28, "No space left on device")
        site.hosts.hosts["n1"].die()
        site.hosts.host_up()
        site.load(name)
        conditions = {condition for condition, _ in site.wait(SILENT_AFTER_S / 2).values()}
        assert Condition.FAILED not in conditions
        site.hosts.raising.clear()
        assert site.settle()[f"{name}:1"] == (Condition.RUNNING, "host@n1")


def test_nodes_without_cpus_get_no_versions() -> None:
    """Ray keeps them free of work; only where there is no other node they are used."""
    site = Site(FakeVersionHosts("n1", "n2"))
    site.hosts.without_cpus.add("n1")
    site.load("a", "b")
    assert site.settle() == running("a:1", "b:1", on="n2")

    site.hosts.lose("n2")

    site.observe(after_s=5.0)
    assert site.settle() == running("a:1", "b:1")


def test_a_host_that_failed_is_deleted(site: Site) -> None:
    """Otherwise it would stay for ever, and a new watcher would take it for one that works."""
    site.load("a")
    site.hosts.broken["n1"] = "no library"

    site.wait(SILENT_AFTER_S + 1)

    assert site.hosts.stopped == ["n1"]


def test_a_new_watcher_takes_over_only_hosts_that_run_or_start() -> None:
    """It deletes those that failed, and leaves those alone that end."""
    site = Site(FakeVersionHosts("n1", "n2", "n3"))
    site.load("a", "b", "c")
    site.settle()
    site.hosts.broken["n1"] = "no library"
    site.hosts.deleting.add("n2")

    successor = site.successor()

    assert successor.observe() == running("c:1", on="n3")
    assert site.hosts.stopped == ["n1"]


def test_a_host_that_could_not_be_deleted_is_deleted_later(site: Site) -> None:
    """It is not forgotten while its application is there."""
    site.load("a")
    site.settle()
    site.hosted.unload("a:1")
    site.settle()
    site.hosts.stop_fails = TimeoutError("Serve does not answer")
    with pytest.raises(TimeoutError):
        site.observe(after_s=UNUSED_AFTER_S + 1)
    assert site.hosts.hosts

    site.hosts.stop_fails = None
    site.observe()

    assert site.hosts.stopped == ["n1"]
