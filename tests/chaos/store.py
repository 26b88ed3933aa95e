"""A remote store that can be lost, and a cache on a disk of its own that can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.stores.fault_proxy import FaultProxy, Reply, environment
from tests.support.stores.object_store import Bucket, s3_server

DISK_BYTES = 16 * 1024 * 1024
FILLER = "filler"


class Store:
    """A bucket behind a proxy, and the folder that versions are fetched into."""

    def __init__(self, bucket: Bucket, cache: Path, *, has_own_disk: bool) -> None:
        self._bucket = bucket
        self._proxy = bucket.proxy
        self.cache = cache
        self.has_own_disk = has_own_disk
        self.url = bucket.url("fetched")
        self.environment = environment(self._proxy.url)

    def put(self, number: int, version: Path) -> None:
        """Upload a version."""
        self._bucket.put_folder(f"fetched/{number}", version)

    def lose(self) -> None:
        """Answer every request with an error from now on."""
        self._proxy.inject(lambda seen, forward: Reply(503, [], b"the store is away"))

    def restore(self) -> None:
        """Answer again."""
        self._proxy.heal()

    def fill_disk(self) -> None:
        """Leave no byte free on the disk of the cache."""
        free = os.statvfs(self.cache)
        with (self.cache / FILLER).open("wb") as filler:
            filler.write(bytes(free.f_bavail * free.f_frsize))

    def empty_disk(self) -> None:
        """Make room again."""
        (self.cache / FILLER).unlink()


@contextmanager
def remote_store(folder: Path) -> Iterator[Store]:
    """A store of its own; the cache has a disk of its own where this user may mount one."""
    cache = folder / "cache"
    cache.mkdir()
    with s3_server() as port, FaultProxy(port) as proxy, _disk(cache) as is_mounted:
        yield Store(Bucket(port, proxy), cache, has_own_disk=is_mounted)


@contextmanager
def _disk(folder: Path) -> Iterator[bool]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
