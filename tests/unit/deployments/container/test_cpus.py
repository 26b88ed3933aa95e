"""The CPUs that this process may use, of files as the kernel writes them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.container import cpus
from deployments.container.cpus import cpu_quota
from tests.support.project import ROOT


def written(folder: Path, **files: str) -> Path:
    """Write files of control groups, their names with `__` for a slash and `_dot_` for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_a_container_sees_its_own_limit_at_the_root(tmp_path: Path) -> None:
    """Docker's `--cpus=1.5`, whatever the group is called outside."""
    groups = written(tmp_path, cpu_dot_max="150000 100000\n")

    assert cpu_quota(groups, "0::/../../docker/1f") == 1.5


def test_the_narrowest_group_counts(tmp_path: Path) -> None:
    """A service's own quota, and that of its slice."""
    groups = written(
        tmp_path, a__b__cpu_dot_max="400000 100000\n", a__cpu_dot_max="50000 100000\n", cpu_dot_max="max 100000"
    )

    assert cpu_quota(groups, "0::/a/b") == 0.5


def test_the_first_version_of_control_groups_counts_too(tmp_path: Path) -> None:
    """Two files instead of one."""
    groups = written(tmp_path, cpu__cpu_dot_cfs_quota_us="200000\n", cpu__cpu_dot_cfs_period_us="100000\n")

    assert cpu_quota(groups, "3:cpu,cpuacct:/docker/1f") == 2.0


def test_without_files_there_is_no_limit(tmp_path: Path) -> None:
    """As on machines without control groups, or where they are hidden; garbage is no limit either."""
    (tmp_path / "cpu.max").write_bytes(b"\xff\xfe")

    assert cpu_quota(tmp_path, "") == math.inf
    assert cpu_quota(tmp_path / "absent", "0::/a") == math.inf


@pytest.mark.parametrize(
    ("cpu_max", "usable", "of_quota"), [("50000 100000", 1, 1), ("max 100000", None, 0), ("6400000 100000", None, 0)]
)
def test_a_quota_is_told_apart_from_all_cpus(
    cpu_max: str, usable: int | None, of_quota: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it leaves fewer CPUs than there are, threads of libraries follow it; elsewhere these choose themselves."""
    monkeypatch.setattr(cpus, "GROUPS", written(tmp_path, cpu_dot_max=cpu_max))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    cpus.usable_cpus.cache_clear()
    try:
        assert (cpus.usable_cpus(), cpus.quota_cpus()) == (usable or 8, of_quota)
    finally:
        cpus.usable_cpus.cache_clear()


def test_the_affinity_of_a_process_counts() -> None:
    """`docker run --cpuset-cpus=0`, `taskset`."""
    one = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, {{{one}}}); from deployments.container.cpus import usable_cpus; print(usable_cpus())"
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert shown.stdout == "1\n"


def test_counting_needs_no_ray() -> None:
    """Versions of a shared host count, too, and hold none of Ray in their memory."""
    program = "import sys, deployments.container.cpus; print('ray' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert shown.stdout == "False\n"
