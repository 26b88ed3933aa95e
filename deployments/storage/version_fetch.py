"""Fetches the files of a version from a remote store into a folder, several pieces at a time, and verifies them.

A file is written in order into `parts/`, and moved into `files/` when its checksum is right; a line in `journal` says
so. A fetch that was cut short goes on from there: finished files are verified again, and a begun one is continued.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from core.errors import Code
from core.storage.checksums import ALGORITHMS, Digest, expected
from core.storage.fetch_plan import FinishedFile, chunks, finished_files, identity
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import DirectoryFiles, FileEntry
from deployments.storage.remote_store import RemoteStore, RetryingStore
from deployments.system.daemon_threads import DaemonThreads

log = logging.getLogger(__name__)

FILES_AT_A_TIME = 4
CHUNKS_AHEAD = 4
"""For each file; so many pieces of it are in memory at most."""

CHUNK_TIMEOUT_S = 600.0
"""After this a store without time-outs of its own is given up; a piece with all its retries takes less."""

WRONG_BYTES_ATTEMPTS = 3
PROGRESS_EVERY_S = 5.0
BLOCK_BYTES = 2**20
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Progress:
    """Counts bytes from several threads, and logs how far a fetch is every few seconds."""

    def __init__(self, url: str, of_bytes: int) -> None:
        self._url = url
        self.of_bytes = of_bytes
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._said_s = self._began_s
        self.fetched_bytes = 0
        self.kept_bytes = 0

    def add(self, fetched: int = 0, kept: int = 0) -> None:
        """Count bytes that arrived, or that an earlier attempt left."""
        with self._lock:
            self.fetched_bytes += fetched
            self.kept_bytes += kept
            now_s = time.monotonic()
            if now_s - self._said_s < PROGRESS_EVERY_S:
                return
            self._said_s = now_s
        self.log("fetch_progress")

    def log(self, event: str) -> None:
        """Log the progress."""
        log.info(
            "%s url=%s fetched_bytes=%d kept_bytes=%d of_bytes=%d seconds=%.1f",
            event,
            self._url,
            self.fetched_bytes,
            self.kept_bytes,
            self.of_bytes,
            time.monotonic() - self._began_s,
        )


class VersionFetch:
    """The fetch of one version into one folder, which no other process may use meanwhile."""

    def __init__(self, store: RemoteStore, url: str, folder: Path, retries: RetryPolicy) -> None:
        self._stop = threading.Event()
        self._store = RetryingStore(store, retries, self._pause)
        self._url = url
        self._folder = folder
        self._readers = DaemonThreads("fetch", FILES_AT_A_TIME * CHUNKS_AHEAD)
        self._journal_lock = threading.Lock()

    def run(self, files: DirectoryFiles, progress: Progress) -> None:
        """Bring all files into the folder; after a failure, what is there serves the next attempt."""
        kept = self._kept(files)
        writers = DaemonThreads("fetch-files", FILES_AT_A_TIME)
        largest_first = sorted(files, key=lambda one: -one.size_bytes)
        running = [
            writers.submit(partial(self._fetch_file, one, kept.get(one.path), progress)) for one in largest_first
        ]
        try:
            _finish(running, self._stop)
        finally:
            writers.close()
            self._readers.close()
        progress.log("fetch_finished")

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StorageFailed(Code.CANCELLED, f"{self._url}: given up because of another file")

    def _kept(self, files: DirectoryFiles) -> Mapping[str, FinishedFile]:
        """Return the files that an earlier attempt finished, and delete what it left otherwise."""
        for name in ("files", "parts"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        journal = self._folder / "journal"
        finished = finished_files(_text(journal), files)
        _delete_others(self._folder / "files", finished)
        if _text(self._folder / "boot") != _text(BOOT_ID):
            shutil.rmtree(self._folder / "parts")  # after a crash of the machine, bytes without an fsync may be missing
            (self._folder / "parts").mkdir()
            (self._folder / "boot").write_text(_text(BOOT_ID))
        _delete_others(self._folder / "parts", {identity(one) for one in files})
        journal.write_text("".join(one.to_line() for one in finished.values()))
        return finished

    def _fetch_file(self, file: FileEntry, kept: FinishedFile | None, progress: Progress) -> None:
        """Fetch one file, unless it is there."""
        target = self._folder / "files" / file.path
        if kept is not None and _is_intact(target, file, kept):
            progress.add(kept=file.size_bytes)
            return
        part = self._folder / "parts" / (identity(file) or _name_of_unknown(file))
        md5 = self._download(file, part, progress)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        self._note(FinishedFile(file.path, identity(file), md5))

    def _download(self, file: FileEntry, part: Path, progress: Progress) -> str:
        """Fetch a file until its bytes are verified; returns their MD5."""
        for _ in range(WRONG_BYTES_ATTEMPTS):
            md5 = self._write(file, part, progress)
            if self._is_right(file, part, md5):
                return md5
            log.warning("wrong_bytes url=%s path=%s", self._url, file.path)
            part.unlink()
        raise StorageFailed(
            Code.DATA_LOSS,
            f"{self._url}/{file.path}: the received bytes do not have the checksum that the store reports",
        )

    def _write(self, file: FileEntry, part: Path, progress: Progress) -> str:
        """Append the missing bytes in order, so that the size of the part is its progress; returns the MD5."""
        digest: Digest = hashlib.md5(usedforsecurity=False)
        with part.open("a+b") as out:
            out.truncate(min(out.tell(), file.size_bytes))
            out.seek(0)
            for block in _blocks(out):
                digest.update(block)
                progress.add(kept=len(block))
            for data in self._pieces(file, out.tell()):
                out.write(data)
                digest.update(data)
                progress.add(fetched=len(data))
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()

    def _pieces(self, file: FileEntry, begun_bytes: int) -> Iterator[bytes]:
        """Yield the pieces in order, reading some of them ahead."""
        ahead: deque[Future[bytes]] = deque()
        for start, end in chunks(begun_bytes, file.size_bytes):
            ahead.append(self._readers.submit(partial(self._store.read, self._url, file.path, start, end)))
            if len(ahead) == CHUNKS_AHEAD:
                yield self._arrived(ahead.popleft())
        while ahead:
            yield self._arrived(ahead.popleft())

    def _arrived(self, piece: Future[bytes]) -> bytes:
        """Wait for a piece, up to a time-out."""
        ends_at = time.monotonic() + CHUNK_TIMEOUT_S
        while time.monotonic() < ends_at:
            try:
                return piece.result(timeout=0.5)
            except TimeoutError:
                self._pause(0)
        raise StorageFailed(Code.UNAVAILABLE, f"{self._url}: no answer for {CHUNK_TIMEOUT_S:.0f} s")

    def _is_right(self, file: FileEntry, part: Path, md5: str) -> bool:
        """Whether the bytes are the store's; where it offers no proof, their number is all that is checked."""
        if file.etag == md5 or not file.size_bytes:
            return True
        proof = expected(self._store.checksums(self._url, file.path), file.etag)
        if proof is None:
            return True
        algorithm, value = proof
        return value == (md5 if algorithm == "md5" else _checksum(part, algorithm))

    def _note(self, finished: FinishedFile) -> None:
        with self._journal_lock, (self._folder / "journal").open("a", encoding="utf-8") as journal:
            journal.write(finished.to_line())


