"""How a router gets its first table and follows the newest one, whatever comes late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.model_config import LoggingConfig
from core.delivery.split import ArmKey, Division
from core.errors import Unavailable
from core.routing.router_report import RouterReport
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.servable import ServableId
from deployments.routing import table_follower
from deployments.routing.request_router import RequestRouter
from deployments.routing.table_follower import TableFollower
from tests.support.fakes import FakeTransport


def table(generation: int, *, settled: bool = True) -> RoutingTable:
    """Return a table that leads to one version more than the one before."""
    host, logs = f"host@{generation}", (LoggingConfig(filename_prefix=f"/logs/{generation}"),)
    routes = {number: Route.of(ServableId("m", number), host) for number in range(1, generation + 1)}
    return RoutingTable(generation, {"m": ModelRoutes(routes, logging=logs)}, settled=settled, watcher="w")


class FakeConnections:
    """Connections that take some turns of the loop; implements `Connections`."""

    def __init__(self, turns: int = 0) -> None:
        self.turns = turns
        self.gates: dict[int, asyncio.Event] = {}
        self.wanted: set[str] = set()
        self.connected: set[str] = set()
        self.hosts: Mapping[str, str] = {}
        self.logs: Mapping[str, tuple[LoggingConfig, ...]] = {}

    def follow_hosts(self, hosts: Mapping[str, str]) -> None:
        """Take them."""
        self.hosts = hosts

    def log_requests(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> None:
        """Take them."""
        self.logs = logs

    async def connect(self, apps: Iterable[str]) -> None:
        """Connect late, to so many applications when their gate opens, to those that are still wanted."""
        apps = set(apps)
        self.wanted |= apps
        if len(apps) in self.gates:
            await self.gates[len(apps)].wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.connected |= apps & self.wanted

    async def keep_only(self, apps: Iterable[str]) -> None:
        """Let go of the others."""
        self.wanted &= set(apps)
        self.connected &= set(apps)


class FakeTables:
    """A watcher that answers from a list, one table for each pull; implements `TableSource`. None: no answer."""

    def __init__(self, *answers: RoutingTable | None, siblings: Iterable[RoutingTable] = ()) -> None:
        self.answers = list(answers)
        self.siblings = list(siblings)
        self.reports: list[RouterReport] = []

    async def pull(self, report: RouterReport) -> RoutingTable | None:
        """Return the next answer; the last one again and again."""
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            self.reports.append(report)
        return answer

    async def of_siblings(self) -> list[RoutingTable]:
        """Return what the others use."""
        return self.siblings


class Joining:
    """A router that starts."""

    def __init__(self, tables: FakeTables, turns: int = 0) -> None:
        self.router = RequestRouter("r", FakeTransport())
        self.tables = tables
        self.connections = FakeConnections(turns)
        self.changes: list[int] = []
        self.follower = TableFollower(self.router, self.connections, tables, self._note)

    def _note(self) -> None:
        self.changes.append(self.router.table.generation)

    async def start(self) -> None:
        """Do what comes before the ports are opened."""
        await self.follower.take_over()
        await self.follower.follow_first()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pulls follow one another at once, and the watcher have all the time it needs."""
    monkeypatch.setattr(table_follower, "PULL_FIRST_EVERY_S", 0.0)
    monkeypatch.setattr(table_follower, "PULL_EVERY_S", 0.001)
    monkeypatch.setattr(table_follower, "WITHOUT_WATCHER_AFTER_S", 3600.0)


async def test_a_router_takes_requests_after_its_first_settled_table() -> None:
    """And after the watcher knows that it uses this table."""
    joining = Joining(FakeTables(RoutingTable(0), table(1, settled=False), table(2)))

    await joining.start()

    assert joining.router.table == table(2)
    assert joining.tables.reports[-1] == RouterReport("r", 2, {}, "w")


async def test_a_table_of_other_routers_alone_is_not_enough_while_the_watcher_can_be_asked() -> None:
    """A table published meanwhile would count as confirmed although this router does not have it."""
    joining = Joining(FakeTables(None, None, table(3), siblings=[table(1), table(2)]))

    await joining.start()

    assert joining.router.table.generation == 3


async def test_without_a_watcher_a_router_serves_by_the_table_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving goes on without it."""
    monkeypatch.setattr(table_follower, "WITHOUT_WATCHER_AFTER_S", 0.02)
    joining = Joining(FakeTables(None, siblings=[table(2), table(1)]))

    await asyncio.wait_for(joining.start(), 60)

    assert joining.router.table.generation == 2


async def test_without_any_table_a_router_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a watcher nor a sibling answers."""
    monkeypatch.setattr(table_follower, "WITHOUT_WATCHER_AFTER_S", 0.02)
    joining = Joining(FakeTables(None))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(joining.start(), 0.1)

    with pytest.raises(Unavailable):
        joining.router.resolve("m", None, None)
    with pytest.raises(Unavailable, match="Model labels does not init yet"):
        joining.router.resolve("m", None, "stable")
    with pytest.raises(Unavailable):
        joining.router.table.statuses("m")


