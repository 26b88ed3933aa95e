"""Events as HTTP requests: structured, in batches, or binary (CloudEvents 1.0, JSON format and HTTP binding)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import orjson

from core.events.settings import EventMode, EventSettings

EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_SEPARATOR: Final = b"\t"
_NOT_ENCODED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""The characters that a header may hold as they are (CloudEvents, HTTP header values)."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event: its attributes as a JSON object, and its data as JSON."""

    attributes: bytes
    data: bytes

    @classmethod
    def of(cls, attributes: Mapping[str, str], data: bytes) -> EventLine:
        """Return the event with these attributes; `data` is JSON on one line."""
        return cls(orjson.dumps(attributes), data)

    @property
    def structured(self) -> bytes:
        """The event as one JSON object."""
        return b'%b,"data":%b}' % (self.attributes[:-1], self.data)

    @property
    def headers(self) -> dict[str, str]:
        """The attributes as headers; what a header cannot hold is percent-encoded."""
        named: dict[str, str] = orjson.loads(self.attributes)
        content_type = named.pop("datacontenttype")
        encoded = {f"ce-{name}": quote(value, safe=_NOT_ENCODED) for name, value in named.items()}
        return {"content-type": content_type, **encoded}


def packed_events(lines: Iterable[EventLine]) -> bytes:
    """Return the events of one record as bytes, which `unpacked_events` reads."""
    return b"\n".join(b"%b%b%b" % (one.attributes, _SEPARATOR, one.data) for one in lines)


def unpacked_events(record: bytes) -> list[EventLine]:
    """Return the events that `packed_events` has put together; JSON has neither tabs nor line feeds of its own."""
    return [EventLine(*line.split(_SEPARATOR, 1)) for line in record.split(b"\n")]


@dataclass(frozen=True, slots=True)
class HttpMessage:
    """The headers and the body of a POST, and how many events are in it."""

    headers: Mapping[str, str]
    body: bytes
    count: int


def http_message(lines: Sequence[EventLine], settings: EventSettings) -> HttpMessage:
    """Return the request that carries these events: one in binary mode, at most `batch_size` in structured mode."""
    if settings.mode is EventMode.BINARY:
        [line] = lines
        return HttpMessage(line.headers, line.data, 1)
    if settings.batch_size == 1:
        [line] = lines
        return HttpMessage({"content-type": EVENT}, line.structured, 1)
    body = b"[%b]" % b",".join(one.structured for one in lines)
    return HttpMessage({"content-type": BATCH}, body, len(lines))


def most_events(settings: EventSettings) -> int:
    """Return how many events a request may carry."""
    return 1 if settings.mode is EventMode.BINARY else settings.batch_size
