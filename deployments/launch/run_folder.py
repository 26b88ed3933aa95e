"""The folder of one run of the server below the system's temporary folder: Ray's session, held ports.

It is removed at the end of the run. Where every process of a run is killed at once, nobody is left to do that; so the
next start does. Whoever holds the lock in a folder is alive, also in another container that shares the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from deployments.system.file_lock import FileLock

PREFIX = "rms-"
OWNER = "owner"
"""The file that the owner of a folder has locked."""


class RunFolder:
    """A new folder, which is this process's and its children's for as long as one of them lives."""

    def __init__(self) -> None:
        """Make the folder, and remove those of which every owner is dead; raises OSError where none can be made."""
        remove_left_folders()
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        unfinished = Path(self.path, f"{OWNER}.new")
        self._lock = FileLock.take(unfinished)
        unfinished.rename(Path(self.path, OWNER))  # locked from its first moment under this name

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def remove_left_folders() -> None:
    """Remove the folders of this user's runs that nobody owns any more; what cannot be removed stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    owner = folder / OWNER
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not owner.is_file():
        return
    lock = FileLock.take_if_free(owner)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
