"""Settings of what is sent to an HTTP sink, and their mistakes."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_PRINTABLE: Final = re.compile("[!-~]+")


class EventMode(enum.Enum):
    """How an event is put into an HTTP request (CloudEvents, HTTP binding)."""

    STRUCTURED = "structured"
    """Attributes and data in one JSON object, several of them in one request."""

    BINARY = "binary"
    """Attributes as `ce-` headers, data as the body: one event in a request."""


class LoggedParts(enum.Enum):
    """What of an exchange becomes events (KServe, logger modes)."""

    ALL = "all"
    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How a `cloudevents` log sends its events."""

    mode: EventMode = EventMode.STRUCTURED
    """Form of the HTTP requests."""

    log: LoggedParts = LoggedParts.ALL
    """Events for requests, for their answers, or for both."""

    batch_size: int = 100
    """Most events in an HTTP request of structured mode; with 1, events are not sent as batches."""

    batch_interval_s: float = 1.0
    """Seconds after which events are sent that are too few for a batch."""

    timeout_s: float = 5.0
    """Seconds that the sink may take for one HTTP request."""

    max_attempts: int = 5
    """How often a batch is sent before it is given up."""

    max_waiting_bytes: int = 16 * 1024 * 1024
    """Bytes of events that may wait for the sink; more are dropped."""

    ca_file: str = ""
    """File with the certificates that the sink's must lead to; empty takes those of the system."""

    authorization_env: str = ""
    """Environment variable of the replicas with the value of the header `Authorization`; empty sends none."""

    authorization_file: str = ""
    """File with that value instead, read for each batch, so that it may change."""

    inference_service: str = ""
    """Attribute `inferenceservicename` of the events; empty takes the model's name."""

    namespace: str = ""
    """Attribute `namespace`; empty leaves it out, as for the next two."""

    component: str = ""
    """Attribute `component`."""

    endpoint: str = ""
    """Attribute `endpoint`."""


DEFAULT_EVENTS: Final = EventSettings()


def sink_problem(url: str) -> str:
    """Return what is wrong with the URL of a sink; empty when nothing is. The text shows nothing that may be secret."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "must be a URL of http or https"
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not _PRINTABLE.fullmatch(url):
        return "must be a URL of http or https, such as https://sink.example/events"
    if "@" in parts.netloc:
        return "must not hold a password; authorization_env and authorization_file name a place for it"
    return "must not hold a fragment" if "#" in url else ""


def event_problems(events: EventSettings) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of each mistake that a single field does not show."""
    if events.authorization_env and events.authorization_file:
        yield "authorization_file", "cannot be combined with authorization_env"
    for name in ("ca_file", "authorization_file"):
        path = getattr(events, name)
        if path and not path.startswith("/"):
            yield name, f"must be an absolute path; was {path!r}"
    for name in ("inference_service", "namespace", "component", "endpoint"):
        if not getattr(events, name).isprintable():
            yield name, "must be printable characters"
