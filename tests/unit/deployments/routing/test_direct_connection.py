"""Tests of one connection to a replica: outcomes of calls, time-outs, withdrawal, and peers that violate the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from core.errors import Code, DeadlineExceeded
from core.routing.direct_frames import HEADER, FrameKind, frame_header
from core.routing.transport import Answer, ConnectionLost
from deployments.routing import direct_connection
from deployments.routing.awaited_call import call_over
from deployments.routing.direct_connection import DirectConnection
from deployments.system import tcp_peer
from tests.support.direct_sites import TOKEN, Taker, connected, predict, scripted_replica, serving, until
from tests.support.silence import fall_silent


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * HEADER.size, frame_header(FrameKind.ANSWER, 0, call_id=1, detail=99), frame_header(FrameKind.CALL, 0)],
    ids=["noise", "unknown_code", "call"],
)
def test_a_replica_that_speaks_nonsense_is_given_up(run, garbage) -> None:
    """Its callers fail at once, instead of waiting for nothing."""

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


def test_a_lost_connection_fails_all_callers(run) -> None:
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


def test_a_replica_whose_host_is_silent_is_given_up(run, monkeypatch) -> None:
    """Its callers ask another; afterwards nobody watches."""
    monkeypatch.setattr(tcp_peer, "SILENT_AFTER_S", 0.2)
    monkeypatch.setattr(tcp_peer, "LOOK_EVERY_S", 0.02)

    async def check() -> None:
        async def script(reader, writer) -> None:
            await reader.readexactly(HEADER.size + len(TOKEN))
            fall_silent(writer.get_extra_info("socket"))
            with suppress(OSError):
                await reader.read()
            writer.close()

        async with scripted_replica(script) as endpoint:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: DirectConnection(endpoint), endpoint.host, endpoint.port, local_addr=("127.0.0.2", 0)
            )
            ended: list[None] = []
            monkeypatch.setattr(connection._silence, "end", lambda: ended.append(None))

            with pytest.raises(ConnectionLost):
                await call_over(connection, predict())
            assert ended == [None]

    run(check)


class Outcome:
    """Receives the outcome of a call."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.error: Exception | None = None

    def done(self) -> bool:
        """Whether an outcome has come."""
        return self.answer is not None or self.error is not None

    def set_result(self, result: Answer) -> None:
        """Take the answer."""
        self.answer = result

    def set_exception(self, exception: Exception) -> None:
        """Take the failure."""
        self.error = exception


def test_a_call_is_sent_and_answered_without_a_task(run) -> None:
    """The receiver is called when the answer has arrived; nothing stays open."""

    async def check() -> None:
        async with serving(Taker()) as (_, endpoint):
            connection, outcome = await connected(endpoint), Outcome()
            tasks = len(asyncio.all_tasks())

            connection.begin(predict(), outcome)

            assert len(asyncio.all_tasks()) == tasks
            await until(outcome.done)
            assert (outcome.answer, connection.load) == (Answer(Code.OK, b"body"), 0)

    run(check)


def test_a_call_without_an_answer_ends_a_little_after_its_deadline(run, monkeypatch) -> None:
    """The model server's own time-out, which comes first, has the better text."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.01)

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection, outcome = await connected(endpoint), Outcome()

            connection.begin(predict(timeout_s=0.01), outcome)

            await until(outcome.done)
            assert isinstance(outcome.error, DeadlineExceeded)
            await until(lambda: bool(taker.held) and taker.held[0].is_cancelled)
            assert connection.load == 0

    run(check)


def test_each_call_ends_by_its_own_deadline(run, monkeypatch) -> None:
    """Those of others neither delay it, whether it began before them or after, nor end it; one may have none."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.0)

    async def check() -> None:
        async with serving(Taker(holds=True)) as (_, endpoint):
            connection = await connected(endpoint)
            ended: list[float | None] = []
            for time_s in (60.0, 0.03, 0.01, 0.06, None):
                outcome = Outcome()
                monkeypatch.setattr(outcome, "set_exception", lambda _, time_s=time_s: ended.append(time_s))
                connection.begin(predict(timeout_s=time_s), outcome)

            await until(lambda: len(ended) >= 3)

            assert ended == [0.01, 0.03, 0.06]
            assert connection.load == 2
            connection.begin(predict(timeout_s=0.01), late := Outcome())
            await until(late.done)

    run(check)