def _finish(running: Iterable[Future[None]], stop: threading.Event) -> None:
    """Wait until all have ended; the first failure stops the others and is raised."""
    unfinished = set(running)
    failure: BaseException | None = None
    while unfinished:
        done, unfinished = wait(unfinished, return_when=FIRST_COMPLETED)
        failed = next((one.exception() for one in done if one.exception() is not None), None)
        if failed is not None and failure is None:
            failure = failed
            stop.set()
            for one in unfinished:
                one.cancel()
            unfinished = {one for one in unfinished if not one.cancelled()}
    if failure is not None:
        raise failure


def _name_of_unknown(file: FileEntry) -> str:
    """Return the name of the part of a file whose content cannot be recognised; a later attempt deletes it."""
    return hashlib.sha256(file.path.encode(errors="surrogateescape")).hexdigest()


def _is_intact(path: Path, file: FileEntry, kept: FinishedFile) -> bool:
    try:
        return path.stat().st_size == file.size_bytes and _checksum(path, "md5") == kept.md5
    except OSError:
        return False


def _checksum(path: Path, algorithm: str) -> str:
    digest = ALGORITHMS[algorithm]()
    with path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _delete_others(folder: Path, kept: Iterable[str]) -> None:
    """Delete every file below a folder whose relative path is not to be kept, and folders that are empty then."""
    keep = set(kept)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):
                path.rmdir()
        elif str(path.relative_to(folder)) not in keep:
            path.unlink()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
