"""Tests of the direct transport over real sockets, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from core.errors import Code, DeadlineExceeded
from core.routing.direct_frames import HEADER, FrameKind, header
from core.routing.transport import LOOPBACK, Answer, Call, ConnectionLost, Endpoint, Method
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.inference import direct_server
from deployments.inference.direct_server import UNAUTHENTICATED_PAYLOAD_BYTES, DirectServer
from deployments.routing import direct_connection
from deployments.routing.awaited_call import call_over
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.replica_set import ReplicaSet
from deployments.telemetry.process_metrics import METRICS

TOKEN = b"0123456789abcdef"
DEADLINE_S = 10.0
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request) -> Run:
    """Run a test's coroutine on each kind of loop, with a deadline."""

    def runner(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(asyncio.wait_for(test(), DEADLINE_S))

    return runner


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    while not condition():
        await asyncio.sleep(0.001)


class Work:
    """A ticket that remembers whether it was cancelled."""

    def __init__(self, call: Call, reply: Callable[[Answer], None]) -> None:
        self.call = call
        self.reply = reply
        self.is_cancelled = False

    def cancel(self) -> None:
        """Note that nobody waits any more."""
        self.is_cancelled = True


class Taker:
    """Answers calls with their own body at once, or keeps them as work while `holds`."""

    def __init__(self, *, holds: bool = False) -> None:
        self.holds = holds
        self.held: list[Work] = []
        self.taken: list[Call] = []

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> Work | None:
        """Take a call."""
        self.taken.append(call)
        if self.holds:
            self.held.append(Work(call, reply))
            return self.held[-1]
        if call.body == b"fail":
            reply(Answer.error(Code.NOT_FOUND, "no such thing"))
        else:
            reply(Answer(Code.OK, call.body))
        return None

    def release(self) -> None:
        """Answer all that is held."""
        for work in self.held:
            work.reply(Answer(Code.OK, work.call.body))


@asynccontextmanager
async def serving(taker: Taker) -> AsyncIterator[tuple[DirectServer, Endpoint]]:
    """Open a server on a free port."""
    server = DirectServer(taker, TOKEN)
    port, has_loopback = await server.open(LOOPBACK)
    assert has_loopback
    try:
        yield server, Endpoint(LOOPBACK, port, TOKEN, "replica", "node", has_loopback)
    finally:
        taker.release()
        await server.drain(1.0)


async def connected(endpoint: Endpoint) -> DirectConnection:
    """Connect to an endpoint."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: DirectConnection(endpoint), endpoint.host, endpoint.port)
    return connection


def dropped(reason: str) -> float:
    """Read how many calls of the model were given up before they were sent."""
    return METRICS.counter(DROPPED_REQUESTS, "m", reason).value


def predict(body: bytes = b"body", timeout_s: float | None = None) -> Call:
    """Make a call."""
    return Call(Method.PREDICT, body, timeout_s)


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
            for said in (b"", header(FrameKind.HELLO, len(TOKEN)) + TOKEN[:5]):
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
    header(FrameKind.HELLO, UNAUTHENTICATED_PAYLOAD_BYTES + 1),
    header(FrameKind.CALL, 0, call_id=1, detail=1),
    header(FrameKind.HELLO, len(TOKEN)) + TOKEN + header(FrameKind.ANSWER, 0),
    header(FrameKind.HELLO, len(TOKEN)) + TOKEN + header(FrameKind.CALL, 0, call_id=1, detail=99),
    header(FrameKind.HELLO, len(TOKEN)) + TOKEN + header(FrameKind.CALL, 0, call_id=1, detail=1) * 2,
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


@asynccontextmanager
async def scripted_replica(script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]):
    """Open a port behind which a script plays the replica."""
    server = await asyncio.start_server(script, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Endpoint(LOOPBACK, port, TOKEN, "replica")
    finally:
        server.close()


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 16, header(FrameKind.ANSWER, 0, call_id=1, detail=99), header(FrameKind.CALL, 0)],
    ids=["noise", "unknown_code", "call"],
)
def test_a_replica_that_speaks_nonsense_is_given_up(run, garbage) -> None:
    """Its callers learn at once, instead of waiting for ever."""

    async def check() -> None:
        async def script(reader, writer) -> None:
            await reader.readexactly(HEADER.size + len(TOKEN) + HEADER.size + len(b"body"))
            writer.write(garbage)
            with suppress(ConnectionError):
                await reader.read()
            writer.close()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            with pytest.raises(ConnectionLost):
                await call_over(connection, predict())
            assert connection.closed.done()

    run(check)


def test_a_cancelled_caller_withdraws_the_call(run) -> None:
    """The replica is told, and need not work on it; the connection stays."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: len(taker.held) == 1)

            call.cancel()
            await until(lambda: taker.held[0].is_cancelled)

            taker.release()
            taker.holds = False
            assert (connection.load, (await call_over(connection, predict(b"next"))).body) == (0, b"next")

    run(check)


def test_a_call_whose_time_is_up_ends(run, monkeypatch) -> None:
    """The replica is told too; a late answer harms nobody."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.01)

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)

            with pytest.raises(DeadlineExceeded):
                await call_over(connection, predict(timeout_s=0.01))
            await until(lambda: taker.held[0].is_cancelled)

            taker.release()
            taker.holds = False
            assert (await call_over(connection, predict(b"next", timeout_s=5.0))).body == b"next"

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


def test_a_lost_connection_is_told_to_all_callers(run) -> None:
    """Those that wait, and those that come later."""

    async def check() -> None:
        async def script(reader, writer) -> None:
            await reader.readexactly(HEADER.size + len(TOKEN) + 2 * (HEADER.size + len(b"body")))
            writer.transport.abort()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            results = await asyncio.gather(
                *(call_over(connection, predict()) for _ in range(2)), return_exceptions=True
            )

            assert [type(result) for result in results] == [ConnectionLost, ConnectionLost]
            with pytest.raises(ConnectionLost):
                await call_over(connection, predict())

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
        writer.write(header(FrameKind.HELLO, len(TOKEN)) + TOKEN + header(FrameKind.CALL, 0, call_id=1, detail=1))
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
                        writer.write(header(FrameKind.ANSWER, 0, call_id=call_id))
            writer.close()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            first = asyncio.ensure_future(call_over(connection, predict(b"z" * (32 * 2**20))))
            await until(lambda: connection.load == 1)
            held = [asyncio.ensure_future(call_over(connection, predict(b"later", 30.0))) for _ in range(3)]

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


def test_callers_held_back_learn_of_a_lost_connection(run) -> None:
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


def test_a_router_that_does_not_read_its_answers_is_not_read_from(run) -> None:
    """Otherwise answers would pile up without bound."""

    async def check() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            body = b"a" * 2**20
            call = header(FrameKind.CALL, len(body), detail=1)
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=2**16)
            writer.write(header(FrameKind.HELLO, len(TOKEN)) + TOKEN)
            for call_id in range(64):
                writer.write(header(FrameKind.CALL, len(body), call_id=call_id, detail=1) + body)
            await until(lambda: len(taker.taken) > 0)
            with suppress(TimeoutError):
                await asyncio.wait_for(until(lambda: len(taker.taken) == 64), 0.2)
            assert len(taker.taken) < 64

            for _ in range(64):
                assert len(await reader.readexactly(HEADER.size + len(body))) == len(call) + len(body)
            assert len(taker.taken) == 64
            writer.close()

    run(check)


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
