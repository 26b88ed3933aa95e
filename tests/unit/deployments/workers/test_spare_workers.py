"""Which nodes are asked for spare workers, and what happens where Ray does not start them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping

import grpc
import pytest

from core.versions.spare_workers import RENEW_AFTER_S, SHORT_LOOK_S
from deployments.workers.spare_workers import NotOffered, SpareWorkers
from tests.support.clients import wait_until
from tests.support.fakes import FakeClock

SEEN_WITHIN_S = 20.0


class FakeRaylets:
    """Nodes that start workers at once, unless they are away; implements `Raylets`."""

    def __init__(self, *nodes: str) -> None:
        self.idle = dict.fromkeys(nodes, 0)
        self.asked: list[str] = []
        self.away: set[str] = set()
        self.is_offered = True
        self.mistakes: list[Exception] = []

    def nodes(self) -> Mapping[str, str]:
        """Return the nodes, each at an address of its own."""
        if self.mistakes:
            raise self.mistakes.pop()
        return {node: f"{node}:1" for node in self.idle}

    def idle_workers(self, address: str) -> int:
        """Count, unless the node is away."""
        if address.removesuffix(":1") in self.away:
            raise grpc.RpcError(f"{address} is away")
        return self.idle[address.removesuffix(":1")]

    def prestart(self, address: str, count: int) -> None:
        """Start workers."""
        if not self.is_offered:
            raise NotOffered("no PrestartWorkers")
        node = address.removesuffix(":1")
        self.asked += [node] * count
        self.idle[node] += count


def spares(raylets: FakeRaylets, clock: FakeClock, wanted: int = 1) -> SpareWorkers:
    """Return spare workers long after the last load."""
    made = SpareWorkers(wanted, clock, raylets)
    clock.advance(RENEW_AFTER_S + SHORT_LOOK_S)
    return made


def test_each_node_gets_as_many_as_wanted() -> None:
    """And none more at the next look."""
    raylets, clock = FakeRaylets("a", "b"), FakeClock()
    raylets.idle["b"] = 1
    workers = spares(raylets, clock, wanted=2)

    workers.look()
    workers.look()

    assert sorted(raylets.asked) == ["a", "a", "b"]


def test_a_worker_that_a_version_took_is_replaced() -> None:
    """On the node where it was taken."""
    raylets, clock = FakeRaylets("a", "b"), FakeClock()
    workers = spares(raylets, clock)
    workers.look()

    clock.advance(SHORT_LOOK_S)
    workers.load_begins()
    raylets.idle["b"] = 0
    workers.look()

    assert raylets.asked == ["a", "b", "b"]


def test_a_node_that_does_not_answer_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It has just ended, or is about to; one line says so."""
    raylets, clock = FakeRaylets("a", "b", "c"), FakeClock()
    raylets.away.add("a")
    workers = spares(raylets, clock)

    with caplog.at_level(logging.WARNING):
        workers.look()

    assert raylets.asked == ["b", "c"]
    assert [record.getMessage().split()[0] for record in caplog.records] == ["spare_workers_failed"]


def test_a_node_that_comes_again_is_a_new_one() -> None:
    """What was known of it has gone with it."""
    raylets, clock = FakeRaylets("a"), FakeClock()
    workers = spares(raylets, clock)
    workers.look()
    del raylets.idle["a"]
    workers.look()
    raylets.idle["a"] = 0

    workers.look()

    assert raylets.asked == ["a", "a"]


@pytest.fixture
def raylets() -> FakeRaylets:
    return FakeRaylets("a")


@pytest.fixture
def working(raylets: FakeRaylets) -> Iterator[SpareWorkers]:
    """Spare workers whose thread looks at once, because the last load is long ago."""
    workers = spares(raylets, FakeClock())
    yield workers
    workers.stop()


def thread_names() -> set[str]:
    """Return the names of the threads that run."""
    return {one.name for one in threading.enumerate()}


def test_the_thread_asks_by_itself_and_ends(
    raylets: FakeRaylets, working: SpareWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that fails is followed by others."""
    monkeypatch.setattr("deployments.workers.spare_workers.next_look_s", lambda *_, **__: 0.0)
    raylets.away.add("a")
    working.start()
    raylets.away.clear()
    wait_until(lambda: raylets.asked == ["a"], "asked", SEEN_WITHIN_S)

    working.stop()

    wait_until(lambda: "spare-workers" not in thread_names(), "no thread", SEEN_WITHIN_S)


def test_a_look_that_fails_for_whatever_reason_is_followed_by_others(
    raylets: FakeRaylets, working: SpareWorkers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray answers may be no answer that anybody has seen before; a line says so."""
    monkeypatch.setattr("deployments.workers.spare_workers.next_look_s", lambda *_, **__: 0.0)
    raylets.mistakes += [ValueError("an address that is none")]

    with caplog.at_level(logging.WARNING):
        working.start()
        wait_until(lambda: raylets.asked == ["a"], "asked", SEEN_WITHIN_S)

    (record,) = caplog.records
    assert "an address that is none" in record.getMessage()


def test_where_ray_does_not_start_them_one_line_says_so(
    raylets: FakeRaylets, working: SpareWorkers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions start as they would without."""
    monkeypatch.setattr("deployments.workers.spare_workers.next_look_s", lambda *_, **__: 0.0)
    raylets.is_offered = False
    with caplog.at_level(logging.INFO):
        working.start()
        wait_until(lambda: "spare-workers" not in thread_names(), "no thread", SEEN_WITHIN_S)

    assert [record.getMessage().split()[0] for record in caplog.records] == ["spare_workers_not_offered"]


def test_none_wanted_means_no_thread(raylets: FakeRaylets) -> None:
    """The flag switches it off."""
    SpareWorkers(0, FakeClock(), raylets).start()

    assert "spare-workers" not in thread_names()
    assert raylets.asked == []
