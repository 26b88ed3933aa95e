"""The model server's side of the direct transport: peers that it trusts or not, drains, and routers that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from core.errors import Code
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.transport import LOOPBACK, Answer, Call, ConnectionLost, Method
from deployments.inference import direct_server
from deployments.inference.direct_server import UNAUTHENTICATED_PAYLOAD_BYTES, Arrival, DirectServer, Reply
from deployments.routing.awaited_call import call_over
from deployments.system import tcp_peer
from tests.support.direct_sites import TOKEN, KeptWrites, Taker, Work, connected, frames_in, predict, serving, until
from tests.support.silence import fall_silent


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


def test_a_router_whose_host_is_silent_is_let_go(run, monkeypatch) -> None:
    """Nobody waits for its calls; afterwards nobody watches."""
    monkeypatch.setattr(tcp_peer, "SILENT_AFTER_S", 0.2)
    monkeypatch.setattr(tcp_peer, "LOOK_EVERY_S", 0.02)

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port, local_addr=("127.0.0.2", 0))
            writer.write(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + call_frame(1) + call_frame(2))
            await until(lambda: len(taker.held) == 2)
            (peer,) = server.peers
            ended: list[None] = []
            monkeypatch.setattr(peer._silence, "end", lambda: ended.append(None))
            fall_silent(writer.get_extra_info("socket"))

            taker.held[0].reply(Answer(Code.OK, b"answer"))
            await until(lambda: not server.peers)

            assert taker.held[1].is_cancelled
            assert ended == [None]
            writer.transport.abort()

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


class Groups(Taker):
    """Takes calls in groups of so many, answers them at once, and notes the groups."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.groups: list[list[int]] = []
        self.before_group = lambda: None

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return the size of a group."""
        return min(self.size, len(arrivals))

    def submit_together(self, arrivals: Sequence[Arrival]) -> list[Work | None]:
        """Answer a group."""
        self.before_group()
        self.groups.append([int(one.call.body) for one in arrivals])
        return super().submit_together(arrivals)


class Peer:
    """A router's connection whose bytes all come in one read."""

    def __init__(self, server: DirectServer) -> None:
        self.wire = KeptWrites()
        self.protocol = server.peer()
        self.protocol.connection_made(self.wire)
        self.says(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN)

    def says(self, content: bytes) -> None:
        """Let the server read frames at once."""
        self.protocol.get_buffer(-1)[: len(content)] = content
        self.protocol.buffer_updated(len(content))

    @property
    def answers(self) -> list[list[int]]:
        """The ids of the answers, one list for each write."""
        return [[frame.call_id for frame in frames_in(content)] for content in self.wire.written]


def call_frame(number: int) -> bytes:
    """Return the frame of a call whose body is its id."""
    body = str(number).encode()
    return frame_header(FrameKind.CALL, len(body), call_id=number, detail=Method.PREDICT) + body


def cancel_frame(number: int) -> bytes:
    """Return the frame that withdraws a call."""
    return frame_header(FrameKind.CANCEL, 0, call_id=number)


def test_calls_of_one_read_are_worked_on_together_and_answered_in_one_write(run) -> None:
    """A system call costs as much as a tiny model's run."""

    async def check() -> None:
        taker = Groups(16)
        peer = Peer(DirectServer(taker, TOKEN))

        peer.says(b"".join(map(call_frame, range(5))))

        assert taker.groups == [[0, 1, 2, 3, 4]]
        assert peer.answers == [[0, 1, 2, 3, 4]]

    run(check)


def test_the_answers_of_a_group_leave_before_the_next_group_is_worked_on(run) -> None:
    """Many calls in one read do not wait for all of them."""

    async def check() -> None:
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))
        seen: list[list[list[int]]] = []
        taker.before_group = lambda: seen.append(peer.answers)

        peer.says(b"".join(map(call_frame, range(5))))
        assert taker.groups == [[0, 1]]
        await until(lambda: len(taker.groups) == 3)

        assert taker.groups == [[0, 1], [2, 3], [4]]
        assert seen == [[], [[0, 1]], [[0, 1], [2, 3]]]

    run(check)


def test_calls_that_come_while_others_wait_have_their_turn_behind_them(run) -> None:
    """And together with what is left of those."""

    async def check() -> None:
        taker = Groups(3)
        peer = Peer(DirectServer(taker, TOKEN))

        peer.says(b"".join(map(call_frame, range(4))))
        peer.says(call_frame(4) + call_frame(5))
        await until(lambda: sum(map(len, taker.groups)) == 6)

        assert taker.groups == [[0, 1, 2], [3, 4, 5]]

    run(check)


