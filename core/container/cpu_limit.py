"""How many CPUs a process may count on, of those that its machine has: the kernel's texts about control groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

NO_QUOTA = math.inf


def cpus_within(allowed: int, quota: float) -> int:
    """Return the number of CPUs, at least 1: those that it may run on, or its quota of their time if that is less.

    A quota is rounded up, as two threads are right for the time of one and a half CPUs, and one for that of a half.
    """
    return max(1, allowed if quota >= allowed else math.ceil(quota))


def quota_of(limit: str, period: str) -> float:
    """Return the CPUs whose time a group has, of two numbers of microseconds; infinite without a limit.

    The two are the words of `cpu.max`, or the files `cpu.cfs_quota_us` and `cpu.cfs_period_us` of version 1.
    """
    if not (limit.isdecimal() and period.isdecimal() and int(period)):  # "max" and -1 are no limits
        return NO_QUOTA
    return int(limit) / int(period)


def group_paths(memberships: str) -> Iterator[PurePosixPath]:
    """Yield the group of a process and those that contain it, of the text of `/proc/self/cgroup`.

    Each counts, as the narrowest limits all below it. A container that does not see the groups above its own finds
    its files at the root, which is always among them.
    """
    yield PurePosixPath("/")
    for line in memberships.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/") and (not controllers or "cpu" in controllers.split(",")):
            yield from (one for one in (PurePosixPath(path), *PurePosixPath(path).parents) if one.name)
