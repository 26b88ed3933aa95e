"""Tests of waiting for an answer: withdrawal, deadlines, and replicas that do not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from core.errors import DeadlineExceeded
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.transport import ConnectionLost
from deployments.routing import direct_connection
from deployments.routing.awaited_call import call_over
from tests.support.direct_sites import Taker, connected, dropped, predict, scripted_replica, serving, until


def test_a_cancelled_caller_withdraws_the_call(run) -> None:
    """The replica gets a CANCEL frame, and need not work on it; the connection stays."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)

            call.cancel()
            await until(lambda: bool(taker.held) and taker.held[0].is_cancelled)

            taker.release()
            taker.holds = False
            assert (connection.load, (await call_over(connection, predict(b"next"))).body) == (0, b"next")

    run(check)


def test_a_call_whose_time_is_up_ends(run, monkeypatch) -> None:
    """The replica gets a CANCEL frame too; a late answer is ignored."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.01)

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)

            with pytest.raises(DeadlineExceeded):
                await call_over(connection, predict(timeout_s=0.01))
            await until(lambda: bool(taker.held) and taker.held[0].is_cancelled)

            taker.release()
            taker.holds = False
            assert (await call_over(connection, predict(b"next", timeout_s=60.0))).body == b"next"

    run(check)


def test_a_replica_that_does_not_read_holds_callers_back_no_longer_than_their_deadline(run) -> None:
    """Memory stays bounded: while the replica does not read, no more is sent; who gives up is counted."""

    async def check() -> None:
        go_on = asyncio.Event()
        frames: list[int] = []

        async def script(reader, writer) -> None:
            await go_on.wait()
            with suppress(asyncio.IncompleteReadError):
                while True:
                    length, call_id, kind, *_ = HEADER.unpack(await reader.readexactly(HEADER.size))
                    await reader.readexactly(length)
                    if kind == FrameKind.CALL:
                        frames.append(length)
                        writer.write(frame_header(FrameKind.ANSWER, 0, call_id=call_id))
            writer.close()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            first = asyncio.ensure_future(call_over(connection, predict(b"z" * (32 * 2**20))))
            await until(lambda: connection.load == 1)
            held = [asyncio.ensure_future(call_over(connection, predict(b"later", 60.0))) for _ in range(3)]

            before = {reason: dropped(reason) for reason in ("expired", "cancelled")}
            with pytest.raises(DeadlineExceeded):
                await call_over(connection, predict(timeout_s=0.02), "m")
            gone = asyncio.ensure_future(call_over(connection, predict(), "m"))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.wait([gone])
            assert connection.load == 1
            assert {reason: dropped(reason) - count for reason, count in before.items()} == dict.fromkeys(before, 1)

            go_on.set()
            await asyncio.gather(first, *held, call_over(connection, predict(b"last")))
            assert frames == [32 * 2**20, 5, 5, 5, 4]
            connection.close()

    run(check)


def test_callers_held_back_fail_when_the_connection_is_lost(run) -> None:
    """They wait for room to write, not for an answer."""

    async def check() -> None:
        lose = asyncio.Event()

        async def script(reader, writer) -> None:
            await lose.wait()
            writer.transport.abort()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            calls = [asyncio.ensure_future(call_over(connection, predict(b"z" * (32 * 2**20)))) for _ in range(2)]
            await until(lambda: connection.load == 1)

            lose.set()

            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [ConnectionLost, ConnectionLost]

    run(check)
