"""The node's cache of versions from remote storage: returns those that are there, and fetches the others.

All model servers of a node share the folder. One of them fetches a version, the others wait and then find it.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.config.extensions import ANY, PlatformKind
from core.errors import Code, FailedPrecondition, ResourceExhausted, ServingError, Unavailable
from core.storage.cache_entries import Manifest, damage, entry_name, url_name
from core.storage.fetch_plan import unusable_name
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import DirectoryFiles, VersionDirectory, missing
from core.telemetry.metric_names import CACHE_LOOKUPS, FETCH_SECONDS, FETCHED_BYTES
from core.telemetry.redaction import without_secrets
from deployments.storage.cache_folder import CacheFolder, file_states, publish, read_manifest
from deployments.storage.cache_room import CacheRoom, Disk, LocalDisk
from deployments.storage.remote_store import RemoteStore, RetryingStore
from deployments.storage.version_fetch import Progress, VersionFetch
from deployments.system.file_lock import FileLock
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

ROUNDS = 3
"""How often a version that changes while it is fetched is fetched again."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A version in a remote store; `fingerprint` is that of the listing by which it was chosen."""

    url: str
    fingerprint: str
    model: str
    marker_file: str = ""
    platform: PlatformKind = ANY


class Lease:
    """A version on the local disk, protected from eviction until it is released or this process ends."""

    def __init__(self, path: str, lock: FileLock | None = None) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Allow the version to be evicted; idempotent."""
        if self._lock is not None:
            self._lock.touch()
            self._lock.release()


class ModelCache:
    """Access of one process to the cache folder."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        store: RemoteStore,
        *,
        disk: Disk | None = None,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._folder = CacheFolder(folder)
        self._room = CacheRoom(self._folder, max_bytes, disk or LocalDisk())
        self._retries = retries or RetryPolicy()
        self._store = store
        self._listing = RetryingStore(store, self._retries, time.sleep)

    def obtain(self, version: RemoteVersion) -> Lease:
        """Return the version from the cache, after fetching it if it is not there; raises ServingError.

        For a version in the cache the store is not asked, so it may be unreachable.
        """
        with _disk_failures(self._folder.path):
            lease = self._held(version.url, version.fingerprint)
            if lease is None:
                self._folder.make()
                with FileLock.take(self._folder.lock_file(_fetch_of(version))) as lock:
                    lock.touch()
                    lease = self._held(version.url, version.fingerprint)
                    if lease is None:
                        METRICS.count(CACHE_LOOKUPS, version.model, "miss")
                        return self._fetched(version)
            METRICS.count(CACHE_LOOKUPS, version.model, "hit")
            return lease

    def _held(self, url: str, fingerprint: str) -> Lease | None:
        """Return a lease of an entry if it is there and intact."""
        name = f"entries/{entry_name(url, fingerprint)}"
        entry = self._folder.at(name)
        if not entry.exists():
            return None
        lock = self._use_lock(name)
        problem = damage(read_manifest(entry), url, fingerprint, file_states(entry / "files"))
        if not problem:
            return Lease(str(entry / "files"), lock)
        log.warning("cache_entry_damaged entry=%s problem=%s", name, problem)
        if lock is not None:
            lock.release()
        return None

    def _use_lock(self, name: str) -> FileLock | None:
        """Protect an entry from eviction; None in a folder that is read-only, where nothing is evicted."""
        try:
            lock = FileLock.take(self._folder.lock_file(name), shared=True)
            lock.touch()
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            return None
        return lock

    def _fetched(self, version: RemoteVersion) -> Lease:
        """Fetch the present content of the URL: if it differs from the listing, the version was replaced meanwhile."""
        for _ in range(ROUNDS):
            files = frozenset(self._listing.list_files(version.url).values())
            _expect_loadable(version, files)
            directory = VersionDirectory(version.url, files)
            lease = self._held(version.url, directory.fingerprint) or self._install(version, directory)
            if lease is not None:
                return lease
            log.warning("version_changed_while_fetched url=%s", version.url)
        raise StorageFailed(Code.ABORTED, f"{version.url}: it changed again and again while it was fetched")

    def _install(self, version: RemoteVersion, directory: VersionDirectory) -> Lease | None:
        """Fetch a version into an entry; None when it changed meanwhile."""
        fetch = _fetch_of(version)
        self._folder.at(fetch).mkdir(mode=0o700, exist_ok=True)
        progress = Progress(version.url, sum(one.size_bytes for one in directory.files))
        self._room.make(fetch, progress.of_bytes)
        began_s = time.monotonic()
        try:
            VersionFetch(self._store, version.url, self._folder.at(fetch), self._retries).run(directory.files, progress)
        except StorageFailed:
            if self._is_unchanged(version.url, directory.files):
                raise
            return None
        except OSError as error:
            if error.errno in FULL:
                self._folder.discard(fetch)
            raise
        finally:
            METRICS.count(FETCHED_BYTES, version.model, by=progress.fetched_bytes)
        if not self._is_unchanged(version.url, directory.files):
            return None
        METRICS.observe(FETCH_SECONDS, version.model, value=time.monotonic() - began_s)
        return self._published(fetch, directory)

    def _is_unchanged(self, url: str, files: DirectoryFiles) -> bool:
        return frozenset(self._listing.list_files(url).values()) == files

    def _published(self, fetch: str, directory: VersionDirectory) -> Lease:
        """Publish the fetched files as an entry; a damaged one of that name is replaced."""
        name = f"entries/{entry_name(directory.path, directory.fingerprint)}"
        lock = self._use_lock(name)
        entry, fetched = self._folder.at(name), self._folder.at(fetch)
        if entry.exists():
            self._folder.discard(name)
        publish(fetched, entry, Manifest(directory.path, directory.fingerprint, file_states(fetched / "files")))
        for rest in ("journal", "boot", "plan"):
            (entry / rest).unlink(missing_ok=True)
        shutil.rmtree(entry / "parts", ignore_errors=True)
        return Lease(str(entry / "files"), lock)


def _fetch_of(version: RemoteVersion) -> str:
    """Return the name of the fetch of a URL, the same for all its contents, so that unchanged files are kept."""
    return f"fetching/{url_name(version.url)}"


def _expect_loadable(version: RemoteVersion, files: DirectoryFiles) -> None:
    """Raise ServingError for a version that is not complete any more, or with names that no local folder can hold."""
    lacking = missing(files, files, marker_file=version.marker_file, platform=version.platform)
    if lacking:
        raise FailedPrecondition(without_secrets(f"{version.url} is not complete: it {lacking}"))
    name = unusable_name(files)
    if name:
        raise StorageFailed(Code.INVALID_ARGUMENT, f"{version.url} holds a name that no folder can hold: {name!r}")


@contextmanager
def _disk_failures(folder: Path) -> Iterator[None]:
    """Map failures of the disk to errors of ours."""
    try:
        yield
    except OSError as error:
        raise _disk_failure(error, folder) from error


def _disk_failure(error: OSError, folder: Path) -> ServingError:
    if error.errno in FULL:
        return ResourceExhausted(f"The disk of the model cache {folder} is full: {error.strerror}")
    if error.errno in CLOSED:
        return FailedPrecondition(f"The model cache {folder} cannot be written (flag model_cache_dir): {error}")
    return Unavailable(f"The model cache {folder} failed: {error}")
