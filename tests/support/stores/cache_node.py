"""A node with a model cache, and a store with versions behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from core.storage.retry_policy import RetryPolicy
from core.storage.version_listing import VersionDirectory
from core.telemetry.metrics import Metric
from deployments.storage.version_cache import Lease, ModelCache, RemoteVersion
from deployments.telemetry.process_metrics import METRICS
from tests.support.stores.fake_store import FakeStore

FILES: Mapping[str, bytes] = {"saved_model.pb": b"graph" * 20, "assets/vocabulary.txt": b"word\n"}
SIZE = sum(map(len, FILES.values()))
BASE = "fake://bucket/m"


class FakeDisk:
    """A disk that says of itself what the test wants; implements `deployments.storage.cache_room.Disk`."""

    def __init__(self, free_bytes: int = 10**12, total_bytes: int = 10**12) -> None:
        self.free, self.total = free_bytes, total_bytes

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def total_bytes(self, folder: Path) -> int:
        return self.total


class Node:
    """A cache folder, and a store with versions."""

    def __init__(self, folder: Path, versions: int = 1, max_bytes: int = 10**9) -> None:
        self.folder = folder / "cache"
        self.store = FakeStore()
        self.disk = FakeDisk()
        self.max_bytes = max_bytes
        for number in range(1, versions + 1):
            self.write(number)

    def write(self, version: int, **more: bytes) -> None:
        """Put a version into the store; every one is of the same size."""
        self.store.put_files(f"{BASE}/{version}", {**FILES, **more})

    def version(self, number: int, marker_file: str = "") -> RemoteVersion:
        """Describe a version as the watcher does, by a listing."""
        url = f"{BASE}/{number}"
        files = {path: one for path, one in self.store.contents.items() if path.startswith(f"{url}/")}
        listed = FakeStore(files).list_files(url).values()
        return RemoteVersion(url, VersionDirectory(url, frozenset(listed)).fingerprint, "m", marker_file)

    def cache(self) -> ModelCache:
        """Open the cache as a model server does."""
        retries = RetryPolicy(3, 0.001, 0.002)
        return ModelCache(self.folder, self.max_bytes, self.store, disk=self.disk, retries=retries)

    def obtain(self, number: int) -> Lease:
        """Obtain a version as a model server does."""
        return self.cache().obtain(self.version(number))

    def age(self, version: int, seconds: float) -> None:
        """Let a version be unused for so long."""
        (lock,) = (self.folder / "locks").glob(f"m-{version}-*.use")
        os.utime(lock, (time.time() - seconds,) * 2)

    def names(self, kind: str = "entries") -> list[str]:
        """Return what lies in a part of the folder, by model and version."""
        return sorted(name.rpartition("-")[0] for name in os.listdir(self.folder / kind))


def contents(lease: Lease) -> dict[str, bytes]:
    """Return the files of a version on the disk."""
    folder = Path(lease.path)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counted(metric: Metric, *labels: str) -> float:
    """Return the number of a counter."""
    return METRICS.snapshot().counters.get(metric.name, {}).get(labels, 0)
