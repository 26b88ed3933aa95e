"""Writes one request log in a thread of its own, so that requests neither wait nor fail for it.

Records that cannot be queued or written are dropped and counted. The thread polls its queue a few times a second
instead of being woken by every request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.errors import Code, ServingError
from core.recording.log_files import FileLimits
from core.recording.prediction_log import Exchange
from core.telemetry.metric_names import DROPPED_LOG_RECORDS, REQUEST_LOG_COUNT
from deployments.inference.log_storage import LogFile
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.2
RETRY_AFTER_S = 5.0
"""How long a log pauses after storage refused a write; records of that time are dropped."""

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
"""What is written at once, if there is as much."""


@dataclass(slots=True)
class _Open:
    """The file that is being written."""

    file: LogFile
    begun_s: float
    size_bytes: int = 0
    records: int = 0


class LogWriter:
    """A bounded queue of exchanges, and the files they are written to; one thread calls `turn` and `end`."""

    def __init__(
        self,
        model: str,
        encode: Callable[[Exchange], bytes],
        begin_file: Callable[[], LogFile],
        limits: FileLimits,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._encode = encode
        self._begin_file = begin_file
        self._limits = limits
        self._now_s = now_s
        self._lock = threading.Lock()
        self._waiting: deque[Exchange] = deque()
        self._waiting_bytes = 0
        self._open: _Open | None = None
        self._rests_until_s = 0.0
        self._dropped_since = 0
        self._ended = False

    def offer(self, exchange: Exchange) -> None:
        """Take an exchange if there is room; never waits."""
        size = _size(exchange)
        with self._lock:
            fits = not self._waiting or self._waiting_bytes + size <= MOST_WAITING_BYTES
            if fits and len(self._waiting) < MOST_WAITING and not self._ended:
                self._waiting.append(exchange)
                self._waiting_bytes += size
                return
        self._drop(1, "queue_full", Code.RESOURCE_EXHAUSTED)

    def end(self) -> None:
        """Take no more, write the queued exchanges and finish the file."""
        with self._lock:
            self._ended = True
        self.turn()
        self._finish()

    def turn(self) -> None:
        """Write the queued exchanges, and finish the file if that is due."""
        for chunk in _chunks(self._encoded(self._taken())):
            self._write(chunk)
        if self._open is not None and self._limits.are_reached(0, self._now_s() - self._open.begun_s):
            self._finish()

    def _taken(self) -> Iterator[Exchange]:
        """Yield the queued exchanges one by one, which frees their room one by one."""
        for _ in range(len(self._waiting)):
            with self._lock:
                exchange = self._waiting.popleft()
                self._waiting_bytes -= _size(exchange)
            yield exchange

    def _encoded(self, exchanges: Iterator[Exchange]) -> Iterator[bytes]:
        for exchange in exchanges:
            if self._now_s() < self._rests_until_s:
                self._drop_for_storage(1)
                continue
            try:
                yield self._encode(exchange)
            except ServingError as error:
                self._drop(1, "format", error.code)
            except Exception:
                log.exception("request_log_record_failed model=%s method=%s", self._model, exchange.method.name)
                self._drop(1, "format", Code.INTERNAL)

    def _write(self, chunk: list[bytes]) -> None:
        data = b"".join(chunk)
        try:
            opened = self._opened()
            opened.file.append(data)
        except OSError as error:
            self._rest(error)
            self._drop_for_storage(len(chunk))
            self._put_away()
            return
        opened.size_bytes += len(data)
        opened.records += len(chunk)
        METRICS.count(REQUEST_LOG_COUNT, self._model, Code.OK.name, by=len(chunk))
        if self._limits.are_reached(opened.size_bytes, 0.0):
            self._finish()

    def _opened(self) -> _Open:
        if self._open is None:
            self._open = _Open(self._begin_file(), self._now_s())
        return self._open

    def _finish(self) -> None:
        if self._put_away():
            self._tell_recovery()

    def _put_away(self) -> bool:
        """Publish the file under its final name; returns whether there was one and that succeeded."""
        opened, self._open = self._open, None
        if opened is None:
            return False
        try:
            if opened.records:
                opened.file.finish()
            else:
                opened.file.discard()
        except OSError as error:
            self._rest(error)
            self._drop_for_storage(opened.records)
            return False
        return bool(opened.records)

    def _rest(self, error: OSError) -> None:
        """Leave storage alone for a while; said once until it works again."""
        if not self._dropped_since:
            log.warning("request_log_not_written model=%s error=%r", self._model, str(error))
        self._rests_until_s = self._now_s() + RETRY_AFTER_S

    def _tell_recovery(self) -> None:
        if self._dropped_since:
            log.warning("request_log_written_again model=%s dropped=%d", self._model, self._dropped_since)
            self._dropped_since = 0

    def _drop_for_storage(self, count: int) -> None:
        self._dropped_since += count
        self._drop(count, "storage", Code.UNAVAILABLE)

    def _drop(self, count: int, reason: str, code: Code) -> None:
        METRICS.count(DROPPED_LOG_RECORDS, self._model, reason, by=count)
        METRICS.count(REQUEST_LOG_COUNT, self._model, code.name, by=count)


class WriterThread:
    """Turns a writer until it is closed."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the writer end; returns at once."""
        self._closing.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until everything is written after `close`; returns whether that was in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.wait(WRITE_EVERY_S):
            self._writer.turn()
        self._writer.end()


def _size(exchange: Exchange) -> int:
    return len(exchange.body) + len(exchange.answer)


def _chunks(records: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Join records into chunks of a size that is worth a write."""
    chunk: list[bytes] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
