"""Ray is started up to three times, and what a failed start left behind is gone before the next."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

import psutil
import pytest

from core.errors import Unavailable
from deployments.launch.ray_start import RayStart, StartTimedOut, halted, start_ray
from tests.support.clients import wait_until


class ScriptedStart:
    """Starts of which each ends as given: None is a success."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.left_behind: list[int] = []
        self.is_up = False

    def start(self) -> None:
        assert self.left_behind == [], "a start must not find what the one before it left"
        end = self.ends.pop(0)
        if end is not None:
            self.left_behind.append(len(self.ends))
            raise end
        self.is_up = True

    def clear(self) -> None:
        self.left_behind.clear()


def lines_of(one: RayStart, *, is_stopped: Sequence[bool] = ()) -> list[str]:
    """Return what is said; the server is asked to stop as given, after each failed start."""
    said: list[str] = []
    stopped = iter(is_stopped)
    start_ray(one, said.append, lambda: next(stopped, False))
    return said


def test_a_ray_that_comes_up_is_not_worth_a_line() -> None:
    """The first start succeeds on nearly all machines."""
    start = ScriptedStart(None)

    assert (lines_of(start), start.is_up) == ([], True)


@pytest.mark.parametrize("late", [1, 2])
def test_a_start_that_takes_too_long_is_tried_again_twice(late: int) -> None:
    """Each further try has a line of its own."""
    start = ScriptedStart(*[StartTimedOut()] * late, None)

    said = lines_of(start)

    assert start.is_up
    assert said == [f"Ray did not start within its 30 s; trying again ({number} of 3)" for number in (2, 3)[:late]]


def test_after_three_starts_the_error_says_what_to_do() -> None:
    """One paragraph takes the place of Ray's traceback, and nothing is left behind."""
    start = ScriptedStart(*[StartTimedOut()] * 3)

    with pytest.raises(Unavailable, match=r"^Ray did not start in 3 tries of 30 s each\. The machine .* join it\.$"):
        lines_of(start)

    assert (start.ends, start.left_behind) == ([], [])


def test_another_failure_is_not_tried_again() -> None:
    """What a second start cannot mend is raised as it is; what the start left behind is removed."""
    start = ScriptedStart(ValueError("num_cpus"), None)

    with pytest.raises(ValueError, match="num_cpus"):
        lines_of(start)

    assert (len(start.ends), start.left_behind) == (1, [])


def test_a_server_that_is_asked_to_stop_does_not_start_ray_again() -> None:
    """SIGINT during a slow start ends the server after that start, not after two more."""
    start = ScriptedStart(StartTimedOut(), None)

    with pytest.raises(Unavailable, match="when the server was stopped"):
        lines_of(start, is_stopped=[True])

    assert (len(start.ends), start.left_behind) == (1, [])


def test_nothing_that_is_started_meanwhile_is_missed() -> None:
    """A process that starts many others stands still, with all that it has started, until it is killed."""
    with subprocess.Popen(
        ["sh", "-c", "for one in $(seq 1000); do sleep 60 & done; wait"], start_new_session=True
    ) as busy:
        wait_until(lambda: len(psutil.Process(busy.pid).children()) > 20, "it is at work")

        found = halted([busy.pid])

        below = psutil.Process(busy.pid).children(recursive=True)
        for one in found:
            one.send_signal(signal.SIGKILL)
    assert {one.pid for one in found} == {busy.pid, *(one.pid for one in below)}
    assert psutil.wait_procs(below, 60)[1] == []


def test_what_is_gone_is_not_halted() -> None:
    """A start may have failed because its processes ended."""
    with subprocess.Popen(["true"]) as gone:
        pass

    assert halted([gone.pid]) == set()
