"""Tests of the choice between direct connections and Serve's handle, with real sockets and a stand-in for the handle."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from core.errors import Code, Unavailable
from core.routing.table import Route
from core.routing.transport import LOOPBACK, Answer, Call, Endpoint, Method
from core.versions.run_health import SOUND, RunHealth
from core.versions.servable import ServableId
from deployments.inference.direct_server import DirectServer
from deployments.routing import replica_directory
from deployments.routing.replica_directory import ReplicaDirectory
from deployments.routing.request_router import RequestRouter
from deployments.routing.version_transport import VersionTransport
from tests.support.direct_sites import Taker
from tests.support.fakes import FakeTransport

ROUTE = Route.of(ServableId("m", 1))
CALL = Call(Method.PREDICT, b"body")
BY_HANDLE = Answer(Code.OK, b"by handle")


class Replica(Taker):
    """A replica that answers with its own name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.answers = True

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> None:
        """Answer, or let the caller wait."""
        self.taken.append(call)
        if self.answers:
            reply(Answer(Code.OK, self.name.encode()))

    async def open(self) -> Endpoint:
        """Listen."""
        self.server = DirectServer(self, b"token")
        port, _ = await self.server.open(LOOPBACK)
        return Endpoint(LOOPBACK, port, b"token", self.name)

    async def die(self) -> None:
        """End without a word."""
        for server in self.server._servers:
            server.close()
        for peer in tuple(self.server.peers):
            peer._transport.abort()


class Handles(FakeTransport):
    """Serve's handles."""

    async def forget(self, app: str) -> None:
        """Drop a handle."""


class Directory(ReplicaDirectory):
    """A directory whose broadcast is a list."""

    def __init__(self, handles: Handles) -> None:
        super().__init__("node", handles)
        self.known: list[Endpoint] | Exception = []

    async def _endpoints(self, asked: str, logs: object) -> dict[str, list[Endpoint]]:
        if isinstance(self.known, Exception):
            raise self.known
        return {asked: self.known}


@dataclass
class Site:
    """A router, the replicas that it knows, and two replicas."""

    directory: Directory
    transport: VersionTransport
    router: RequestRouter
    replicas: dict[str, tuple[Replica, Endpoint]]

    async def call(self) -> Answer:
        """Carry a call."""
        return await self.router.forward(ROUTE, CALL)


@pytest.fixture
async def site():
    """A router and two replicas."""
    async with AsyncExitStack() as stack:
        replicas = {}
        for name in ("one", "two"):
            replica = Replica(name)
            replicas[name] = (replica, await replica.open())
            stack.push_async_callback(replica.server.drain, 1.0)
        handles = Handles(BY_HANDLE)
        directory = Directory(handles)
        stack.push_async_callback(directory.keep_only, [])
        transport = VersionTransport(directory, handles)
        yield Site(directory, transport, RequestRouter("r", transport), replicas)


async def refreshed(directory: ReplicaDirectory) -> None:
    """Wait until what was learned is in use."""
    await directory.refresh_soon(ROUTE.app)


async def test_without_addresses_calls_go_through_the_handle(site) -> None:
    """A version that the table does not know yet, too."""
    directory = site.directory
    assert await site.call() == BY_HANDLE

    await directory.connect([ROUTE.app])

    assert await site.call() == BY_HANDLE


async def test_known_replicas_are_called_directly(site) -> None:
    """From the first call after the table came."""
    directory, replicas = site.directory, site.replicas
    directory.known = [replicas["one"][1]]

    await directory.connect([ROUTE.app])

    assert (await site.call()).body == b"one"


async def test_connections_stay_while_addresses_cannot_be_told(site) -> None:
    """One slow replica must not send all calls the slow way."""
    directory, replicas = site.directory, site.replicas
    directory.known = [replicas["one"][1]]
    await directory.connect([ROUTE.app])

    directory.known = Unavailable("no answer")
    await refreshed(directory)

    assert (await site.call()).body == b"one"


async def test_a_call_whose_replica_dies_is_tried_once_elsewhere(site) -> None:
    """Its client notices nothing."""
    directory, replicas = site.directory, site.replicas
    one, two = replicas["one"], replicas["two"]
    directory.known = [one[1]]
    await directory.connect([ROUTE.app])
    one[0].answers = False
    call = asyncio.ensure_future(site.call())
    while not one[0].taken:
        await asyncio.sleep(0.001)
    directory.known = [one[1], two[1]]
    await refreshed(directory)

    await one[0].die()

    assert (await call).body == b"two"


async def test_a_call_whose_only_replica_dies_goes_through_the_handle(site) -> None:
    """Serve knows whether another is coming."""
    directory, replicas = site.directory, site.replicas
    one, endpoint = replicas["one"]
    directory.known = [endpoint]
    await directory.connect([ROUTE.app])
    one.answers = False
    call = asyncio.ensure_future(site.call())
    while not one.taken:
        await asyncio.sleep(0.001)

    await one.die()

    assert await call == BY_HANDLE


async def test_an_application_that_left_the_table_is_let_go_even_while_it_is_looked_up(site) -> None:
    """No connection stays behind."""
    directory, replicas = site.directory, site.replicas
    replica, endpoint = replicas["one"]
    directory.known = [endpoint]
    connecting = asyncio.ensure_future(directory.connect([ROUTE.app]))
    while directory._refreshed_s.get(ROUTE.app) is None:
        await asyncio.sleep(0)

    await directory.keep_only([])
    await connecting

    async with asyncio.timeout(60):
        while replica.server.peers or not connecting.done():
            await asyncio.sleep(0.001)
    assert await site.call() == BY_HANDLE