async def test_a_lost_broadcast_is_healed_by_the_next_pull() -> None:
    """Pulls go on as long as the router lives."""
    joining = Joining(FakeTables(table(1), table(1), None, table(2)))
    await joining.start()
    following = asyncio.ensure_future(joining.follower.follow())

    async with asyncio.timeout(60):
        while joining.router.table.generation < 2:
            await asyncio.sleep(0.001)

    following.cancel()
    assert joining.changes == [1, 2]


@pytest.mark.parametrize("first", [5, 6], ids=["the_older_first", "the_newer_first"])
async def test_an_older_table_that_comes_while_a_newer_one_connects_takes_nothing_from_it(first: int) -> None:
    """Neither its hosts and logs nor its connections, whichever of the two is connected first."""
    joining = Joining(FakeTables(table(4)))
    await joining.start()
    joining.connections.gates = {5: asyncio.Event(), 6: asyncio.Event()}
    taking = {generation: asyncio.create_task(joining.follower.take(table(generation))) for generation in (6, 5)}
    await asyncio.sleep(0)

    for generation in sorted(taking, key=lambda one: one != first):
        joining.connections.gates[generation].set()
        await taking[generation]
        assert joining.connections.hosts == table(6).hosts
        assert joining.connections.logs == table(6).logging

    assert joining.router.table.generation == 6
    assert joining.connections.connected == table(6).apps


async def test_of_two_tables_of_one_generation_the_connections_follow_the_one_in_use() -> None:
    """Two watchers may give the same generation to tables that differ."""
    joining = Joining(FakeTables(table(1)))
    await joining.start()
    ours, other = table(2), RoutingTable(2, {"m": ModelRoutes({3: Route.of(ServableId("m", 3), "host@other")})})
    joining.connections.gates = {1: asyncio.Event()}
    late = asyncio.create_task(joining.follower.take(other))
    await asyncio.sleep(0)

    await joining.follower.take(ours)
    joining.connections.gates[1].set()
    await late

    assert joining.router.table == ours
    assert joining.connections.hosts == ours.hosts
    assert joining.connections.logs == ours.logging


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=6),
    st.lists(st.sampled_from([None, 0, 1, 2, 3, 4]), max_size=5),
    st.integers(0, 3),
)
def test_whatever_comes_late_the_newest_table_stays(broadcasts, pulls, turns) -> None:
    """A report never claims a table that requests do not follow yet, and no older table replaces a newer one."""

    async def run() -> None:
        answers = [None if one is None else RoutingTable(0) if one == 0 else table(one) for one in pulls]
        joining = Joining(FakeTables(*answers, table(5)), turns)
        starting = asyncio.ensure_future(joining.start())
        reports = await asyncio.gather(*(late(joining, *one) for one in broadcasts))
        await starting

        assert joining.changes == sorted(joining.changes)
        assert joining.router.table.generation >= max((one for one, _ in broadcasts), default=1)
        assert joining.router.table.settled
        assert joining.connections.connected >= joining.router.table.apps
        assert joining.connections.hosts == joining.router.table.hosts
        assert joining.connections.logs == joining.router.table.logging
        assert joining.tables.reports
        assert all(report.generation >= one for report, (one, _) in zip(reports, broadcasts, strict=True))

    asyncio.run(run())


async def late(joining: Joining, generation: int, turns: int) -> RouterReport:
    """Let a broadcast arrive after some turns; requests follow what its answer claims."""
    for _ in range(turns):
        await asyncio.sleep(0)
    report = await joining.follower.take(table(generation))
    assert joining.router.resolve("m", generation, None).servable.version == generation
    return report


async def test_a_table_is_pulled_more_often_while_requests_are_divided(monkeypatch) -> None:
    """What was counted goes to the watcher that way, which judges by it."""
    monkeypatch.setattr(table_follower, "PULL_EVERY_S", 3600.0)
    monkeypatch.setattr(table_follower, "PULL_COUNTED_EVERY_S", 0.0)
    routes = {number: Route.of(ServableId("m", number)) for number in (1, 2)}
    split = ModelRoutes(routes, division=Division(((1, 9_000), (2, 1_000)), 7))
    tables = FakeTables(RoutingTable(1, {"m": split}, settled=True, watcher="w"))
    joining = Joining(tables)
    await joining.start()
    begun = len(tables.reports)
    following = asyncio.ensure_future(joining.follower.follow())

    async with asyncio.timeout(60):
        while len(tables.reports) < begun + 3:
            await asyncio.sleep(0)

    following.cancel()
    assert tables.reports[-1].arms.keys() == {ArmKey("m", 7, 1), ArmKey("m", 7, 2)}
