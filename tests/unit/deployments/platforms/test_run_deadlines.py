"""Runs that last longer than their time are ended; one thread watches, and none when nothing runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from deployments.platforms.run_deadlines import RunDeadlines
from tests.support.clients import wait_until

HOUR_MS = 3_600_000


def test_a_run_that_lasts_too_long_is_ended() -> None:
    """By another thread, while the run goes on."""
    ended = threading.Event()

    with RunDeadlines().within(1, ended.set):
        assert ended.wait(20)


def test_a_run_that_has_ended_is_not_watched_any_more() -> None:
    """Also if it failed; nothing of it is kept."""
    deadlines = RunDeadlines()

    with deadlines.within(HOUR_MS, print):
        pass
    with suppress(ValueError), deadlines.within(HOUR_MS, print):
        raise ValueError

    assert not deadlines._runs


def test_a_shorter_run_that_begins_later_is_ended_first() -> None:
    """The watching thread waits for the nearest deadline."""
    deadlines, ended = RunDeadlines(), threading.Event()

    with deadlines.within(HOUR_MS, ended.clear), deadlines.within(1, ended.set):
        assert ended.wait(20)


def test_every_run_of_many_is_ended() -> None:
    """From several threads at once."""
    deadlines = RunDeadlines()

    def run(number: int) -> bool:
        ended = threading.Event()
        with deadlines.within(1 + number % 7, ended.set):
            return ended.wait(20)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(run, range(100)))


def test_the_thread_ends_when_nothing_runs() -> None:
    """At the last deadline that it waited for, and it comes back when it is needed."""
    deadlines, ended = RunDeadlines(), threading.Event()

    with deadlines.within(20, print):
        pass
    wait_until(lambda: deadlines._thread is None, "the thread has ended", 20)

    with deadlines.within(1, ended.set):
        assert ended.wait(20)


def test_one_thread_watches_all_runs() -> None:
    """However many there are."""
    deadlines = RunDeadlines()

    with deadlines.within(HOUR_MS, print):
        first = deadlines._thread
        with deadlines.within(HOUR_MS, print), deadlines.within(HOUR_MS - 1, print):
            assert first is not None
            assert deadlines._thread is first
            assert first.is_alive()