def test_a_call_that_is_withdrawn_before_its_turn_is_not_worked_on(run) -> None:
    """Whether the word comes in the same read or in a later one; a call that was answered is not withdrawn any more."""

    async def check() -> None:
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))

        peer.says(b"".join(map(call_frame, range(6))) + cancel_frame(1) + cancel_frame(1) + cancel_frame(99))
        peer.says(cancel_frame(0) + cancel_frame(4))
        await until(lambda: sum(map(len, taker.groups)) == 4)

        assert taker.groups == [[0, 2], [3, 5]]
        assert [int(one.body) for one in taker.dropped] == [1, 4]
        assert not peer.protocol.open

    run(check)


@pytest.mark.parametrize("how", ["lost", "broken"])
def test_calls_that_wait_for_their_turn_are_dropped_with_their_connection(run, how: str) -> None:
    """Nobody waits for their answers."""

    async def check() -> None:
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(b"".join(map(call_frame, range(5))))

        if how == "lost":
            peer.protocol.connection_lost(None)
        else:
            peer.says(frame_header(FrameKind.GOAWAY, 0))
            assert peer.wire.is_aborted
            peer.protocol.connection_lost(None)
        await asyncio.sleep(0.01)

        assert taker.groups == [[0, 1]]
        assert [int(one.body) for one in taker.dropped] == [2, 3, 4]

    run(check)


def test_calls_wait_while_a_router_does_not_read_its_answers(run) -> None:
    """They are worked on when it reads again."""

    async def check() -> None:
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(b"".join(map(call_frame, range(5))))

        peer.protocol.pause_writing()
        await asyncio.sleep(0.01)
        assert taker.groups == [[0, 1]]

        peer.protocol.resume_writing()
        await until(lambda: len(taker.groups) == 3)

    run(check)


def test_no_more_calls_wait_than_a_bound(run, monkeypatch) -> None:
    """Those above it are worked on before more are read, so that a fast router does not fill the memory."""

    async def check() -> None:
        monkeypatch.setattr(direct_server, "MOST_WAITING", 4)
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))

        peer.says(b"".join(map(call_frame, range(9))))

        assert sum(map(len, taker.groups)) == 6
        await until(lambda: sum(map(len, taker.groups)) == 9)

    run(check)


def test_the_bound_does_not_hold_for_a_router_that_does_not_read(run, monkeypatch) -> None:
    """It gets no more answers until it reads; nothing more is read from it either, so that its calls stay few."""

    async def check() -> None:
        monkeypatch.setattr(direct_server, "MOST_WAITING", 2)
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))
        taker.before_group = peer.protocol.pause_writing

        peer.says(b"".join(map(call_frame, range(9))))
        assert taker.groups == [[0, 1]]

        taker.before_group = lambda: None
        peer.protocol.resume_writing()
        await until(lambda: sum(map(len, taker.groups)) == 9)

    run(check)


def test_a_connection_that_leaves_answers_the_calls_that_wait(run) -> None:
    """It closes when the last answer is written."""

    async def check() -> None:
        taker = Groups(2)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(b"".join(map(call_frame, range(5))))

        peer.protocol.go_away()
        assert not peer.wire.is_closed
        await until(lambda: peer.wire.is_closed)

        assert [one for group in peer.answers for one in group if one in range(5)]
        assert sum(map(len, taker.groups)) == 5

    run(check)


def test_answers_that_come_together_later_leave_in_one_write(run) -> None:
    """As those of a batch do; one that nothing else is expected beside leaves at once."""

    async def check() -> None:
        taker = Taker(holds=True)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(b"".join(map(call_frame, range(5))))

        for work in taker.held[:3]:
            work.reply(Answer(Code.OK, work.call.body))
        assert peer.answers == []
        await until(lambda: bool(peer.answers))
        assert peer.answers == [[0, 1, 2]]

        peer.says(cancel_frame(3))
        taker.held[4].reply(Answer(Code.OK, b"4"))
        assert peer.answers == [[0, 1, 2], [4]]

    run(check)


def test_no_answer_is_lost_when_a_connection_leaves_with_its_last_call(run) -> None:
    """It was held for others, one of which was withdrawn."""

    async def check() -> None:
        taker = Taker(holds=True)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(call_frame(1) + call_frame(2))
        peer.protocol.go_away()

        taker.held[0].reply(Answer(Code.OK, b"1"))
        peer.says(cancel_frame(2))

        assert peer.wire.is_closed
        assert [1] in peer.answers

    run(check)


