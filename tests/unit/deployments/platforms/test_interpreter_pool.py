"""Tests of the pool: who gets an interpreter, who waits, what happens to one in whose hands a run fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import DeadlineExceeded, Unavailable
from deployments.platforms.interpreter_pool import InterpreterPool
from tests.support.clients import wait_until

SMALL, LARGE = {0: (1,)}, {0: (9,)}


class Made:
    """An interpreter that only knows its shapes."""

    def __init__(self, rows: int = 1) -> None:
        self.shapes = {0: (rows,)}


def pool_of(size: int, make=Made) -> InterpreterPool:
    return InterpreterPool(make, Made(), size, "gone")


def test_interpreters_are_made_when_they_are_needed_and_no_more_than_the_size() -> None:
    """A first one is there from the start; one that is back is lent again."""
    made: list[Made] = []

    def make() -> Made:
        made.append(Made())
        return made[-1]

    pool = pool_of(2, make)
    with pool.lent(SMALL) as first:
        assert made == []
        with pool.lent(SMALL) as second:
            assert made == [second]
            with pytest.raises(DeadlineExceeded), pool.lent(SMALL, 0.01):
                pass
    with pool.lent(SMALL), pool.lent(SMALL) as again:
        assert again in (first, second)
    assert len(made) == 1


def test_a_run_waits_until_an_interpreter_is_back() -> None:
    """Without a deadline it waits as long as it takes."""
    pool = pool_of(1)
    got = threading.Event()

    def wait() -> Made:
        with pool.lent(SMALL) as one:
            got.set()
            return one

    with ThreadPoolExecutor(1) as threads:
        with pool.lent(SMALL) as mine:
            waiting = threads.submit(wait)
            assert not got.wait(0.05)
        assert waiting.result(10) is mine


def test_a_run_whose_time_is_up_gives_up_and_takes_nothing_with_it() -> None:
    """The text is that of a run whose time is up."""
    pool = pool_of(1)

    text = "Timed out waiting for notification"
    with pool.lent(SMALL) as one, pytest.raises(DeadlineExceeded, match=text), pool.lent(SMALL, 0.0):
        pass
    with pool.lent(SMALL, 0.0) as again:
        assert again is one


def test_an_interpreter_of_the_right_shapes_is_preferred() -> None:
    """It need not be resized; otherwise the one that was used last is taken, whose memory is warm."""
    pool = pool_of(2, lambda: Made(9))
    with pool.lent(SMALL) as small, pool.lent(SMALL) as large:
        assert (small.shapes, large.shapes) == (SMALL, LARGE)

    for shapes, wanted in ((SMALL, small), (LARGE, large), (SMALL, small)):
        with pool.lent(shapes) as one:
            assert one is wanted
    with pool.lent({0: (5,)}) as one:
        assert one is small


def test_an_interpreter_is_dropped_when_a_run_fails_and_another_one_takes_its_place() -> None:
    """What a failed run leaves in it, such as its error text, reaches no other request."""
    pool = pool_of(1)

    with pytest.raises(ValueError, match="bad"), pool.lent(SMALL) as failed:
        raise ValueError("bad")

    with pool.lent(SMALL, 0.0) as fresh:
        assert fresh is not failed


def test_an_interpreter_that_cannot_be_made_costs_no_place() -> None:
    """The next call tries again."""
    made = iter([None, Made(5)])

    def make() -> Made:
        one = next(made)
        if one is None:
            raise MemoryError
        return one

    pool = pool_of(2, make)
    with pool.lent(SMALL):
        with pytest.raises(MemoryError), pool.lent(SMALL, 0.0):
            pass
        with pool.lent(SMALL, 0.0) as one:
            assert one.shapes == {0: (5,)}


def test_a_thread_that_must_not_wait_has_an_interpreter_beyond_the_size() -> None:
    """It is made once, and only if no other is free."""
    pool = pool_of(1)
    with pool.lent(SMALL, may_wait=False) as free, pool.lent(SMALL, may_wait=False) as spare:
        assert spare is not free
    with pool.lent(SMALL) as one, pool.lent(SMALL, may_wait=False) as again:
        assert (one, again) == (free, spare)

    with pytest.raises(ValueError, match="bad"), pool.lent(SMALL), pool.lent(SMALL, may_wait=False):
        raise ValueError("bad")
    with pool.lent(SMALL), pool.lent(SMALL, may_wait=False) as fresh:
        assert fresh is not spare


def test_a_closed_pool_refuses_those_who_come_and_those_who_wait() -> None:
    """A run that has begun ends as usual."""
    pool = pool_of(1)

    def wait() -> None:
        with pool.lent(SMALL):
            pass

    with ThreadPoolExecutor(1) as threads, pool.lent(SMALL):
        waiting = threads.submit(wait)
        wait_until(waiting.running, "somebody waits")
        pool.close()
        with pytest.raises(Unavailable, match="gone"):
            waiting.result(10)
    for may_wait in (True, False):
        with pytest.raises(Unavailable, match="gone"), pool.lent(SMALL, may_wait=may_wait):
            pass
