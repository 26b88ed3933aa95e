"""The log collector that sends events to an HTTP sink (`cloudevents`).

It never sleeps: `collect` queues, and `flush`, which comes a few times a second, sends what is due and not waiting for
another attempt. What does not fit into the queue is dropped. Events may arrive twice, with the same id, when an answer
of the sink was lost.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.config.model_config import LoggingConfig
from core.errors import Code, Unavailable
from core.events.delivery import Outcome, pause_s
from core.events.http_messages import EventLine, http_message, most_events, packed_events, unpacked_events
from core.recording.cloud_events import EventWriter
from core.recording.collector import LogContext, RecordsLost
from core.routing.transport import Headers
from core.telemetry.metric_names import DROPPED_LOG_RECORDS, LOG_EVENTS
from deployments.recording.event_sink import EventSink, HttpSink, SinkReply
from deployments.telemetry.process_metrics import METRICS
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog

MOST_AT_ONCE: Final = 8
"""Requests that are on their way at the same time."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event in the queue; the last one of a record stands for the record, so that lost ones are counted once."""

    line: EventLine
    since_s: float
    is_last: bool

    @property
    def size(self) -> int:
        return len(self.line.attributes) + len(self.line.data)


@dataclass(slots=True)
class _Batch:
    """The events of one request, and how often it was sent."""

    events: Sequence[_Waiting]
    attempts: int = 0

    @property
    def records(self) -> int:
        return sum(one.is_last for one in self.events)


class EventCollector:
    """Queues events, sends them, and tries again; one thread calls all of it."""

    def __init__(
        self,
        config: LoggingConfig,
        context: LogContext,
        sink: EventSink,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = config.events
        self._model = context.model
        self._writer = EventWriter(config, context)
        self._sink = sink
        self._now_s = now_s
        self._sleep = sleep
        self._draw = draw
        self._waiting: deque[_Waiting] = deque()
        self._again: deque[_Batch] = deque()
        self._bytes = 0
        self._rests_until_s = 0.0
        self._lost = 0
        self._why = ""
        self._ends_at_s = math.inf
        self._outcomes: Counter[Code] = Counter()
        self._full = RepeatedFailureLog("log_events_dropped", "log_events_fit_again")
        self._refused = RepeatedFailureLog("log_events_refused", "log_events_taken_again")

    def encoded(self, record: bytes) -> bytes:
        """Return the events of a record."""
        return packed_events(self._writer.lines(record))

    def encoded_with(self, record: bytes, headers: Headers) -> bytes:
        """Return the events of a record of a request with these headers."""
        return packed_events(self._writer.lines(record, headers))

    def collect(self, batch: Sequence[bytes]) -> None:
        """Queue events; those that do not fit are dropped."""
        now_s = self._now_s()
        for record in batch:
            events = unpacked_events(record)
            if self._bytes and self._bytes + len(record) > self._settings.max_waiting_bytes:
                self._count("dropped", len(events))
                METRICS.count(DROPPED_LOG_RECORDS, self._model, "queue_full")
                self._outcomes[Code.RESOURCE_EXHAUSTED] += 1
                self._full.failed(now_s, Unavailable("too many events wait for the sink"))
                continue
            waiting = [_Waiting(one, now_s, one is events[-1]) for one in events]
            self._waiting.extend(waiting)
            self._bytes += sum(one.size for one in waiting)

    def flush(self) -> bool:
        """Send what is due; raises RecordsLost for batches that the sink did not take in all attempts."""
        while self._rests_until_s <= self._now_s() < self._ends_at_s:
            due = self._due(all_of_it=False)
            if not due:
                break
            self._send(due, min(self._settings.timeout_s, self._ends_at_s - self._now_s()))
        self._raise_lost()
        return not self._waiting and not self._again

    def end_within(self, timeout_s: float) -> None:
        """Let requests that are on their way end in time; what the sink has not taken by then is left to `close`."""
        self._ends_at_s = self._now_s() + timeout_s
        self._sink.end_within(timeout_s)

    def outcomes(self) -> Mapping[Code, int]:
        """Return what became of records since the last call: those that wait are not among them."""
        told, self._outcomes = self._outcomes, Counter()
        return told

    def close(self, timeout_s: float) -> None:
        """Send the rest in the time that is left; raises RecordsLost for what the sink has not taken by then."""
        ends_at_s = self._now_s() + timeout_s
        while self._waiting or self._again:
            self._sleep(max(0.0, min(self._rests_until_s, ends_at_s) - self._now_s()))
            left_s = ends_at_s - self._now_s()
            if left_s <= 0:
                break
            self._send(self._due(all_of_it=True), min(self._settings.timeout_s, left_s))
        self._sink.close()
        rest = [*(one for batch in self._again for one in batch.events), *self._waiting]
        self._count("dropped", len(rest))
        if rest:
            self._lose(sum(one.is_last for one in rest), "there was no more time")
        self._raise_lost()

    def _due(self, *, all_of_it: bool) -> list[_Batch]:
        """Take the batches that are to be sent now, the earlier ones first."""
        most, due = most_events(self._settings), list[_Batch]()
        while len(due) < MOST_AT_ONCE and self._again:
            due.append(self._again.popleft())
        while len(due) < MOST_AT_ONCE and self._waiting and (all_of_it or self._is_due(most)):
            due.append(_Batch([self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]))
        return due

    def _is_due(self, most: int) -> bool:
        is_old = self._now_s() - self._waiting[0].since_s >= self._settings.batch_interval_s
        return is_old or len(self._waiting) >= most

    def _send(self, batches: Sequence[_Batch], timeout_s: float) -> None:
        messages = [http_message([one.line for one in batch.events], self._settings) for batch in batches]
        replies = self._sink.post_all(messages, timeout_s)
        now_s = self._now_s()
        for batch, reply in zip(reversed(batches), reversed(replies), strict=True):
            self._note(batch, reply, now_s)

    def _note(self, batch: _Batch, reply: SinkReply, now_s: float) -> None:
        """Note what became of a batch; one for another attempt goes back to its place."""
        batch.attempts += 1
        if reply.outcome is Outcome.AGAIN:
            wait_s = pause_s(batch.attempts, reply.asked_s, self._draw())
            self._rests_until_s = max(self._rests_until_s, now_s + wait_s)
            if batch.attempts < self._settings.max_attempts:
                self._again.appendleft(batch)
                return
        self._bytes -= sum(one.size for one in batch.events)
        self._count("sent" if reply.outcome is Outcome.SENT else "failed", len(batch.events))
        if reply.outcome is Outcome.SENT:
            self._refused.went_well(now_s)
            self._full.went_well(now_s)
            self._outcomes[Code.OK] += batch.records
        elif reply.outcome is Outcome.REFUSED:
            METRICS.count(DROPPED_LOG_RECORDS, self._model, "refused", by=batch.records)
            self._outcomes[Code.FAILED_PRECONDITION] += batch.records
            self._refused.failed(now_s, Unavailable(reply.reason))
        else:
            self._lose(batch.records, reply.reason)

    def _lose(self, records: int, why: str) -> None:
        self._lost += records
        self._why = why
        self._outcomes[Code.UNAVAILABLE] += records

    def _raise_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            raise RecordsLost(lost, f"The sink did not take events: {self._why}")

    def _count(self, result: str, count: int) -> None:
        METRICS.count(LOG_EVENTS, self._model, result, by=count)


def event_collector(config: LoggingConfig, context: LogContext) -> EventCollector:
    """Return the collector of a request log; raises FailedPrecondition when its settings cannot be used here."""
    return EventCollector(config, context, HttpSink(config.filename_prefix, config.events))
