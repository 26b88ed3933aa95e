"""The files of a request log: their names, and when a file is finished.

A file has its final name only when it is complete, so that readers may take every file with such a name. Names of one
log sort by the time when their files were begun, and two processes never choose the same name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from core.config.extensions import LogFormat

UNFINISHED: Final = ".unfinished"
"""Ending of a file's name while it is being written."""

_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileLimits:
    """When a file is finished and the next one begun."""

    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 300.0

    def are_reached(self, size_bytes: int, age_s: float) -> bool:
        """Whether a file of this size and age is finished."""
        return size_bytes >= self.max_bytes or age_s >= self.max_age_s


@dataclass(frozen=True, slots=True)
class LogFileNames:
    """How one process names the files of one log; `writer` is a name that no other process has."""

    prefix: str
    writer: str
    format: LogFormat

    def name(self, begun_at_s: float, number: int) -> str:
        """Return the final name of the `number`-th file, begun at this time (seconds since 1970)."""
        begun = datetime.fromtimestamp(begun_at_s, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        separator = "" if self.prefix.endswith("/") else "-"
        writer = _UNUSUAL.sub("_", self.writer)
        return f"{self.prefix}{separator}{begun}Z-{writer}-{number:06d}.{self.format.value}"
