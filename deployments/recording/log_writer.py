"""Hands one request log to its collector in a thread of its own, so that requests neither wait nor fail for it.

Records that cannot be queued or written are dropped and counted. The thread polls its queue a few times a second
instead of being woken by every request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from core.errors import Code, ServingError
from core.recording.collector import LogCollector, RecordsLost, TakesDeadline, TakesHeaders, TellsOutcomes
from core.recording.prediction_log import Exchange
from core.routing.transport import Headers
from core.telemetry.metric_names import DROPPED_LOG_RECORDS, REQUEST_LOG_COUNT
from core.telemetry.metrics import Metric
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.2
RETRY_AFTER_S = 5.0
"""How long a log pauses after its collector failed; records of that time are dropped."""

CLOSE_S = 3.0
"""How long a collector has to store or send the rest, where nothing else is said."""

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
"""What is written at once, if there is as much."""


class LogWriter:
    """A bounded queue of exchanges, and the collector that gets their records; one thread calls `turn` and `end`."""

    def __init__(
        self,
        model: str,
        record_of: Callable[[Exchange], bytes],
        make_collector: Callable[[], LogCollector],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._record_of = record_of
        self._make_collector = make_collector
        self._now_s = now_s
        self._lock = threading.Lock()
        self._waiting: deque[Exchange] = deque()
        self._waiting_bytes = 0
        self._collector: LogCollector | None = None
        self._rests_until_s = 0.0
        self._dropped_since = 0
        self._taken_since = 0
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

    def end(self, timeout_s: float = CLOSE_S) -> None:
        """Take no more, hand on the queued exchanges and close the collector."""
        ends_at_s = self._now_s() + timeout_s
        with self._lock:
            self._ended = True
        self._hand_on()
        collector, self._collector = self._collector, None
        if collector is not None and self._is_done(
            collector, lambda: collector.close(max(0.0, ends_at_s - self._now_s()))
        ):
            self._tell_recovery()

    def end_within(self, timeout_s: float) -> None:
        """Let what the collector does now end within so many seconds, as far as it can; called by another thread."""
        collector = self._collector
        if isinstance(collector, TakesDeadline):
            collector.end_within(timeout_s)

    def turn(self) -> None:
        """Hand on the queued exchanges, and let the collector do what is due."""
        self._hand_on()
        collector = self._collector
        if collector is None or self._now_s() < self._rests_until_s:
            return
        safe: list[bool] = []
        if self._is_done(collector, lambda: safe.append(collector.flush())) and all(safe):
            self._tell_recovery()

    def _hand_on(self) -> None:
        for chunk in _chunks(self._encoded(self._taken())):
            collector = self._collector
            if collector is not None:
                self._is_done(collector, partial(collector.collect, chunk), len(chunk))

    def _taken(self) -> Iterator[Exchange]:
        """Yield the queued exchanges one by one, which frees their room one by one."""
        for _ in range(len(self._waiting)):
            with self._lock:
                exchange = self._waiting.popleft()
                self._waiting_bytes -= _size(exchange)
            yield exchange

    def _encoded(self, exchanges: Iterator[Exchange]) -> Iterator[bytes]:
        for exchange in exchanges:
            collector = self._ready_collector()
            if collector is None:
                self._dropped_since += 1
                self._drop(1, "storage", Code.UNAVAILABLE)
                continue
            try:
                yield _encoded_by(collector, self._record_of(exchange), exchange.headers)
            except ServingError as error:
                self._drop(1, "format", error.code)
            except Exception:
                log.exception("request_log_record_failed model=%s method=%s", self._model, exchange.method.name)
                self._drop(1, "format", Code.INTERNAL)

    def _ready_collector(self) -> LogCollector | None:
        """Return the collector, made if necessary; None while it rests after an error."""
        if self._now_s() < self._rests_until_s:
            return None
        if self._collector is None:
            try:
                self._collector = self._make_collector()
            except Exception as error:  # noqa: BLE001 - a collector may be anybody's code
                self._rest(error)
        return self._collector

    def _is_done(self, collector: LogCollector, act: Callable[[], object], in_hand: int = 0) -> bool:
        """Let the collector act; whether that went well. An error that names no number loses the records in hand.

        A request is counted once: records that are lost later were counted when the collector took them.
        """
        lost, went_well = 0, True
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a collector may be anybody's code
            self._rest(error)
            lost, went_well = error.count if isinstance(error, RecordsLost) else in_hand, False
            self._dropped_since += lost
            _count(DROPPED_LOG_RECORDS, self._model, "storage", lost)
        self._taken_since = self._taken_since + in_hand if went_well else 0
        untaken = min(lost, in_hand)
        outcomes: Mapping[Code, int] = {Code.OK: in_hand - untaken, Code.UNAVAILABLE: untaken}
        for code, count in (collector.outcomes() if isinstance(collector, TellsOutcomes) else outcomes).items():
            _count(REQUEST_LOG_COUNT, self._model, code.name, count)
        return went_well

    def _rest(self, error: Exception) -> None:
        """Leave the collector alone for a while; said once until it works again."""
        if not self._dropped_since:
            is_told = isinstance(error, OSError | ServingError)
            text = str(error) if is_told else f"{type(error).__name__}: {error}"
            log.warning(
                "request_log_not_written model=%s error=%r", self._model, text, exc_info=None if is_told else error
            )
        self._rests_until_s = self._now_s() + RETRY_AFTER_S

    def _tell_recovery(self) -> None:
        if self._dropped_since and self._taken_since:
            log.warning("request_log_written_again model=%s dropped=%d", self._model, self._dropped_since)
            self._dropped_since = 0

    def _drop(self, count: int, reason: str, code: Code) -> None:
        METRICS.count(DROPPED_LOG_RECORDS, self._model, reason, by=count)
        METRICS.count(REQUEST_LOG_COUNT, self._model, code.name, by=count)


class WriterThread:
    """Turns a writer until it is closed."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._closing = threading.Event()
        self._ends_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Let the writer end within so many seconds, as far as the collector keeps to it; returns at once."""
        if not self._closing.is_set():
            self._ends_at_s = time.monotonic() + timeout_s
            self._closing.set()
            self._writer.end_within(timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Wait until everything is written after `close`; returns whether that was in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.wait(WRITE_EVERY_S):
            self._writer.turn()
        self._writer.end(max(0.0, self._ends_at_s - time.monotonic()))


def _count(metric: Metric, model: str, label: str, by: int) -> None:
    if by:
        METRICS.count(metric, model, label, by=by)


def _encoded_by(collector: LogCollector, record: bytes, headers: Headers) -> bytes:
    if headers and isinstance(collector, TakesHeaders):
        return collector.encoded_with(record, headers)
    return collector.encoded(record)


def _size(exchange: Exchange) -> int:
    return len(exchange.body) + len(exchange.answer) + sum(len(value) for _, value in exchange.headers)


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