class Broken(Outcome):
    """Receives nothing: whatever comes raises."""

    def set_result(self, result: Answer) -> None:
        """Fail."""
        raise RuntimeError(result)

    def set_exception(self, exception: Exception) -> None:
        """Fail."""
        raise RuntimeError(exception)


@pytest.mark.parametrize("what", ["the_receiver", "the_connection"])
def test_a_call_that_cannot_be_ended_delays_no_other(run, monkeypatch, what: str) -> None:
    """Neither those that expire with it nor those that do so later."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.0)

    def write(*_: bytes) -> None:
        raise RuntimeError

    async def check() -> None:
        async with serving(Taker(holds=True)) as (_, endpoint):
            connection = await connected(endpoint)
            outcomes = [Broken() if what == "the_receiver" else Outcome(), Outcome(), Outcome()]
            for outcome, timeout_s in zip(outcomes, (0.01, 0.01, 0.05), strict=True):
                connection.begin(predict(timeout_s=timeout_s), outcome)
            if what == "the_connection":
                await asyncio.sleep(0)  # so that the calls are sent
                monkeypatch.setattr(connection, "_write", write)

            await until(lambda: all(one.done() for one in outcomes if not isinstance(one, Broken)))
            assert connection.load == 0

    run(check)


def test_a_receiver_that_fails_takes_no_answer_from_others(run) -> None:
    """Their connection stays."""

    async def check() -> None:
        async with serving(Taker()) as (_, endpoint):
            connection, outcome = await connected(endpoint), Outcome()

            connection.begin(predict(), Broken())
            connection.begin(predict(), outcome)

            await until(outcome.done)
            assert outcome.answer == Answer(Code.OK, b"body")
            assert connection.takes_calls

    run(check)


def test_a_receiver_that_fails_keeps_no_loss_from_others(run) -> None:
    """All callers of a lost connection are told."""

    async def check() -> None:
        async with serving(Taker(holds=True)) as (_, endpoint):
            connection, outcome = await connected(endpoint), Outcome()
            connection.begin(predict(), Broken())
            connection.begin(predict(), outcome)

            connection.close()

            await until(outcome.done)
            assert isinstance(outcome.error, ConnectionLost)
            await connection.closed

    run(check)


def test_a_withdrawn_call_gets_no_outcome(run, monkeypatch) -> None:
    """Neither its answer, nor the end of its time."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.0)

    async def check() -> None:
        taker = Taker(holds=True)
        async with serving(taker) as (_, endpoint):
            connection, outcome, other = await connected(endpoint), Outcome(), Outcome()
            sent = connection.begin(predict(timeout_s=0.001), outcome)

            sent.withdraw()
            connection.begin(predict(timeout_s=0.01), other)

            await until(other.done)
            assert (outcome.done(), connection.load) == (False, 0)

    run(check)


def test_some_images_may_wait_to_be_sent_and_many_may_not(run) -> None:
    """A call of an image need not wait until the one before it has left; what waits stays bounded."""
    image = b"i" * 2**20

    async def check() -> None:
        is_over = asyncio.Event()

        async def script(_, writer) -> None:
            await is_over.wait()
            writer.close()

        async with scripted_replica(script) as endpoint:
            connection = await connected(endpoint)
            calls: list[asyncio.Future] = []
            unsent = connection._transport.get_write_buffer_size

            async def send_while(is_wanted: Callable[[], bool]) -> None:
                while is_wanted():
                    calls.append(asyncio.get_running_loop().create_future())
                    connection.begin(predict(image), calls[-1])
                    await asyncio.sleep(0)

            await send_while(lambda: unsent() < len(image))
            assert connection.takes_calls
            await send_while(lambda: connection.takes_calls)
            assert unsent() <= direct_connection.MOST_UNSENT_BYTES + 2 * len(image)

            is_over.set()
            await asyncio.gather(*calls, return_exceptions=True)

    run(check)
