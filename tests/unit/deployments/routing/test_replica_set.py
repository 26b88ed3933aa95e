"""Tests of the connections to the replicas of a version, and of the choice among them."""

from __future__ import annotations

import asyncio
import socket

from core.routing.transport import LOOPBACK, Endpoint
from deployments.inference.direct_server import DirectServer
from deployments.routing.awaited_call import call_over
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.replica_set import ReplicaSet
from tests.support.direct_sites import TOKEN, Taker, predict, serving, until


class Idle(DirectConnection):
    """A connection with a given load that is never opened."""

    def __init__(self, number: int, load: int, *, usable: bool = True) -> None:
        super().__init__(Endpoint(LOOPBACK, number, TOKEN, f"r{number}"))
        self.usable = usable
        self._load = load

    @property
    def load(self) -> int:
        """Calls in work."""
        return self._load


def replicas(*connections: DirectConnection) -> ReplicaSet:
    """Make a set of connections."""
    made = ReplicaSet("node")
    made._connections = {one.endpoint: one for one in connections}
    return made


async def test_the_less_loaded_of_two_is_chosen() -> None:
    """Of many, two are drawn at random: the most loaded one is never chosen, all others are."""
    connections = [Idle(number, number) for number in range(5)]

    chosen = {replicas(*connections).choose() for _ in range(300)}

    assert chosen == set(connections[:4])


async def test_unusable_connections_are_not_chosen() -> None:
    """A call whose connection was lost is repeated elsewhere."""
    one, other, gone = Idle(1, 5), Idle(2, 9), Idle(3, 0, usable=False)

    assert replicas(one, other, gone).choose() is one
    assert replicas(gone).choose() is None
    assert replicas(one, gone).is_degraded
    assert replicas().is_degraded
    assert not replicas(one, other).is_degraded


def test_a_set_follows_its_endpoints(run) -> None:
    """New replicas are connected to, old ones are let go when their last answer has come."""

    async def check() -> None:
        taker, other = Taker(holds=True), Taker()
        async with serving(taker) as (_, one), serving(other) as (_, two):
            made = ReplicaSet("node")
            await made.update([one])
            connection = made.choose()
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)

            await made.update([two])
            assert made.endpoints == {two}
            assert (await call_over(made.choose(), predict(b"other"))).body == b"other"
            assert not call.done()

            taker.release()
            assert (await call).body == b"body"
            await connection.closed

            kept = made.choose()
            await made.update([two])
            assert made.choose() is kept
            made.retire()
            await kept.closed
            assert made.choose() is None

    run(check)


def test_a_retired_connection_closes_also_when_its_last_call_is_withdrawn(run) -> None:
    """No answer comes that could close it."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            made = ReplicaSet("node")
            await made.update([endpoint])
            connection = made.choose()
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)
            made.retire()

            call.cancel()

            await connection.closed

    run(check)


def test_a_replica_that_cannot_be_reached_is_left_out(run) -> None:
    """The others answer; the set is degraded only as long as a connection of it is broken."""

    async def check() -> None:
        with socket.socket() as unused:
            unused.bind((LOOPBACK, 0))
            nobody = Endpoint(LOOPBACK, unused.getsockname()[1], TOKEN, "nobody")
            async with serving(Taker()) as (_, endpoint):
                made = ReplicaSet("elsewhere")
                await made.update([endpoint, nobody])

                assert made.endpoints == {endpoint}
                lost = made.choose()
                lost.close()
                await lost.closed
                assert made.is_degraded
                await made.update([endpoint, nobody])
                assert made.choose() is not lost
                made.retire()

    run(check)


def test_a_port_answers_on_loopback_too(run) -> None:
    """Routers of the same node take the short way, wherever else the port listens."""

    async def check() -> None:
        server = DirectServer(Taker(), TOKEN)
        port, has_loopback = await server.open("127.0.0.2")
        endpoint = Endpoint("127.0.0.2", port, TOKEN, "replica", "node", has_loopback)

        made = ReplicaSet("node")
        await made.update([endpoint])
        assert has_loopback
        assert endpoint.host_from("node") == LOOPBACK
        assert endpoint.host_from("elsewhere") == "127.0.0.2"
        assert (await call_over(made.choose(), predict())).body == b"body"
        made.retire()
        await server.drain(1.0)

        everywhere = DirectServer(Taker(), TOKEN)
        assert (await everywhere.open("0.0.0.0"))[1] is False
        await everywhere.drain(1.0)

    run(check)


def test_copies_have_connections_of_their_own(run) -> None:
    """A copy opens one, without waiting for it; copies are neither load nor in the way of calls."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            made = ReplicaSet("node")
            assert made.choose_for_copy() is None
            await made.update([endpoint])
            assert made.choose_for_copy() is None
            assert made.choose_for_copy() is None
            await until(lambda: made.choose_for_copy() is not None)
            assert len(server.peers) == 2
            assert made.choose_for_copy() is not made.choose()
            assert len(made.usable) == 1

            made.close_for_copies()
            await until(lambda: len(server.peers) == 1)
            assert (await call_over(made.choose(), predict())).body == b"body"
            made.retire()

    run(check)


def test_connections_for_copies_end_with_their_replica(run) -> None:
    """A replica that is gone, and a version that left the table, have no copies."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            made = ReplicaSet("node")
            await made.update([endpoint])
            await until(lambda: made.choose_for_copy() is not None)
            await made.update([])
            await until(lambda: not server.peers)
            assert made.choose_for_copy() is None

            await made.update([endpoint])
            await until(lambda: made.choose_for_copy() is not None)
            made.retire()
            await until(lambda: not server.peers)

    run(check)


def test_a_connection_for_copies_that_opens_too_late_is_not_used(run) -> None:
    """The replica has gone meanwhile, and the connection with it."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            made = ReplicaSet("node")
            await made.update([endpoint])
            made.choose_for_copy()
            await made.update([])
            await until(lambda: not made._connecting)
            await until(lambda: not server.peers)

    run(check)
