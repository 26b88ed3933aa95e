"""The CPUs of this process: Python counts those of the machine, also where a container may use a few of them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from core.container.cpu_limit import NO_QUOTA, cpus_within, group_paths, quota_of

MEMBERSHIPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


@functools.cache
def usable_cpus() -> int:
    """Return how many CPUs this process may count on: of its affinity, and of `docker run --cpus` or a pod's limit."""
    return cpus_within(len(os.sched_getaffinity(0)), cpu_quota(GROUPS, _text(MEMBERSHIPS)))


def quota_cpus() -> int:
    """Return `usable_cpus` where a quota leaves fewer than the affinity, which libraries see themselves; else 0."""
    usable = usable_cpus()
    return usable if usable < len(os.sched_getaffinity(0)) else 0


def cpu_quota(groups: Path, memberships: str) -> float:
    """Return the least quota of the control groups of this process, in CPUs; infinite where nobody set one."""
    found = [NO_QUOTA]
    for one in group_paths(memberships):
        inside = str(one).lstrip("/")
        limit, _, period = _text(groups / inside / "cpu.max").partition(" ")
        found.append(quota_of(limit, period))
        older = groups / "cpu" / inside
        found.append(quota_of(_text(older / "cpu.cfs_quota_us"), _text(older / "cpu.cfs_period_us")))
    return min(found)


def _text(file: Path) -> str:
    """Return the content of a file of the kernel; empty where it is not there."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
