"""The request log of a model server: samples answers and hands them to the writers.

A model server has one model, so its configurations are those of that model; two equal ones share a writer.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from core.config.extensions import CLOUD_EVENTS, LOG_FORMATS, LogFormat
from core.config.model_config import LoggingConfig
from core.config.server_settings import RequestLogSettings
from core.errors import FailedPrecondition
from core.inference.signature import ServedModel
from core.recording.collector import LogCollector, LogContext, MakeCollector
from core.recording.json_line import json_line
from core.recording.log_files import FileLimits, LogFileNames
from core.recording.loggers import RequestLoggers
from core.recording.prediction_log import LOGGED_METHODS, Exchange, LogOrigin, prediction_log
from core.recording.sampling import Task, is_sampled, sampling_rate
from core.recording.tf_record import framed
from core.routing.transport import Answer, Call
from deployments.recording.file_collector import FileCollector
from deployments.recording.log_storage import LogFile, open_log_file
from deployments.recording.log_writer import LogWriter, WriterThread
from deployments.system.entry_points import ExtensionPoint, registered

_NUMBERS = itertools.count(1)
"""Numbers of this process's files: two logs with the same prefix must not choose the same name."""

COUNTING_S = 0.2
"""What is kept of the time of an end, so that records which are lost then are counted before the process ends."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Who logs: `writer` is a name that no other process has."""

    served: ServedModel
    writer: str
    tags: frozenset[str] = frozenset()
    settings: RequestLogSettings = field(default_factory=RequestLogSettings)


class RequestLog:
    """All request logs of this process."""

    def __init__(self, source: LogSource, draw: Callable[[], float] = random.random) -> None:
        self._source = source
        self._draw = draw
        self._loggers = RequestLoggers(self._logger)
        self._threads: list[WriterThread] = []

    def configure(self, configs: Sequence[LoggingConfig]) -> None:
        """Apply a new configuration; unchanged logs stay open, removed ones are finished."""
        self._loggers.update({self._source.served.name: configs})
        self._threads = [thread for thread in self._threads if not thread.join(0)]

    @property
    def is_on(self) -> bool:
        """Whether any request may be logged."""
        return bool(self._loggers.all)

    def record(self, call: Call, answer: Answer) -> None:
        """Log a request that was answered, if it is drawn; called by the thread that answers, never waits or raises."""
        for logger in self._loggers.of(self._source.served.name):
            if is_sampled(logger.rate, self._draw()) and call.method in LOGGED_METHODS:
                logger.writer.offer(Exchange(call.method, call.body, answer.body, time.time(), call.headers))

    def close(self, timeout_s: float) -> bool:
        """Write the queued exchanges and finish all files; returns whether that was in time."""
        ends_at_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.close(max(0.0, timeout_s - COUNTING_S))
        self._loggers.update({})
        late = [thread for thread in self._threads if not thread.join(max(0.0, ends_at_s - time.monotonic()))]
        return not late

    def _logger(self, config: LoggingConfig) -> _Logger:
        settings, source = self._source.settings, self._source
        origin = LogOrigin(config, source.tags, settings.dc)
        writer = LogWriter(
            source.served.name,
            lambda exchange: prediction_log(source.served, exchange, origin),
            partial(_collector, config, source),
        )
        rate = sampling_rate(config, Task(settings.dc, settings.task_index))
        self._threads.append(WriterThread(writer))
        return _Logger(rate, writer, self._threads[-1])


@dataclass(frozen=True, slots=True)
class _Logger:
    """A writer and the share of requests that it gets."""

    rate: float
    writer: LogWriter
    thread: WriterThread

    def close(self) -> None:
        self.thread.close()


def _collector(config: LoggingConfig, source: LogSource) -> LogCollector:
    """Make what a configuration names; raises FailedPrecondition for what is not installed here."""
    settings, served = source.settings, source.served
    form = LOG_FORMATS.get(config.collector)
    if form is not None:
        return FileCollector(
            json_line if form is LogFormat.JSON_LINES else framed,
            partial(_begin_file, LogFileNames(config.filename_prefix, source.writer, form)),
            FileLimits(settings.max_file_bytes, settings.max_file_age_s),
        )
    context = LogContext(served.name, served.version, source.writer, settings.dc)
    if config.collector == CLOUD_EVENTS:
        from deployments.recording.event_collector import event_collector  # noqa: PLC0415 - an HTTP client, for few

        return event_collector(config, context)
    found = registered(ExtensionPoint.LOG_COLLECTORS)
    make: MakeCollector | None = found.get(config.collector)
    if make is None:
        why = found.why_not(config.collector) or "is not installed on this node"
        raise FailedPrecondition(f"log collector {config.collector}: {why}")
    return make(config, context)


def _begin_file(names: LogFileNames) -> LogFile:
    return open_log_file(names.name(time.time(), next(_NUMBERS)))
