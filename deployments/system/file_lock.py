"""Locks on files between processes of a machine; the system releases a lock when its holder ends for any reason.

A lock belongs to the open file, so two locks in one process exclude each other as well.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """A lock that is held."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> FileLock:
        """Wait for the lock; its file is created if missing."""
        lock = _attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        while lock is None:
            lock = _attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        return lock

    @classmethod
    def take_if_free(cls, path: Path) -> FileLock | None:
        """Take the lock exclusively; None when it is held."""
        try:
            return _attempt(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def touch(self) -> None:
        """Set the time of the file to now."""
        if self._descriptor is not None:
            os.utime(self._descriptor)

    def release(self) -> None:
        """Release the lock; repeating it does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Release the lock and delete its file; only for an exclusive lock."""
        self._path.unlink(missing_ok=True)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _attempt(path: Path, how: int) -> FileLock | None:
    """Open and lock the file; None when it was deleted meanwhile, so that the lock would exclude no other process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return FileLock(path, descriptor)
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
