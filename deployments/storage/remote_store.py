"""Remote storage through fsspec: lists files, reads pieces of them, asks for checksums; raises StorageFailed."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from core.errors import Code
from core.storage.checksums import StoredChecksums, of_info, of_s3
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import SHORT_READ, StorageFailed, Symptoms, storage_failed
from core.storage.version_listing import FileEntry
from deployments.storage.store_opening import asked_endpoint, is_s3, open_store

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class WholeFile:
    """The content of a small file, and the store's name for it, which is another when the content is another."""

    content: bytes
    state: str


class RemoteStore(Protocol):
    """A remote store; every method raises StorageFailed, and may be called from any thread."""

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """Return all files below a URL by their paths relative to it; nothing there at all is NOT_FOUND."""

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` up to and without `end`."""

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Return the checksums that the store holds of a file."""

    def read_whole(self, url: str, most_bytes: int, known_state: str = "") -> WholeFile | None:
        """Return a small file; None while its state is the known one. More than `most_bytes` is RESOURCE_EXHAUSTED."""


class FsspecStore:
    """Every store that fsspec supports; one whose credentials are refused is opened again for the next request."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}
        self._lock = threading.Lock()

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """Return all files below a URL; for S3, by one chain of requests."""
        return self._ask(url, _list_files)

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Return a piece of a file; a piece that is too short counts as a broken connection."""

        def question(store: Any, root: str) -> bytes:
            data: bytes = store.cat_file(f"{root}/{path}", start=start, end=end)
            if len(data) != end - start:
                raise storage_failed(Symptoms(frozenset({SHORT_READ})), f"{url}/{path}", asked_endpoint(store))
            return data

        return self._ask(url, question)

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Return the checksums that the store holds of a file."""
        return self._ask(url, lambda store, root: _checksums(store, f"{root}/{path}"))

    def read_whole(self, url: str, most_bytes: int, known_state: str = "") -> WholeFile | None:
        """Return a small file by one request, or two where its state is not the known one."""
        return self._ask(url, lambda store, path: _whole_file(store, url, path, most_bytes, known_state))

    def _ask(self, url: str, question: Callable[[Any, str], Answer]) -> Answer:
        place = _place(url)
        store = None
        try:
            store = self._store(url, place)
            root: str = store._strip_protocol(url).rstrip("/")  # noqa: SLF001 - every file system of fsspec has it
            return question(store, root)
        except StorageFailed:
            raise
        except Exception as error:
            failed = storage_failed(symptoms_of(error), url, asked_endpoint(store))
            if failed.is_about_credentials:
                self._opened.pop(place, None)
            raise failed from error

    def _store(self, url: str, place: str) -> Any:
        """Open a store once for all threads if it is thread-safe, else for each request."""
        with self._lock:
            store = self._opened.get(place)
            if store is None:
                store = open_store(url)
                if store.async_impl:
                    self._opened[place] = store
            return store


class RetryingStore:
    """A store that retries failures that may pass, with exponential back-off."""

    def __init__(self, store: RemoteStore, retries: RetryPolicy, pause: Callable[[float], object]) -> None:
        self._store = store
        self._retries = retries
        self._pause = pause

    def list_files(self, url: str) -> Mapping[str, FileEntry]:
        """List, with retries."""
        return self._retried(lambda: self._store.list_files(url))

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Read, with retries."""
        return self._retried(lambda: self._store.read(url, path, start, end))

    def checksums(self, url: str, path: str) -> StoredChecksums:
        """Ask for checksums, with retries."""
        return self._retried(lambda: self._store.checksums(url, path))

    def read_whole(self, url: str, most_bytes: int, known_state: str = "") -> WholeFile | None:
        """Read a small file, with retries."""
        return self._retried(lambda: self._store.read_whole(url, most_bytes, known_state))

    def _retried(self, attempt: Callable[[], Answer]) -> Answer:
        failures = 0
        while True:
            try:
                return attempt()
            except StorageFailed as error:
                failures += 1
                pause_s = self._retries.pause_s(failures, random.random())  # noqa: S311 - jitter, not cryptography
                if not error.passes or pause_s is None:
                    raise
                log.info("storage_retry failures=%d pause_s=%.1f error=%s", failures, pause_s, error)
            self._pause(pause_s)


def _place(url: str) -> str:
    """Return scheme and bucket or host of a URL: one client serves all that have them in common."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _list_files(store: Any, root: str) -> Mapping[str, FileEntry]:
    found = _s3_objects(store, root) if is_s3(store) else _found(store, root)
    return {path: _entry(path, info) for path, info in found.items() if path and not path.endswith("/")}


def _s3_objects(store: Any, root: str) -> Mapping[str, Mapping[str, Any]]:
    """List page by page; `find` makes several more requests when nothing is there."""
    bucket, key, _ = store.split_path(root)
    prefix = f"{key}/" if key else ""
    request = {"Bucket": bucket, "Prefix": prefix}
    found: dict[str, Mapping[str, Any]] = {}
    while True:
        page = store.call_s3("list_objects_v2", **request)
        found.update({one["Key"].removeprefix(prefix): one for one in page.get("Contents", ())})
        if not page.get("IsTruncated"):
            break
        request["ContinuationToken"] = page["NextContinuationToken"]
    if not found:
        raise FileNotFoundError(root)
    return found


def _found(store: Any, root: str) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = store.find(root, detail=True)
    if root in found:
        raise NotADirectoryError(root)
    if not found and not store.exists(root):
        raise FileNotFoundError(root)
    return {path.removeprefix(root).lstrip("/"): info for path, info in found.items()}


def _entry(path: str, info: Mapping[str, Any]) -> FileEntry:
    size = info["Size"] if "Size" in info else info.get("size")
    return FileEntry(path, int(size or 0), _changed_s(info), _etag(info))


def _changed_s(info: Mapping[str, Any]) -> float | None:
    """Return the time of the last change, under whichever name the store has it: S3, others, Azure, memory."""
    times = (info.get(name) for name in ("LastModified", "mtime", "updated", "last_modified", "created"))
    changed = next((one for one in times if one), None)
    if isinstance(changed, datetime):
        return changed.timestamp()
    return float(changed) if isinstance(changed, int | float) else None


def _etag(info: Mapping[str, Any]) -> str:
    etag = info.get("ETag") or info.get("etag") or info.get("generation") or info.get("md5Hash") or ""
    return str(etag).strip('"')


def _checksums(store: Any, path: str) -> StoredChecksums:
    if not is_s3(store):
        return of_info(store.info(path))
    bucket, key, _ = store.split_path(path)
    return of_s3(store.call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED"), bucket)


def _whole_file(store: Any, url: str, path: str, most_bytes: int, known_state: str) -> WholeFile | None:
    info = store.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(path)
    entry = _entry(path, info)
    if entry.size_bytes > most_bytes:
        raise StorageFailed(Code.RESOURCE_EXHAUSTED, f"{url}: it is larger than {most_bytes} bytes")
    state = f"{entry.etag} {entry.changed_s} {entry.size_bytes}" if entry.etag or entry.changed_s else ""
    return None if state and state == known_state else WholeFile(bytes(store.cat_file(path)), state)


def symptoms_of(error: BaseException) -> Symptoms:
    """Return the evidence in an exception and its causes, wherever each library puts it."""
    chain = list(_causes(error))
    classes = frozenset(kind.__name__ for one in chain for kind in type(one).__mro__)
    reported = [_reported(one) for one in chain]
    code = next((code for code, _ in reported if code), "")
    status = next((status for _, status in reported if status), 0)
    return Symptoms(classes, code, status, f"{type(error).__name__}: {error}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _reported(error: BaseException) -> tuple[str, int]:
    """Return the store's code and the HTTP status, from botocore's response or the attributes of other libraries."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    numbers = (getattr(error, name, None) for name in ("status_code", "status", "code"))
    status = next((one for one in numbers if isinstance(one, int)), 0)
    code = getattr(error, "error_code", "")
    return code if isinstance(code, str) else "", status
