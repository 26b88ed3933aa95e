"""Runs that nobody waits for any more, and when a replica is of no use because of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deployments.inference.run_watch import GRACE_S, UNBOUNDED_S, RunWatch
from tests.support.clients import wait_until
from tests.support.fakes import FakeClock, FakeLoaded
from tests.support.served_models import half_plus_two

X = {"x:0": np.array([2.0], np.float32)}


class Hanging:
    """A version whose runs end when they are released."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.release = threading.Event()
        self.begun = threading.Semaphore(0)
        self.watch = RunWatch(FakeLoaded(half_plus_two(), self._wait), self.clock.steady_s)
        self.pool = ThreadPoolExecutor(4)

    def _wait(self, fed: np.ndarray) -> np.ndarray:
        self.begun.release()
        assert self.release.wait(30)
        return fed

    def start(self, timeout_ms: int | None) -> None:
        """Start a run, and wait until it has begun."""
        self.pool.submit(self.watch.run, X, ["y:0"], timeout_ms=timeout_ms)
        assert self.begun.acquire(timeout=30)


@pytest.fixture
def hanging():
    """Its threads end with the test."""
    made = Hanging()
    yield made
    made.release.set()
    made.pool.shutdown()


def test_a_run_is_passed_on() -> None:
    """With its time and its place."""
    loaded = FakeLoaded(half_plus_two())
    watch = RunWatch(loaded)

    assert watch.run(X, ["y:0"], timeout_ms=7, in_caller_thread=True)[0].tolist() == [3.0]
    assert loaded.runs == [(7, True)]
    assert watch.served is loaded.served


def test_it_is_overdue_a_while_after_its_callers_time(hanging: Hanging) -> None:
    """And no longer when it has ended."""
    hanging.start(1000)
    hanging.clock.advance(1.0 + GRACE_S)
    assert hanging.watch.overdue() == 0

    hanging.clock.advance(0.1)
    assert hanging.watch.overdue() == 1

    hanging.release.set()
    wait_until(lambda: hanging.watch.overdue() == 0, "the run has ended")


def test_a_run_without_a_deadline_may_take_very_long(hanging: Hanging) -> None:
    """Its caller may still wait."""
    hanging.start(None)
    hanging.clock.advance(UNBOUNDED_S)
    assert hanging.watch.overdue() == 0

    hanging.clock.advance(GRACE_S + 0.1)
    assert hanging.watch.overdue() == 1


def test_a_run_that_fails_is_over() -> None:
    """Otherwise a version that refuses much would seem to hang."""
    clock = FakeClock()
    watch = RunWatch(FakeLoaded(half_plus_two(), lambda _: np.zeros(1) / {}["x"]), clock.steady_s)

    with pytest.raises(KeyError):
        watch.run(X, ["y:0"], timeout_ms=1)

    clock.advance(100)
    assert watch.overdue() == 0


def test_a_replica_is_stuck_when_every_thread_hangs(hanging: Hanging) -> None:
    """While one is left, other calls are answered."""
    hanging.watch.threads = 2
    hanging.start(1)
    hanging.clock.advance(100)
    hanging.watch.check()

    hanging.start(1)
    hanging.watch.check()
    hanging.clock.advance(100)

    with pytest.raises(RuntimeError, match="2 calls of h2 version 123 hang"):
        hanging.watch.check()


class Closing(FakeLoaded):
    """A version whose end hangs."""

    def __init__(self) -> None:
        super().__init__(half_plus_two())
        self.begun = threading.Event()
        self.release = threading.Event()

    def close(self) -> None:
        """Wait until the test is over."""
        self.begun.set()
        self.release.wait(30)


def test_an_end_that_hangs_is_left_behind() -> None:
    """The process ends all the same."""
    loaded = Closing()

    RunWatch(loaded).close_within(0.01)

    assert loaded.begun.wait(30)
    loaded.release.set()