def test_a_connection_that_leaves_closes_with_the_last_of_answers_that_come_together(run) -> None:
    """Whatever the router does about the word that it leaves."""

    async def check() -> None:
        taker = Taker(holds=True)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(call_frame(1) + call_frame(2))
        peer.protocol.go_away()

        for work in taker.held:
            work.reply(Answer(Code.OK, work.call.body))
        await until(lambda: peer.wire.is_closed)

        assert [1, 2] in peer.answers

    run(check)


def test_calls_that_cannot_be_worked_on_end_their_connection(run) -> None:
    """The router repeats them elsewhere; it would wait in vain."""

    async def check() -> None:
        taker = Groups(1)
        peer = Peer(DirectServer(taker, TOKEN))
        peer.says(b"".join(map(call_frame, range(3))))

        def fail(arrivals: Sequence[Arrival]) -> list[Work | None]:
            raise RuntimeError("cannot schedule new futures after shutdown")

        taker.submit_together = fail
        await until(lambda: peer.wire.is_aborted)

        assert [int(one.body) for one in taker.dropped] == [2]
        assert peer.answers == [[0]]

    run(check)


class Copies:
    """Takes copies, and keeps them as work."""

    def __init__(self) -> None:
        self.held: list[Work] = []

    def take(self, call: Call, reply: Reply) -> Work | None:
        """Keep a copy; one without a body is over at once."""
        if not call.body:
            reply(Answer(Code.OK, b"dropped"))
            return None
        self.held.append(Work(call, reply))
        return self.held[-1]


COPY = Call(Method.COMPARE, b"copy", 5.0)


def test_a_copy_is_no_call(run) -> None:
    """Copies make a replica not busy, do not count as load, and leave the calls beside them alone."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            copies = server.copies = Copies()
            connection = await connected(endpoint)
            copy = asyncio.ensure_future(call_over(connection, COPY))
            await until(lambda: bool(copies.held))
            assert (copies.held[0].call.body, copies.held[0].call.timeout_s) == (b"copy", 5.0)
            assert not any(peer.open for peer in server.peers)

            assert (await call_over(connection, predict())).body == b"body"
            copies.held[0].reply(Answer(Code.OK, b"report"))
            assert (await copy).body == b"report"
            assert (await call_over(connection, COPY._replace(body=b""))).body == b"dropped"

    run(check)


def test_an_open_call_makes_the_replica_busy(run) -> None:
    """While a call of any router is open no copy has its turn."""

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (server, endpoint):
            connection = await connected(endpoint)
            call = asyncio.ensure_future(call_over(connection, predict()))
            await until(lambda: bool(taker.held))
            assert any(peer.open for peer in server.peers)
            taker.release()
            await call
            assert not any(peer.open for peer in server.peers)

    run(check)


def test_copies_end_with_their_connection_and_with_a_drain(run) -> None:
    """Nobody waits for a copy: a withdrawn one, one of a lost router, and those at the end of a replica are dropped."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            copies = server.copies = Copies()
            one, two, three = [await connected(endpoint) for _ in range(3)]
            withdrawn = asyncio.ensure_future(call_over(one, COPY))
            others = [asyncio.ensure_future(call_over(peer, COPY)) for peer in (two, three)]
            await until(lambda: len(copies.held) == 3)

            withdrawn.cancel()
            await until(lambda: sum(held.is_cancelled for held in copies.held) == 1)
            two.close()
            await until(lambda: sum(held.is_cancelled for held in copies.held) == 2)
            assert await server.drain(5.0)
            assert all(held.is_cancelled for held in copies.held)
            assert all(isinstance(one, ConnectionLost) for one in await asyncio.gather(*others, return_exceptions=True))

    run(check)


def test_a_replica_that_compares_nothing_says_so(run) -> None:
    """A router gets an answer to its copy, and counts it as dropped."""

    async def check() -> None:
        async with serving(Taker()) as (_, endpoint):
            connection = await connected(endpoint)
            assert (await call_over(connection, COPY)).code is Code.UNAVAILABLE

    run(check)


def test_two_copies_with_one_number_are_garbage(run) -> None:
    """The number of an open copy is taken, as that of an open call is."""

    async def check() -> None:
        async with serving(Taker()) as (server, endpoint):
            server.copies = Copies()
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            copy = frame_header(FrameKind.CALL, 4, call_id=1, detail=Method.COMPARE, wait_ms=5000) + b"copy"
            writer.write(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN + copy * 2)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    run(check)
