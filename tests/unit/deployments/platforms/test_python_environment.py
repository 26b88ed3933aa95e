"""What a version's requirements.txt asks for: installed once, told when it cannot be, never in the server's place.

All packages are wheels in the test's folder, and no registry is asked.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from core.errors import Code, DeadlineExceeded, FailedPrecondition, InvalidArgument, ServingError
from deployments.platforms import python_environment
from deployments.platforms.python_environment import UNUSED_S, add_requirements
from tests.support.clients import wait_until
from tests.support.python_models import python_spec, write_model
from tests.support.wheels import write_wheel

NAME = "beside_wheel"


@pytest.fixture(autouse=True)
def unchanged_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is installed for the tests that follow, and no registry is asked."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(python_environment, "_in_use", [])
    monkeypatch.setenv("UV_OFFLINE", "1")
    yield
    sys.modules.pop(NAME, None)
    for lock in python_environment._in_use:
        lock.release()


def version_with(folder: Path, requirements: str) -> Path:
    """Write a version with these requirements."""
    write_model(folder)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return folder


def value_after(version: Path, cache: Path) -> int:
    """Add a version's requirements, and read what the wheel says."""
    add_requirements(python_spec(version, cache))
    value: int = importlib.import_module(NAME).VALUE
    return value


def environments(cache: Path) -> list[Path]:
    """List what is installed."""
    return sorted(path for path in (cache / "python").iterdir() if path.is_dir())


def test_a_wheel_is_installed_once_and_comes_first(tmp_path: Path) -> None:
    """Two versions with the same requirements share it; a change of the wheel's place is another environment."""
    wheel = write_wheel(tmp_path / "wheels", NAME, "1.0", "VALUE = 7")
    requirement = f"# a comment\n{NAME} @ {wheel.as_uri()}\n"

    assert value_after(version_with(tmp_path / "1", requirement), tmp_path / "cache") == 7
    wheel.unlink()
    add_requirements(python_spec(version_with(tmp_path / "2", requirement), tmp_path / "cache"))

    [environment] = environments(tmp_path / "cache")
    assert sys.path[0] == str(environment)
    assert list(environment.rglob("*.pyc"))


def test_what_a_killed_installation_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    """Nobody else knows that it is of no use."""
    wheel = write_wheel(tmp_path / "wheels", NAME, "1.0", "VALUE = 7")
    version = version_with(tmp_path / "1", f"{NAME} @ {wheel.as_uri()}\n")
    add_requirements(python_spec(version, tmp_path / "cache"))
    [environment] = environments(tmp_path / "cache")
    shutil.rmtree(environment)
    left = environment.with_name(f"installing-{environment.name}-killed")
    left.mkdir()

    add_requirements(python_spec(version, tmp_path / "cache"))

    assert environments(tmp_path / "cache") == [environment]


def test_without_requirements_nothing_is_done(tmp_path: Path) -> None:
    """Neither a folder is made nor uv looked for."""
    paths = list(sys.path)
    add_requirements(python_spec(write_model(tmp_path / "1"), tmp_path / "cache"))
    add_requirements(python_spec(version_with(tmp_path / "2", "# nothing yet\n"), tmp_path / "cache"))

    assert sys.path == paths
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        ("beside-nothing==1", "beside-nothing was not found"),
        ("./gone-1.0-py3-none-any.whl", "Distribution not found at"),
        ("not a requirement ===", "Couldn't parse requirement"),
        ("-r more.txt", "more.txt"),
        (f"numpy!={np.__version__}", "numpy=="),
        ("x" * 70_000, "larger than"),
    ],
)
def test_what_cannot_be_installed_is_told_and_leaves_nothing(tmp_path: Path, requirements: str, told: str) -> None:
    """The text names the file; another version of what the server runs on is refused."""
    version = version_with(tmp_path / "1", requirements)

    with pytest.raises(ServingError, match=r"requirements\.txt") as failed:
        add_requirements(python_spec(version, tmp_path / "cache"))

    assert told in str(failed.value)
    assert not (tmp_path / "cache").exists() or environments(tmp_path / "cache") == []


def test_a_wheel_that_needs_another_version_of_the_servers_is_refused(tmp_path: Path) -> None:
    """Also when it is asked for indirectly: it would be half of both."""
    wheel = write_wheel(tmp_path, NAME, "1.0", "VALUE = 7", requires="numpy<1")

    with pytest.raises(InvalidArgument, match="numpy"):
        value_after(version_with(tmp_path / "1", f"{NAME} @ {wheel.as_uri()}"), tmp_path / "cache")


def test_a_broken_wheel_is_told(tmp_path: Path) -> None:
    """A file that was copied by half is no archive."""
    wheel = write_wheel(tmp_path, NAME, "1.0", "VALUE = 7")
    wheel.write_bytes(wheel.read_bytes()[:50])

    with pytest.raises(ServingError, match=NAME):
        value_after(version_with(tmp_path / "1", f"{NAME} @ {wheel.as_uri()}"), tmp_path / "cache")


def stand_in(folder: Path, script: str) -> str:
    """Write a program named uv, and return a PATH on which it is found first."""
    folder.mkdir()
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return str(folder / "python")


def has_ended(status: Path) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    try:
        return status.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_an_installation_ends_with_its_time_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that hangs must not go on beside the next attempt."""
    pid_file = tmp_path / "pid"
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path / "bin", f"sleep 600 &\necho $! > {pid_file}\nwait"))
    version = version_with(tmp_path / "1", "six")

    with pytest.raises(DeadlineExceeded, match=r"within 1 s; the flag python_setup_timeout_s"):
        add_requirements(python_spec(version, tmp_path / "cache", timeout_s=1.0))

    status = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    wait_until(lambda: has_ended(status), "the child has ended")
    assert environments(tmp_path / "cache") == []


def test_an_installer_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of memory, for example."""
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path / "bin", "kill -9 $$"))

    with pytest.raises(ServingError, match="uv ended without a word"):
        add_requirements(python_spec(version_with(tmp_path / "1", "six"), tmp_path / "cache"))


def test_without_uv_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator reads what to install."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(FailedPrecondition, match=r"ray-model-server\[python\]") as failed:
        add_requirements(python_spec(version_with(tmp_path / "1", "six"), tmp_path / "cache"))

    assert failed.value.code is Code.FAILED_PRECONDITION


def test_what_nobody_uses_is_deleted_when_something_else_is_installed(tmp_path: Path) -> None:
    """After a month; what a process uses stays, however old it is."""
    cache = tmp_path / "cache"
    wheels = [write_wheel(tmp_path / f"wheels{at}", NAME, f"{at}.0", "VALUE = 7") for at in (1, 2, 3)]
    versions = [
        version_with(tmp_path / str(at), f"{NAME} @ {wheel.as_uri()}") for at, wheel in enumerate(wheels, start=1)
    ]
    add_requirements(python_spec(versions[0], cache))
    add_requirements(python_spec(versions[1], cache))
    unused, used = (Path(path) for path in reversed(sys.path[:2]))
    python_environment._in_use[0].release()
    for lock_file in (cache / "python").glob("*.lock"):
        os.utime(lock_file, (time.time() - UNUSED_S - 60,) * 2)

    add_requirements(python_spec(versions[2], cache))

    assert not unused.exists()
    assert used.exists()


def test_the_servers_own_packages_are_found() -> None:
    """They are the constraints of every installation, without the packages of extras."""
    versions = python_environment._own_versions()

    assert versions["numpy"] == np.__version__
    assert versions["protobuf"] == metadata.version("protobuf")
    assert "ray-model-server" not in versions
