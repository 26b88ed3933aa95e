"""Formats log records: one line of JSON for tools, or one line of text for people, with secrets hidden.

A message of this server is an event with fields, `version_loaded servable=%s load_s=%.3f`. The fields are taken from
the template and its arguments, not from the finished text, so that a value may hold any character.
"""

from __future__ import annotations

import enum
import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from core.telemetry.redaction import HIDDEN, is_secret_name, without_secrets

LONGEST_VALUE: Final = 4000
"""Characters of a value that are kept."""

ANNOUNCED: Final = "rms_announced"
AUDITED: Final = "rms_audited"

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(?: \w+=%[-.\d]*[srdf])*")
_FIELD: Final = re.compile(r" (\w+)=(%[-.\d]*[srdf])")
_PLAIN: Final = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+")


class LineStyle(enum.Enum):
    """The format of a line."""

    TEXT = "text"
    JSON = "json"


def announced() -> Mapping[str, object]:
    """Return the `extra` of a record that is also shown at the terminal."""
    return {ANNOUNCED: True}


def audited() -> Mapping[str, object]:
    """Return the `extra` of a record about a change of what is served: it is announced, and in the audit log."""
    return {ANNOUNCED: True, AUDITED: True}


class LineFormatter(logging.Formatter):
    """Writes records of one process as lines."""

    def __init__(self, process: str, style: LineStyle) -> None:
        super().__init__()
        self._process = process
        self._is_json = style is LineStyle.JSON

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields = {name: _cleaned(name, value) for name, value in _fields(record).items()}
        head = {"time": iso_time(record.created), "level": record.levelname.lower(), "process": self._process}
        line = {**head, "event": fields.pop("event"), **{_free(name): value for name, value in fields.items()}}
        if self._is_json:
            return json.dumps(line, default=str)
        return " ".join(_text(line))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = _of_message(record)
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
    return fields


def _of_message(record: logging.LogRecord) -> dict[str, Any]:
    template = str(record.msg)
    if _EVENT.fullmatch(template) is None:
        return {"event": "message", "text": record.getMessage()}
    named = _FIELD.findall(template)
    arguments = record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
    if len(named) != len(arguments):
        return {"event": "message", "text": f"{template} {arguments}"}
    values = {name: _value(kind, value) for (name, kind), value in zip(named, arguments, strict=True)}
    return {"event": template.partition(" ")[0], **values}


def _value(kind: str, value: object) -> object:
    """Return a value that JSON can hold; a float is rounded to the digits of its format."""
    if kind[-1] == "f":
        return float(kind % value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _cleaned(name: str, value: object) -> object:
    """Return a value without secrets, and cut when it is very long."""
    if is_secret_name(name):
        return HIDDEN
    if not isinstance(value, str):
        return value
    return without_secrets(value[:LONGEST_VALUE])


def _free(name: str) -> str:
    """Return a name that differs from those of the line's own fields."""
    return f"{name}_" if name in {"time", "level", "process"} else name


def iso_time(wall_s: float) -> str:
    """Return a time of day as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(line: Mapping[str, Any]) -> Iterator[str]:
    yield line["time"]
    yield line["level"].upper()
    yield line["process"]
    yield str(line["event"])
    for name, value in line.items():
        if name not in {"time", "level", "process", "event"} and value not in {None, ""}:
            yield f"{name}={_quoted(value)}"


def _quoted(value: object) -> str:
    """Return a value without line breaks, quoted where its end would not be clear otherwise."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text)
