"""Tests of both ends of the direct transport over real sockets, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import random

import pytest

from core.errors import Code
from core.routing.transport import Answer, Call, ConnectionLost, Endpoint, Method
from deployments.routing.awaited_call import call_over
from tests.support.direct_sites import Taker, connected, predict, serving, until


def test_a_call_is_answered(run) -> None:
    """Method, body and deadline arrive; code and body come back."""

    async def check() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)

            assert await call_over(connection, Call(Method.REST_PREDICT, b"{}", 1.5)) == Answer(Code.OK, b"{}")
            assert await call_over(connection, predict()) == Answer(Code.OK, b"body")
            assert taker.taken == [Call(Method.REST_PREDICT, b"{}", 1.5), predict()]

    run(check)


def test_an_error_is_an_answer_too(run) -> None:
    """Its code and text come back; the connection stays."""

    async def check() -> None:
        async with serving(Taker()) as (_, endpoint):
            connection = await connected(endpoint)

            assert await call_over(connection, predict(b"fail")) == Answer(Code.NOT_FOUND, b"no such thing")
            assert connection.usable

    run(check)


def test_many_calls_share_a_connection(run) -> None:
    """Each caller gets the answer to its own call, in whatever order they come."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)
            bodies = [str(number).encode() * 50 for number in range(1000)]
            calls = [asyncio.ensure_future(call_over(connection, predict(body))) for body in bodies]
            await until(lambda: len(taker.held) == len(bodies))
            assert connection.load == len(bodies)

            random.Random(1).shuffle(taker.held)
            taker.release()

            assert [(await call).body for call in calls] == bodies
            assert connection.load == 0

    run(check)


def test_a_body_of_64_megabytes_comes_through(run) -> None:
    """There and back, without harm to the small calls behind it."""

    async def check() -> None:
        async with serving(Taker()) as (_, endpoint):
            connection = await connected(endpoint)
            large = bytes(range(256)) * (2**26 // 256)

            answer, small = await asyncio.gather(
                call_over(connection, predict(large)), call_over(connection, predict(b"small"))
            )

            assert answer.body == large
            assert small.body == b"small"

    run(check)


def test_a_wrong_token_gets_no_answer(run) -> None:
    """The server closes; the caller learns that the connection is lost."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            connection = await connected(Endpoint(endpoint.host, endpoint.port, b"wrong", "replica"))

            with pytest.raises(ConnectionLost):
                await call_over(connection, predict())
            assert not connection.usable
            await until(lambda: not server.peers)

    run(check)


def test_work_is_cancelled_when_the_router_is_gone(run) -> None:
    """Nobody works on a request whose caller is gone."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)

            connection.close()

            await until(lambda: taker.held[0].is_cancelled)
            with pytest.raises(ConnectionLost):
                await call
            assert not server.peers

    run(check)


def test_goaway_lets_open_calls_finish(run) -> None:
    """A replica that stops answers what it has; the router sends nothing new, and both close."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            connection = await connected(endpoint)
            idle = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict(b"x" * 2**20)))
            await until(lambda: len(taker.held) == 1)
            draining = asyncio.ensure_future(server.drain(60.0))
            await until(lambda: not connection.usable)
            assert not draining.done()
            with pytest.raises(ConnectionLost):
                await call_over(connection, predict())

            taker.release()

            assert (await call).body == b"x" * 2**20
            assert await draining
            await connection.closed
            await idle.closed

    run(check)


def test_a_router_that_connects_during_the_drain_is_sent_away(run) -> None:
    """Its connection was accepted in the last moment."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            server.is_draining = True
            connection = await connected(endpoint)

            await connection.closed

            assert not connection.usable

    run(check)


def test_a_withdrawn_call_lets_a_leaving_replica_close(run) -> None:
    """After GOAWAY the last call may end without an answer; the connection ends all the same."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)
            draining = asyncio.ensure_future(server.drain(60.0))
            await until(lambda: not connection.usable)

            call.cancel()

            assert await draining
            await connection.closed

    run(check)


def test_a_replica_learns_the_average_load_of_all_its_routers(run) -> None:
    """And forgets that of a router which is gone."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            one, two = await connected(endpoint), await connected(endpoint)
            calls = [asyncio.ensure_future(call_over(one, predict())) for _ in range(3)]
            await until(lambda: len(taker.held) == 3)

            for connection in (one, two):
                connection.sample_load()
            one.report_load()
            await until(lambda: server.open_calls == 3.0)
            calls += [asyncio.ensure_future(call_over(two, predict())) for _ in range(2)]
            await until(lambda: len(taker.held) == 5)
            two.sample_load()
            two.report_load()
            await until(lambda: server.open_calls == 4.0)

            one.close()
            await until(lambda: server.open_calls == 1.0)
            two.close()
            await asyncio.gather(*calls, return_exceptions=True)

    run(check)
