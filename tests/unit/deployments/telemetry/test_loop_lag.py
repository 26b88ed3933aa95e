"""Tests of how late an event loop is."""

from __future__ import annotations

import time

from deployments.telemetry.loop_lag import LOOK_EVERY_S, LoopLag
from tests.support.direct_sites import until


async def test_a_loop_that_is_kept_is_late() -> None:
    """Work that does not let the loop turn shows in the average, and is forgotten when it is over."""
    lag = LoopLag()
    lag.start()
    for _ in range(3):
        ends_at = time.monotonic() + 2 * LOOK_EVERY_S
        while time.monotonic() < ends_at:
            pass
        before = lag.lag_s
        await until(lambda before=before: lag.lag_s != before)
    assert lag.lag_s > 0.002
    high = lag.lag_s
    await until(lambda: lag.lag_s < high / 4)
    lag.stop()


async def test_looking_ends() -> None:
    """After a stop nothing is looked at; a second start begins anew, and is one."""
    lag = LoopLag()
    lag.start()
    lag.start()
    await until(lambda: lag.lag_s > 0)
    lag.stop()
    lag.stop()
    lag.lag_s = 5.0
    lag.start()
    assert lag.lag_s == 0.0
    lag.stop()
