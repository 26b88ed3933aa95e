"""When a connection is read, and when not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from deployments.rest.reading_gate import ReadingGate


class Read(asyncio.Transport):
    """A connection that is read or not."""

    is_read = True
    is_gone = False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_gone
        self.is_read = True

    def is_closing(self) -> bool:
        return self.is_gone


@pytest.fixture
def connection() -> Read:
    """A connection that is read."""
    return Read()


async def test_a_shut_gate_stays_shut_whatever_a_request_wants(connection: Read) -> None:
    """Requests read on when their body is wanted; too much waits nevertheless."""
    gate = ReadingGate(connection)
    gate.shut()
    gate.resume_reading()
    was_read = connection.is_read
    gate.open()

    assert (was_read, connection.is_read) == (False, True)


async def test_an_open_gate_is_that_of_a_request(connection: Read) -> None:
    """As without one."""
    gate = ReadingGate(connection)
    gate.pause_reading()
    was_read = connection.is_read
    gate.resume_reading()

    assert (was_read, connection.is_read) == (False, True)


class LaterLoop(asyncio.AbstractEventLoop):
    """An event loop that runs what is due later when a test wants it."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None], *_: object, **__: object) -> None:  # type: ignore[override]
        self.due.append((delay, callback))


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_rest_ends_unless_the_connection_is_gone(connection: Read, is_gone: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """What was closed meanwhile is not read."""
    loop = LaterLoop()
    ReadingGate(connection).rest(0.5, loop)
    ((delay_s, read_on),) = loop.due
    was_read = connection.is_read
    connection.is_gone = is_gone
    read_on()

    assert (delay_s, was_read, connection.is_read) == (0.5, False, not is_gone)
