"""Storage of request logs: files of this node or of a store that fsspec knows, and the collector that fills them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from core.recording.collector import RecordsLost
from core.recording.log_files import UNFINISHED, FileLimits
from core.storage.version_listing import is_remote, local_path
from deployments.storage.store_opening import open_store


class LogFile(Protocol):
    """A file that is being written."""

    def append(self, data: bytes) -> None:
        """Add all of it; raises OSError, and then the file is as it was before, as far as that is possible."""

    def finish(self) -> None:
        """Let readers see the file; raises OSError. Nothing can be added afterwards."""

    def discard(self) -> None:
        """Leave nothing behind; raises OSError."""


class LocalLogFile:
    """A file beside its final name; added bytes are with the operating system at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = open(name + UNFINISHED, "xb", buffering=0)  # noqa: SIM115 - closed by finish and discard

    def append(self, data: bytes) -> None:
        """Add to the file."""
        append_whole(self._file, data)

    def finish(self) -> None:
        """Return the file its final name."""
        with self._file:
            os.fsync(self._file.fileno())
        os.rename(self._name + UNFINISHED, self._name)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        os.unlink(self._name + UNFINISHED)


class RemoteLogFile:
    """An object of a store, which cannot be appended to: it is collected on this node and sent as a whole."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._collected = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by finish and discard

    def append(self, data: bytes) -> None:
        """Collect."""
        append_whole(self._collected, data)

    def finish(self) -> None:
        """Send the object."""
        with self._collected:
            self._collected.seek(0)
            try:
                with open_store(self._url).open(self._url, "wb") as target:
                    shutil.copyfileobj(self._collected, target)
            except Exception as error:  # each store has errors of its own
                raise OSError(f"{self._url} cannot be written: {error}") from error

    def discard(self) -> None:
        """Drop the collected bytes."""
        self._collected.close()


def append_whole(file: IO[bytes], data: bytes) -> None:
    """Write all of it, or truncate the part that was written; raises OSError."""
    begun = file.tell()
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.seek(begun)
        file.truncate()
        raise


def open_log_file(name: str) -> LogFile:
    """Begin a file under a path or URL; raises OSError."""
    return RemoteLogFile(name) if is_remote(name) else LocalLogFile(local_path(name))


@dataclass(slots=True)
class _Open:
    """The file that is being written."""

    file: LogFile
    begun_s: float
    size_bytes: int = 0
    records: int = 0


class FileCollector:
    """Writes batches to a file, and begins another when it is large or old; `encode` gives the bytes of a record."""

    def __init__(
        self,
        encode: Callable[[bytes], bytes],
        begin_file: Callable[[], LogFile],
        limits: FileLimits,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encode = encode
        self._begin_file = begin_file
        self._limits = limits
        self._now_s = now_s
        self._open: _Open | None = None

    def encoded(self, record: bytes) -> bytes:
        """Return the bytes that a file holds for a record."""
        return self._encode(record)

    def collect(self, batch: Sequence[bytes]) -> None:
        """Append a batch; a file that refuses it is finished without it."""
        data = b"".join(batch)
        try:
            opened = self._opened()
            opened.file.append(data)
        except OSError as error:
            raise RecordsLost(len(batch) + self._lost_by_putting_away(), str(error)) from error
        opened.size_bytes += len(data)
        opened.records += len(batch)
        if self._limits.are_reached(opened.size_bytes, 0.0):
            self._finish()

    def flush(self) -> bool:
        """Finish the file if it is old enough; readers then see everything."""
        if self._open is not None and self._limits.are_reached(0, self._now_s() - self._open.begun_s):
            self._finish()
        return self._open is None

    def close(self, timeout_s: float) -> None:  # noqa: ARG002 - a write cannot be cut short
        """Finish the file."""
        self._finish()

    def _opened(self) -> _Open:
        if self._open is None:
            self._open = _Open(self._begin_file(), self._now_s())
        return self._open

    def _finish(self) -> None:
        """Publish the file under its final name."""
        opened, self._open = self._open, None
        if opened is None:
            return
        try:
            if opened.records:
                opened.file.finish()
            else:
                opened.file.discard()
        except OSError as error:
            raise RecordsLost(opened.records, str(error)) from error

    def _lost_by_putting_away(self) -> int:
        try:
            self._finish()
        except RecordsLost as error:
            return error.count
        return 0
