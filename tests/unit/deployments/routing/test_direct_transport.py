"""Tests of both ends of the direct transport over real sockets, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from core.errors import Code
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.transport import LOOPBACK, Answer, Call, ConnectionLost, Endpoint, Method
from deployments.inference import direct_server
from deployments.inference.direct_server import UNAUTHENTICATED_PAYLOAD_BYTES, DirectServer
from deployments.routing.awaited_call import call_over
from tests.support.direct_sites import TOKEN, Taker, connected, predict, serving, until


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


def test_a_stranger_may_not_stay(run, monkeypatch) -> None:
    """A connection that shows no token in time is closed, silent or slow; one that has shown it stays."""
    monkeypatch.setattr(direct_server, "GREETING_TIMEOUT_S", 0.1)

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            connection = await connected(endpoint)
            await call_over(connection, predict())
            for said in (b"", frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN[:5]):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                writer.write(said)
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
            await until(lambda: len(server.peers) == 1)

            assert (await call_over(connection, predict())).code is Code.OK

    run(check)


GARBAGE = [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    frame_header(FrameKind.HELLO, UNAUTHENTICATED_PAYLOAD_BYTES + 1),
    frame_header(FrameKind.CALL, 0, call_id=1, detail=1),
    frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + frame_header(FrameKind.ANSWER, 0),
    frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + frame_header(FrameKind.CALL, 0, call_id=1, detail=99),
    frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + frame_header(FrameKind.CALL, 0, call_id=1, detail=1) * 2,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["http", "large_hello", "no_hello", "answer", "method", "same_id"])
def test_garbage_closes_its_own_connection_only(run, garbage) -> None:
    """Whoever connects by mistake, or speaks the protocol wrongly, harms nobody else."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(garbage)

            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            await until(lambda: len(taker.held) >= 1)
            taker.release()
            assert (await call).body == b"body"

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
            draining = asyncio.ensure_future(server.drain(5.0))
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


def test_a_drain_ends_only_when_the_answers_are_out(run) -> None:
    """The process ends after the drain; an answer that still waits to be sent would be cut off."""

    async def check() -> None:
        taker = Taker()
        server = DirectServer(taker, TOKEN)
        port, _ = await server.open(LOOPBACK)
        large = b"y" * (32 * 2**20)
        taker.submit = lambda call, reply: reply(Answer(Code.OK, large))
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(
            frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + frame_header(FrameKind.CALL, 0, call_id=1, detail=1)
        )
        await reader.readexactly(HEADER.size)

        draining = asyncio.ensure_future(server.drain(5.0))
        await asyncio.wait([draining], timeout=0.05)
        assert not draining.done()

        assert len(await reader.read()) == len(large) + HEADER.size
        assert await draining
        writer.close()

    run(check)


def test_a_drain_gives_up_after_its_time(run) -> None:
    """A call that never ends does not keep the replica alive for ever."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)

            assert not await server.drain(0.02)

            taker.release()
            await call

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
            draining = asyncio.ensure_future(server.drain(5.0))
            await until(lambda: not connection.usable)

            call.cancel()

            assert await draining
            await connection.closed

    run(check)


def test_a_router_that_does_not_read_its_answers_is_not_read_from(run) -> None:
    """Otherwise answers would pile up without bound."""

    async def check() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            body = b"a" * 2**20
            call = frame_header(FrameKind.CALL, len(body), detail=1)
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=2**16)
            writer.write(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN)
            for call_id in range(64):
                writer.write(frame_header(FrameKind.CALL, len(body), call_id=call_id, detail=1) + body)
            await until(lambda: len(taker.taken) > 0)
            with suppress(TimeoutError):
                await asyncio.wait_for(until(lambda: len(taker.taken) == 64), 0.2)
            assert len(taker.taken) < 64

            for _ in range(64):
                assert len(await reader.readexactly(HEADER.size + len(body))) == len(call) + len(body)
            assert len(taker.taken) == 64
            writer.close()

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