async def test_only_replicas_that_are_scaled_are_told_their_load(site, monkeypatch) -> None:
    """The others would have no use for it."""
    monkeypatch.setattr("deployments.routing.replica_directory.SAMPLE_LOAD_EVERY_S", 0.001)
    directory, replicas = site.directory, site.replicas
    (scaled, endpoint), (fixed, other) = replicas["one"], replicas["two"]
    directory.known = [replace(endpoint, wants_load=True), other]
    await directory.connect([ROUTE.app])
    scaled.answers = fixed.answers = False
    calls = [asyncio.ensure_future(site.call()) for _ in range(8)]

    following = asyncio.ensure_future(directory.follow_load())
    while scaled.server.open_calls == 0:
        await asyncio.sleep(0.001)

    assert 0 < scaled.server.open_calls <= 4
    assert fixed.server.open_calls == 0
    for task in (following, *calls):
        task.cancel()
    await asyncio.gather(following, *calls, return_exceptions=True)


async def test_new_replicas_of_a_scaled_version_soon_take_calls(site, monkeypatch) -> None:
    """Serve adds replicas because there is load: it must reach them within seconds."""
    monkeypatch.setattr("deployments.routing.replica_directory.SAMPLE_LOAD_EVERY_S", 0.001)
    monkeypatch.setattr("deployments.routing.replica_directory.REFRESH_SOON_EVERY_S", 0.01)
    directory, replicas = site.directory, site.replicas
    first, second = (replace(endpoint, wants_load=True) for _, endpoint in replicas.values())
    directory.known = [first]
    await directory.connect([ROUTE.app])
    following = asyncio.ensure_future(directory.follow_load())

    directory.known = [first, second]
    while not replicas["two"][0].taken:
        await site.call()
        await asyncio.sleep(0.001)

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_without_scaled_replicas_nobody_wakes_up_to_look_at_load(site, monkeypatch) -> None:
    """Once for each report is enough to notice the first one."""
    monkeypatch.setattr("deployments.routing.replica_directory.SAMPLES_PER_REPORT", 1000)
    directory, replicas = site.directory, site.replicas
    endpoint = replicas["one"][1]
    directory.known = [endpoint]
    await directory.connect([ROUTE.app])
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(replica_directory, "asyncio", SimpleNamespace(sleep=sleep))
    await directory._sample_load()
    assert pauses == [pytest.approx(100.0)]

    connections = directory.replicas[ROUTE.app]._connections
    connections[replace(endpoint, wants_load=True)] = connections.pop(endpoint)
    await directory._sample_load()
    assert pauses[1:] == [pytest.approx(0.1)] * 1000


async def test_what_replicas_say_of_their_runs_is_reported_to_the_watcher(site, monkeypatch) -> None:
    """A version that fails is asked again soon, and forgotten with its application."""
    directory = site.directory
    endpoint = site.replicas["one"][1]
    directory.known = [replace(endpoint, health=RunHealth(3, Code.INTERNAL, "device lost"))]
    await directory.connect([ROUTE.app])
    router = RequestRouter("r", VersionTransport(directory, directory._handles))

    assert router.report().failing[ROUTE.app].message == "every run failed so far: device lost"
    assert directory.replicas[ROUTE.app].endpoints == {endpoint}

    directory.known = [replace(endpoint, health=SOUND)]
    monkeypatch.setattr(replica_directory, "REFRESH_SOON_EVERY_S", -1.0)
    directory.refresh_due()
    await asyncio.gather(*directory._refreshing.values())
    assert router.report().failing == {}

    directory.known = [replace(endpoint, health=RunHealth(3, Code.INTERNAL, "device lost"))]
    await directory.refresh_soon(ROUTE.app)
    assert set(directory.failing) == {ROUTE.app}
    await directory.keep_only([])
    assert directory.failing == {}


async def test_new_connections_know_nothing_of_the_request_that_found_the_old_one_lost(site) -> None:
    """Their callbacks run for all requests: with its context, its trace would be that of others."""
    of_request = contextvars.ContextVar("of_request", default="")
    seen = []

    class Waiting:
        def done(self) -> bool:
            return False

        def set_result(self, result: Answer) -> None:
            seen.append(of_request.get())
            ended.set()

        def set_exception(self, exception: Exception) -> None:
            raise exception

    ended = asyncio.Event()
    await site.directory.connect([ROUTE.app])
    site.directory.known = [site.replicas["one"][1]]
    of_request.set("the first one")
    await site.transport.repeat(ROUTE, CALL)
    await refreshed(site.directory)
    of_request.set("")
    assert site.transport.begin(ROUTE, CALL, Waiting()) is not None
    async with asyncio.timeout(60):
        await ended.wait()

    assert seen == [""]


async def test_replicas_say_what_they_counted_of_their_outputs(site) -> None:
    """By replica; one that has not the method, or fails, says nothing. Nothing of it is a call of the model."""
    directory, replicas = site.directory, site.replicas
    directory.known = [endpoint for _, endpoint in replicas.values()]
    await directory.connect([ROUTE.app])
    replicas["one"][0].server.beside[Method.OBSERVE] = lambda order: Answer(Code.OK, b"counted by " + order)
    replicas["two"][0].server.beside[Method.OBSERVE] = lambda _: Answer.error(Code.INVALID_ARGUMENT, "no")

    assert await site.transport.observations(ROUTE.app, b"order", 5.0) == {"one": b"counted by order"}
    assert await site.transport.observations("unknown", b"order", 5.0) == {}
    assert [replica.taken for replica, _ in replicas.values()] == [[], []]
