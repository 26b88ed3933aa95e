"""CPUs within limits: what the kernel's files about control groups say, and what a process makes of it."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import pytest

from core.container.cpu_limit import cpus_within, group_paths, quota_of


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [
        (8, math.inf, 8),
        (8, 2.0, 2),
        (8, 1.5, 2),  # two threads for the time of one and a half
        (8, 0.5, 1),
        (8, 0.0, 1),
        (2, 6.0, 2),
        (0, math.inf, 1),
    ],
)
def test_the_narrower_limit_counts_and_one_cpu_is_always_there(allowed: int, quota: float, expected: int) -> None:
    """A part of a CPU counts as one."""
    assert cpus_within(allowed, quota) == expected


@pytest.mark.parametrize(
    ("limit", "period", "expected"),
    [
        ("150000", "100000", 1.5),
        ("max", "100000", math.inf),  # version 2 without a limit
        ("-1", "100000", math.inf),  # version 1 without a limit
        ("", "", math.inf),  # no such file
        ("100000", "0", math.inf),
        ("100000", "", math.inf),
        ("x", "y", math.inf),
    ],
)
def test_a_quota_is_a_part_of_a_period(limit: str, period: str, expected: float) -> None:
    """What is not two numbers sets no limit."""
    assert quota_of(limit, period) == expected


@pytest.mark.parametrize(
    ("memberships", "expected"),
    [
        ("", ["/"]),
        ("0::/", ["/"]),
        ("0::/system.slice/server.service", ["/", "/system.slice/server.service", "/system.slice"]),
        ("4:memory:/m\n3:cpuacct,cpu:/docker/1f\n2:cpuset:/s", ["/", "/docker/1f", "/docker"]),
        ("garbage\n::\n1:cpu", ["/"]),
    ],
)
def test_the_groups_above_a_process_count_too(memberships: str, expected: list[str]) -> None:
    """A slice limits its services; the root is that of a container that sees no other."""
    assert list(group_paths(memberships)) == list(map(PurePosixPath, expected))
