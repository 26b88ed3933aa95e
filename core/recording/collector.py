"""The Protocol of a log collector: it takes the records of one request log and stores or sends them.

`deployments.recording.file_collector` holds the built-in ones, which write files; packages register others by the entry
point `ray_model_server.log_collectors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from core.config.model_config import LoggingConfig
from core.errors import Code, Unavailable
from core.routing.transport import Headers


@dataclass(frozen=True, slots=True)
class LogContext:
    """Whose requests a collector gets; `replica` is a name that no other process has, `dc` is that of the flag."""

    model: str
    version: int
    replica: str
    dc: str = ""


class RecordsLost(Unavailable):
    """Records that a collector had taken are lost; `count` says how many, with those of the batch in hand."""

    def __init__(self, count: int, message: str) -> None:
        Exception.__init__(self, count, message)

    @property
    def count(self) -> int:
        """How many records."""
        return int(self.args[0])

    def __str__(self) -> str:
        return str(self.args[1])


class LogCollector(Protocol):
    """Stores or sends records; one thread, which answers no requests, calls all of it.

    What it raises is logged and counted, and never reaches a request; its log then pauses for some seconds, and what
    is logged meanwhile is dropped. While a call lasts, records wait in a queue of bounded size.
    """

    def encoded(self, record: bytes) -> bytes:
        """Return what `collect` gets of a record, which is a serialized PredictionLog; an error drops this one."""

    def collect(self, batch: Sequence[bytes]) -> None:
        """Take encoded records in their order, at most about a mebibyte of them; an error says that all are lost.

        Raises RecordsLost when it is another number.
        """

    def flush(self) -> bool:
        """Store or send what is due; called a few times a second, also without new records.

        Returns whether everything that was taken is safe. Raises RecordsLost for what is not going to be.
        """

    def close(self, timeout_s: float) -> None:
        """Store or send the rest within so many seconds, and let go of everything; raises RecordsLost for the rest."""


@runtime_checkable
class TakesHeaders(Protocol):
    """A collector that also keeps the chosen headers of requests."""

    def encoded_with(self, record: bytes, headers: Headers) -> bytes:
        """Return what `collect` gets of a record of a request with these headers; called instead of `encoded`."""


@runtime_checkable
class TakesDeadline(Protocol):
    """A collector whose `flush` may take long."""

    def end_within(self, timeout_s: float) -> None:
        """Let a `flush` that runs now end within so many seconds, and what it has not sent wait for `close`.

        Called by another thread than all the rest.
        """


@runtime_checkable
class TellsOutcomes(Protocol):
    """A collector that learns after `collect` what becomes of a record."""

    def outcomes(self) -> Mapping[Code, int]:
        """Return what became of how many records since the last call, each record once; OK for those that are safe."""


class MakeCollector(Protocol):
    """What an entry point names: a class or function that makes a collector."""

    def __call__(self, config: LoggingConfig, context: LogContext) -> LogCollector:
        """Make the collector of one request log; called before its first record, and again after an error."""
