"""The types of log collectors that a request log may have, and the mistakes in the configuration of one."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final


class LogFormat(enum.Enum):
    """How a request log is written; the value is the ending of its files' names."""

    TF_RECORD = "tfrecord"
    JSON_LINES = "jsonl"


FORMATS: Final[Mapping[str, LogFormat]] = MappingProxyType(
    {"": LogFormat.TF_RECORD, "tf_record": LogFormat.TF_RECORD, "json_lines": LogFormat.JSON_LINES}
)
"""The types of log collectors (LogCollectorConfig.type)."""

_ABSOLUTE: Final = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*://", re.ASCII)


def collector_problems(kind: str, filename_prefix: str, *, logs: bool) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of each mistake; a log that samples no requests needs no destination."""
    if kind not in FORMATS:
        yield "type", f"Cannot find LogCollector::Factory for type: {kind}"
    if logs and not _ABSOLUTE.match(filename_prefix):
        yield "filename_prefix", f"must be an absolute path or a URI; was {filename_prefix!r}"
