"""The model server's side of the direct transport: peers that it trusts or not, drains, and routers that do not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from core.errors import Code
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.transport import LOOPBACK, Answer, Call, Method
from deployments.inference import direct_server
from deployments.inference.direct_server import UNAUTHENTICATED_PAYLOAD_BYTES, DirectServer
from deployments.routing.awaited_call import call_over
from tests.support.direct_sites import TOKEN, Taker, connected, predict, serving, until


def test_a_stranger_may_not_stay(run, monkeypatch) -> None:
    """A connection that shows no token in time is closed, silent or slow; one that has shown it stays."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            connection = await connected(endpoint)
            await call_over(connection, predict())
            monkeypatch.setattr(direct_server, "GREETING_TIMEOUT_S", 0.1)
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

        draining = asyncio.ensure_future(server.drain(60.0))
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


def test_a_replica_is_asked_for_its_metrics_over_the_same_connection(run) -> None:
    """They are not a call of the version: nobody works on it."""

    async def check() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)

            answer = await call_over(connection, Call(Method.METRICS, b""))

            assert (answer.code, taker.taken) == (Code.OK, [])
            assert answer.body

    run(check)
