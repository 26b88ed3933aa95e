"""Locks on files exclude each other, and end with the process that holds them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deployments.system.file_lock import FileLock
from tests.support.clients import wait_until

HOLD = """
import sys
from pathlib import Path
from deployments.system.file_lock import FileLock
lock = FileLock.take(Path(sys.argv[1]), shared=sys.argv[2] == "shared")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a lock."""
    return tmp_path / "lock"


def holder(path: Path, how: str) -> subprocess.Popen[bytes]:
    """Start a process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_lock_is_held_by_one(path: Path) -> None:
    """Also within one process; given back, it is free."""
    first = FileLock.take(path)
    assert FileLock.take_if_free(path) is None

    first.release()
    first.release()
    second = FileLock.take_if_free(path)

    assert second is not None
    second.release()


def test_many_may_share_a_lock(path: Path) -> None:
    """Until the last of them goes, nobody has it alone."""
    with FileLock.take(path, shared=True):
        with FileLock.take(path, shared=True):
            pass
        assert FileLock.take_if_free(path) is None
    assert FileLock.take_if_free(path) is not None


@pytest.mark.parametrize("how", ["shared", "alone"])
def test_a_killed_process_gives_its_lock_back(path: Path, how: str) -> None:
    """No file of a dead process blocks the living."""
    process = holder(path, how)
    assert FileLock.take_if_free(path) is None

    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=200)

    assert FileLock.take_if_free(path) is not None


def times_open(path: Path) -> int:
    """Count how often this process has a file open."""
    names = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(name) == str(path) for name in names)


def test_who_waits_gets_a_lock_whose_file_was_removed(path: Path) -> None:
    """A lock on a deleted file would exclude nobody."""
    first = FileLock.take(path)
    taken: list[FileLock] = []
    waiting = threading.Thread(target=lambda: taken.append(FileLock.take(path)))
    waiting.start()
    wait_until(lambda: times_open(path) == 2, "the other has opened the file")

    first.remove()
    waiting.join(30)

    assert path.exists()
    assert FileLock.take_if_free(path) is None
    taken[0].release()


def test_a_touched_lock_tells_when_it_was_used(path: Path) -> None:
    """For the order of eviction."""
    lock = FileLock.take(path)
    os.utime(path, (5, 5))

    lock.touch()
    lock.release()
    used_s = path.stat().st_mtime
    os.utime(path, (5, 5))
    lock.touch()

    assert used_s > 5
    assert path.stat().st_mtime == 5


def test_a_lock_in_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is not made silently somewhere else."""
    with pytest.raises(FileNotFoundError):
        FileLock.take(tmp_path / "nowhere" / "lock")
