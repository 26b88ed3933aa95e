"""The clocks of the machine, and that of tests beside them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from deployments.system.clock import Clock, SystemClock
from tests.support.fakes import FakeClock


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()])
def test_a_clock_goes_forward(clock: Clock) -> None:
    """A deadline never moves away."""
    readings = [clock.steady_s() for _ in range(100)]

    assert readings == sorted(readings)


def test_the_wall_clock_is_the_time_of_day() -> None:
    """In seconds since 1970, as other hosts count."""
    assert SystemClock().wall_s() == pytest.approx(datetime.now(UTC).timestamp(), abs=10)


def test_the_steady_clock_is_the_systems_monotonic_one() -> None:
    """It is compared with `time.monotonic` in other modules."""
    assert SystemClock().steady_s() == pytest.approx(time.monotonic(), abs=10)
