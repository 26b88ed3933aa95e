"""Frees space in the cache folder of a node: evicts unused versions, and reserves the space for a fetch."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from core.storage.cache_entries import Occupant, Room, victims
from core.telemetry.metric_names import CACHE_EVICTIONS
from deployments.storage.cache_folder import CacheFolder, read_manifest, size_bytes
from deployments.system.file_lock import FileLock
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

LEFTOVER_S = 24 * 3600.0
"""After this time the remains of an abandoned fetch are deleted."""


class Disk(Protocol):
    """The disk of the cache."""

    def free_bytes(self, folder: Path) -> int:
        """Count the bytes that can still be written."""

    def total_bytes(self, folder: Path) -> int:
        """Count the bytes of the whole disk."""


class LocalDisk:
    """A disk as the operating system reports it."""

    def free_bytes(self, folder: Path) -> int:
        """Count the bytes that can still be written."""
        return shutil.disk_usage(folder).free

    def total_bytes(self, folder: Path) -> int:
        """Count the bytes of the whole disk."""
        return shutil.disk_usage(folder).total


class CacheRoom:
    """The space of a cache folder; a limit of 0 bytes means half of its disk."""

    def __init__(self, folder: CacheFolder, max_bytes: int, disk: Disk) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._disk = disk

    def make(self, fetch: str, wanted_bytes: int) -> None:
        """Evict as much as a fetch of this process needs, and reserve the space.

        Raises ResourceExhausted when the unused versions are not enough.
        """
        with FileLock.take(self._folder.room_lock_file):
            self._sweep(fetch)
            present_bytes = size_bytes(self._folder.at(fetch))
            while True:
                others = [one for one in self._occupants() if one.name != fetch]
                chosen = victims(others, wanted_bytes, present_bytes, self._room(others))
                if all(self._evict(name) for name in chosen):
                    break
            (self._folder.at(fetch) / "plan").write_text(str(wanted_bytes))

    def _room(self, others: list[Occupant]) -> Room:
        """Return the space that is left when the fetches under way have what they reserved."""
        fetching = (one for one in others if one.is_in_use and one.name.startswith("fetching/"))
        coming = sum(max(0, one.size_bytes - size_bytes(self._folder.at(one.name))) for one in fetching)
        limit = self._max_bytes or self._disk.total_bytes(self._folder.path) // 2
        return Room(limit, self._disk.free_bytes(self._folder.path) - coming)

    def _occupants(self) -> Iterator[Occupant]:
        for name in self._folder.names():
            lock_file = self._folder.lock_file(name)
            lock = FileLock.take_if_free(lock_file)
            used_s = lock_file.stat().st_mtime
            if lock is not None:
                lock.release()
            yield Occupant(name, self._occupied_bytes(name, is_in_use=lock is None), used_s, lock is None)

    def _occupied_bytes(self, name: str, *, is_in_use: bool) -> int:
        """Count the bytes of an entry or a fetch; a fetch under way counts with what it reserved."""
        path = self._folder.at(name)
        manifest = read_manifest(path)
        if manifest is not None:
            return manifest.size_bytes
        return max(size_bytes(path), _planned_bytes(path) if is_in_use else 0)

    def _evict(self, name: str) -> bool:
        """Delete an entry or the rest of a fetch; False when it is in use by now."""
        lock = FileLock.take_if_free(self._folder.lock_file(name))
        if lock is None:
            return False
        log.info("cache_evicted name=%s", name)
        METRICS.count(CACHE_EVICTIONS)
        self._folder.discard(name)
        lock.remove()
        return True

    def _sweep(self, fetch: str) -> None:
        """Delete what is of no use any more: trash, remains of old fetches, locks of entries that are gone."""
        self._folder.empty_trash()
        for one in list(self._occupants()):
            is_abandoned = one.name.startswith("fetching/") and one.name != fetch and not one.is_in_use
            if is_abandoned and time.time() - one.used_s > LEFTOVER_S:
                self._evict(one.name)
        self._folder.remove_stray_locks()


def _planned_bytes(fetch: Path) -> int:
    try:
        return int((fetch / "plan").read_text())
    except (FileNotFoundError, ValueError):
        return 0
