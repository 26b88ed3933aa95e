"""Tests of whether a process has time to spare."""

from __future__ import annotations

import time

from deployments.telemetry import spare_time
from deployments.telemetry.spare_time import IDLE_CPUS, LATE_S, LOOK_EVERY_S, LOOKS_PER_COUNT, SpareTime, idle_s
from tests.support.direct_sites import until


class Machine:
    """A machine of which so many processors idle."""

    def __init__(self, idle_cpus: float) -> None:
        self.idle_cpus = idle_cpus
        self._at_s = time.monotonic()
        self._idle_s = 1000.0

    def idle(self) -> float:
        """Return the idle time so far."""
        now_s = time.monotonic()
        self._idle_s += self.idle_cpus * (now_s - self._at_s)
        self._at_s = now_s
        return self._idle_s


async def test_a_loop_that_is_kept_is_late() -> None:
    """Work that does not let the loop turn shows in the average, and is forgotten when it is over."""
    spare = SpareTime(Machine(8.0).idle)
    spare.start()
    for _ in range(3):
        ends_at = time.monotonic() + 2 * LOOK_EVERY_S
        while time.monotonic() < ends_at:
            pass
        before = spare.lag_s
        await until(lambda before=before: spare.lag_s != before)
    assert spare.lag_s > LATE_S
    assert spare.is_short
    high = spare.lag_s
    await until(lambda: spare.lag_s < high / 4)
    spare.stop()


async def test_a_machine_without_an_idle_processor_has_no_time() -> None:
    """All processes of the machine share its processors; there is time again when some idle."""
    machine = Machine(IDLE_CPUS / 5)
    spare = SpareTime(machine.idle)
    spare.start()
    assert spare.is_short
    await until(lambda: spare.idle_cpus > 0)
    assert spare.is_short
    machine.idle_cpus = 4 * IDLE_CPUS
    await until(lambda: spare.idle_cpus > IDLE_CPUS)
    assert spare.is_short == (spare.lag_s > LATE_S)
    spare.stop()


async def test_looking_ends() -> None:
    """After a stop nothing is looked at; a second start begins anew, and is one."""
    looks: list[int] = []
    spare = SpareTime(lambda: float(len(looks.append(1) or looks)))
    spare.start()
    spare.start()
    assert len(looks) == 1
    await until(lambda: len(looks) == 2)
    spare.stop()
    spare.stop()
    spare.lag_s = 5.0
    spare.start()
    assert (spare.lag_s, spare.idle_cpus) == (0.0, 0.0)
    spare.stop()
    assert LOOKS_PER_COUNT > 1


def test_the_idle_time_of_this_machine_rises() -> None:
    """It is that of all processors since the start of the machine; never more than they have had."""
    assert idle_s() >= 0.0


def test_a_machine_that_does_not_say_counts_as_busy(monkeypatch) -> None:
    """Where the file is missing, or says something else, copies are few."""
    monkeypatch.setattr(spare_time, "open", lambda *_: (_ for _ in ()).throw(OSError), raising=False)
    assert idle_s() == 0.0
