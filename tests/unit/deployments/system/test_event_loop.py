"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from deployments.system.event_loop import LoopThread

TIMEOUT_S = 60.0


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A loop that is stopped after the test."""
    made = LoopThread("a-loop")
    yield made
    if not made.loop.is_closed():
        made.stop()
        made.join(TIMEOUT_S)


async def here() -> str:
    return threading.current_thread().name


def test_work_runs_in_the_thread_of_the_loop(thread: LoopThread) -> None:
    """Whichever thread brings it."""
    assert thread.run(here()).result(TIMEOUT_S) == "a-loop"


def test_an_error_arrives_at_whoever_waits(thread: LoopThread) -> None:
    """The loop goes on."""

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.run(fail()).result(TIMEOUT_S)

    assert thread.run(here()).result(TIMEOUT_S) == "a-loop"


async def test_a_loop_that_turns_answers_a_ping(thread: LoopThread) -> None:
    """So the health check of a replica is about its own loop."""
    await thread.ping(TIMEOUT_S)


async def test_a_loop_that_is_blocked_does_not_answer_a_ping(thread: LoopThread) -> None:
    """Waiting for it has an end."""
    free = threading.Event()
    thread.loop.call_soon_threadsafe(free.wait, TIMEOUT_S)
    try:
        with pytest.raises(TimeoutError):
            await thread.ping(0.05)
    finally:
        free.set()


def test_a_loop_that_is_stopped_ends_its_thread_and_drops_its_work(thread: LoopThread) -> None:
    """The process can end."""
    began = threading.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    waiting = thread.run(wait())
    assert began.wait(TIMEOUT_S)
    thread.stop()
    thread.join(TIMEOUT_S)

    assert thread.loop.is_closed()
    assert not waiting.done()
    assert "a-loop" not in {one.name for one in threading.enumerate()}


def test_the_thread_never_keeps_the_process_from_ending(thread: LoopThread) -> None:
    """A replica that Serve gives up ends although its loop turns."""
    [loop] = [one for one in threading.enumerate() if one.name == "a-loop"]

    assert loop.daemon
    assert thread.loop.is_running()
