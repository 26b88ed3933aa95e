"""Tests of the addresses of hosted versions: one question to a host for all that are in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest

from core.config.model_config import LoggingConfig
from core.errors import Code, Unavailable
from core.routing.transport import Endpoint
from core.versions.run_health import UNTRIED, RunHealth
from deployments.routing.replica_directory import ReplicaDirectory
from tests.support.direct_sites import Taker, serving

HOST, OTHER = "host@n1", "host@n2"
LOGS = (LoggingConfig(filename_prefix="/logs/one", sampling_rate=1.0),)
Logs = Mapping[str, tuple[LoggingConfig, ...]]


class Handles:
    """Serve's handles of hosts: what runs in each, and how often each was asked; nothing is asked of other apps."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.running: dict[str, set[str]] = {HOST: {"a:1", "b:1"}, OTHER: set()}
        self.asked: Counter[str] = Counter()
        self.logs: Logs = {}
        self.health: dict[str, RunHealth] = {}
        self.forgotten: list[str] = []
        self.gate: asyncio.Event | None = None
        self.is_away = False

    def host(self, app: str) -> Host:
        return Host(self, app)

    async def forget(self, app: str) -> None:
        self.forgotten.append(app)


class Host:
    """The handle of one host."""

    def __init__(self, handles: Handles, app: str) -> None:
        self.handles, self.app = handles, app
        self.endpoints = self

    async def remote(self, logs: Logs) -> Mapping[str, Endpoint]:
        handles = self.handles
        handles.asked[self.app] += 1
        handles.logs = logs
        running = {
            app: replace(handles.endpoint, replica=app, health=handles.health.get(app, UNTRIED))
            for app in handles.running[self.app]
        }
        if handles.gate is not None:
            await handles.gate.wait()
        if handles.is_away:
            raise Unavailable("the host is being replaced")
        return running


@dataclass
class Site:
    directory: ReplicaDirectory
    handles: Handles

    async def connect(self, *apps: str, host: str = HOST) -> None:
        """Follow a table with these hosted versions."""
        self.directory.follow_hosts(dict.fromkeys(apps, host))
        await self.directory.connect(apps)

    def replicas_of(self, app: str) -> set[str]:
        """Return the names of the replicas that calls may go to."""
        return {one.replica for one in self.directory.replicas[app].endpoints}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A directory, and a host with two versions that really listen."""
    async with serving(Taker()) as (_, endpoint):
        handles = Handles(endpoint)
        directory = ReplicaDirectory("node", handles)
        yield Site(directory, handles)
        await directory.keep_only([])


async def test_one_question_to_a_host_connects_all_of_its_versions(site: Site) -> None:
    """A router with a hundred of them must not ask a hundred times."""
    site.directory.log_requests({"a:1": LOGS})

    await site.connect("a:1", "b:1")

    assert site.handles.asked == {HOST: 1}
    assert site.handles.logs == {"a:1": LOGS, "b:1": ()}
    assert (site.replicas_of("a:1"), site.replicas_of("b:1")) == ({"a:1"}, {"b:1"})


async def test_a_version_that_appears_during_a_question_is_asked_for_after_it(site: Site) -> None:
    """The table that leads to it is taken only when it was tried."""
    site.handles.running[HOST] = {"a:1"}
    site.handles.gate = asyncio.Event()
    first = asyncio.create_task(site.connect("a:1"))
    while not site.handles.asked:
        await asyncio.sleep(0.001)
    site.handles.running[HOST].add("b:1")
    site.directory.follow_hosts(dict.fromkeys(("a:1", "b:1"), HOST))
    second = asyncio.create_task(site.directory.connect(["a:1", "b:1"]))
    await asyncio.sleep(0)

    site.handles.gate.set()
    await asyncio.gather(first, second)

    assert site.handles.asked == {HOST: 2}
    assert site.replicas_of("b:1") == {"b:1"}


async def test_a_version_that_appears_in_the_turn_in_which_a_question_ends_is_asked_for(site: Site) -> None:
    """The question that has ended, which is still remembered, knows nothing of it; nor does it forget the next one."""
    site.handles.running[HOST] = {"a:1"}
    await site.connect("a:1")
    asking = site.directory.refresh_soon("a:1")
    while not asking.done():
        await asyncio.sleep(0)
    site.handles.running[HOST].add("b:1")
    gate = site.handles.gate = asyncio.Event()

    async def ask_again() -> None:
        while site.handles.asked[HOST] < 3:
            await asyncio.sleep(0)
        running = site.directory.refresh_soon("a:1")
        gate.set()
        await running

    again = asyncio.create_task(ask_again())
    await site.connect("a:1", "b:1")
    await asyncio.wait_for(again, 60)

    assert site.handles.asked == {HOST: 3}
    assert site.replicas_of("b:1") == {"b:1"}


async def test_a_version_that_its_host_does_not_name_loses_its_connection(site: Site) -> None:
    """Its process has ended; the others keep theirs."""
    await site.connect("a:1", "b:1")

    site.handles.running[HOST] = {"b:1"}
    await site.directory.refresh_soon("a:1")

    assert (site.replicas_of("a:1"), site.replicas_of("b:1")) == (set(), {"b:1"})


async def test_connections_stay_while_a_host_does_not_answer(site: Site) -> None:
    """The processes of its versions may well go on."""
    await site.connect("a:1", "b:1")

    site.handles.is_away = True
    await site.directory.refresh_soon("a:1")

    assert (site.replicas_of("a:1"), site.replicas_of("b:1")) == ({"a:1"}, {"b:1"})


async def test_a_version_that_moved_is_asked_for_at_its_new_host(site: Site) -> None:
    """At once, without a second table."""
    await site.connect("a:1")
    site.handles.running = {HOST: set(), OTHER: {"a:1"}}

    site.directory.follow_hosts({"a:1": OTHER})
    await site.directory.refresh_soon("a:1")

    assert site.handles.asked == {HOST: 1, OTHER: 1}
    assert site.replicas_of("a:1") == {"a:1"}


async def test_a_version_in_which_every_run_fails_is_noted_alone(site: Site) -> None:
    """Its neighbours in the host are well."""
    site.handles.health["a:1"] = RunHealth(failures=3, code=Code.INTERNAL, text="broken")

    await site.connect("a:1", "b:1")

    assert site.directory.failing.keys() == {"a:1"}


async def test_the_handle_of_a_host_is_forgotten_with_its_last_version(site: Site) -> None:
    """Handles of hosts that are gone must not pile up."""
    await site.connect("a:1", "b:1")

    site.directory.follow_hosts({"b:1": HOST})
    await site.directory.keep_only(["b:1"])
    assert HOST not in site.handles.forgotten
    site.directory.follow_hosts({})
    await site.directory.keep_only([])

    assert site.handles.forgotten.count(HOST) == 1
