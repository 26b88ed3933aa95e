"""A remote store in memory, and a background whose calls are made when the test says so."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from core.errors import Code
from core.storage.checksums import StoredChecksums
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import FileEntry, VersionListing


class FakeStore:
    """Implements `deployments.storage.remote_store.RemoteStore`; contents by URL.

    `failures` are raised one after the other before anything is answered, `on_read` is called before each read.
    """

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.contents = dict(files or {})
        self.failures: list[StorageFailed] = []
        self.on_read: Callable[[str], None] = lambda _: None
        self.tells_etags = True
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def put_files(self, url: str, files: Mapping[str, bytes]) -> None:
        """Put files below a URL."""
        self.contents.update({f"{url}/{path}": content for path, content in files.items()})

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """List what stands below a URL."""
        self._begin("list")
        prefix = f"{url.rstrip('/')}/"
        found = {key.removeprefix(prefix): one for key, one in self.contents.items() if key.startswith(prefix)}
        if not found:
            raise StorageFailed(Code.NOT_FOUND, f"{url} not found")
        return {path: FileEntry(path, len(content), None, self._etag(content)) for path, content in found.items()}

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Read a piece of a file."""
        self.on_read(path)
        self._begin("read")
        try:
            return self.contents[f"{url}/{path}"][start:end]
        except KeyError:
            raise StorageFailed(Code.NOT_FOUND, f"{url} not found") from None

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Tell that ETags are MD5s."""
        del url, path
        self._begin("checksums")
        return StoredChecksums(etag_is_md5=self.tells_etags)

    def _etag(self, content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest() if self.tells_etags else ""

    def _begin(self, what: str) -> None:
        with self._lock:
            self.asked[what] += 1
            if self.failures:
                raise self.failures.pop(0)


class FakeBackground:
    """Implements `deployments.versions.background_listings.Background`; calls are made by `work`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Callable[[], VersionListing], Future[VersionListing]]] = []

    def submit(self, store: str, call: Callable[[], VersionListing]) -> Future[VersionListing]:
        """Keep the call."""
        future: Future[VersionListing] = Future()
        self.waiting.append((store, call, future))
        return future

    @property
    def stores(self) -> list[str]:
        """Names of the stores for which calls wait."""
        return [store for store, _, _ in self.waiting]

    def work(self, stores: Iterable[str] | None = None) -> None:
        """Make the calls that wait, or those for some stores only."""
        chosen = set(self.stores if stores is None else stores)
        ready = [one for one in self.waiting if one[0] in chosen]
        self.waiting = [one for one in self.waiting if one[0] not in chosen]
        for _, call, future in ready:
            future.set_result(call())
