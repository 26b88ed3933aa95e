"""Locks on files, between all processes of a machine; the system gives one back when its holder dies, however that is.

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
        """Wait for the lock, and make its file if there is none."""
        lock = _attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        while lock is None:
            lock = _attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        return lock

    @classmethod
    def take_if_free(cls, path: Path) -> FileLock | None:
        """Take the lock for this process alone; None when somebody has it."""
        try:
            return _attempt(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def touch(self) -> None:
        """Let the file tell that it was used now."""
        if self._descriptor is not None:
            os.utime(self._descriptor)

    def release(self) -> None:
        """Return the lock back; repeating it does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Return the lock back and delete its file; only for a lock that nobody else can hold now."""
        self._path.unlink(missing_ok=True)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _attempt(path: Path, how: int) -> FileLock | None:
    """Open and lock the file; None when it was deleted meanwhile, and what is locked is no file of anybody."""
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
