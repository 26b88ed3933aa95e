"""The built-in log collectors: files of records, finished by size and age."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.recording.collector import RecordsLost
from core.recording.log_files import FileLimits
from deployments.recording.log_storage import LogFile


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
