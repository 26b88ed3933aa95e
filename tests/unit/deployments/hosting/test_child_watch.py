"""When a child is killed because it hangs: by the rule of Serve, which a version with its own deployment is under."""

from __future__ import annotations

import pytest

from core.errors import Unavailable
from deployments.hosting.child_watch import (
    AGAIN_AFTER_S,
    FAILURES_IN_A_ROW,
    HANGS_AFTER_S,
    HEALTH_EVERY_S,
    watched_until_ended,
)

HANGS = Unavailable("RuntimeError: 1 calls of m version 1 hang, one in each thread")


class Watched:
    """A child that answers questions about its health as given, and then ends; implements what is used of a link."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.pauses: list[float] = []
        self.timeouts: set[float] = set()
        self.is_killed = False

    async def ended(self, timeout_s: float) -> bool:
        self.pauses.append(timeout_s)
        return self.is_killed or not self.answers

    async def ask(self, ask: object, *, timeout_s: float) -> None:
        self.timeouts.add(timeout_s)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer

    def kill(self) -> None:
        self.is_killed = True


@pytest.mark.parametrize(
    "answers",
    [(None, None), (HANGS,), (HANGS, HANGS), (HANGS, HANGS, None, HANGS, HANGS, None)],
    ids=["well", "once", "twice", "in between well"],
)
async def test_a_child_that_goes_on_is_left_alone(answers: tuple[Exception | None, ...]) -> None:
    """One slow call may hold all threads for a moment."""
    child = Watched(*answers)

    await watched_until_ended(child, "m:1")

    assert (child.is_killed, child.answers) == (False, [])


async def test_a_child_that_says_three_times_in_a_row_that_it_hangs_is_killed() -> None:
    """The questions after the first failure come sooner."""
    child = Watched(*[HANGS] * 9)

    await watched_until_ended(child, "m:1")

    assert child.is_killed
    assert child.pauses == [HEALTH_EVERY_S] + [AGAIN_AFTER_S] * FAILURES_IN_A_ROW


async def test_a_child_that_is_silent_is_killed_after_one_long_wait() -> None:
    """It has been given thirty seconds already."""
    child = Watched(None, TimeoutError(), None)

    await watched_until_ended(child, "m:1")

    assert (child.is_killed, child.timeouts) == (True, {HANGS_AFTER_S})
