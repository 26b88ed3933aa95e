"""The access log: one line for each sampled request of the API, in the router's log.

Costs nothing unless a sampling rate is set; only then `SampledRouter` replaces `RequestRouter`, and the wrappers of
`deployments.rest.followers` are put around the application. Of bodies and headers only the request's id is written.
"""

from __future__ import annotations

import logging
import random
import re
import secrets
import time
from collections.abc import Awaitable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from core.errors import Code
from core.routing.table import Route
from core.routing.transport import Answer, Call
from core.telemetry.trace_context import TRACEPARENT, parse_trace_context
from deployments.division.request_headers import Fields
from deployments.routing.logged_headers import KEPT_HEADERS
from deployments.routing.request_router import RequestRouter
from deployments.telemetry.tracing import current_trace_id

log = logging.getLogger(__name__)

SAMPLED = "sampled"
"""Key in the state of an ASGI scope: whether the request was chosen, once that is decided."""
REQUEST_ID = "x-request-id"
FIT_ID = re.compile(r"[!-~]{1,128}")
CLIENT_GONE = "CLIENT_GONE"


class Answered(Protocol):
    """A gRPC answer."""

    @property
    def code(self) -> Code: ...
    @property
    def body(self) -> bytes: ...


A = TypeVar("A", bound=Answered)


@dataclass(slots=True)
class AccessEntry:
    """The fields of one line; filled in while the request is answered."""

    protocol: str
    method: str
    request_id: str = ""
    model: str = ""
    version: int | None = None
    label: str | None = None
    signature: str = ""
    trace_id: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    code: int | str = CLIENT_GONE
    began_s: float = field(default_factory=time.perf_counter)

    def write(self) -> None:
        """Write the line."""
        log.info(
            "request protocol=%s method=%s model=%s version=%s label=%s signature=%s code=%s latency_ms=%.3f "
            "bytes_in=%d bytes_out=%d request_id=%s trace_id=%s",
            self.protocol,
            self.method,
            self.model,
            self.version,
            self.label,
            self.signature,
            self.code,
            (time.perf_counter() - self.began_s) * 1000,
            self.bytes_in,
            self.bytes_out,
            self.request_id,
            self.trace_id,
        )


CURRENT_ENTRY: ContextVar[AccessEntry | None] = ContextVar("access_log_entry", default=None)


class SampledRouter(RequestRouter):
    """A router that notes the version of each sampled request, and sends kept headers along."""

    def resolve(self, name: str, version: int | None, label: str | None, fields: Fields | None = None) -> Route:
        """Return the route of the version that a request asks for."""
        entry = CURRENT_ENTRY.get()
        if entry is None:
            return super().resolve(name, version, label, fields)
        entry.model, entry.version, entry.label = name, version, label
        route = super().resolve(name, version, label, fields)
        entry.version = route.servable.version
        return route

    async def forward(self, route: Route, call: Call) -> Answer:
        """Carry a call to a version, with the headers of its request that request logs keep."""
        kept = KEPT_HEADERS.get()
        return await super().forward(route, call._replace(headers=kept) if kept else call)


class AccessLog:
    """Chooses requests, follows them, and writes their lines."""

    def __init__(self, sampling_rate: float) -> None:
        self._rate = sampling_rate

    def is_chosen(self) -> bool:
        """Whether the request that begins now gets a line."""
        return random.random() < self._rate  # noqa: S311 - a sample, not a secret

    async def of_call(self, entry: AccessEntry, metadata: Iterable[Any], work: Awaitable[A]) -> A:
        """Await the answer to a chosen gRPC call, fill in its entry, and write the line."""
        given = {name: str(value) for name, value in metadata or () if name in {REQUEST_ID, TRACEPARENT}}
        entry.request_id = request_id_of(given.get(REQUEST_ID, ""))
        entry.trace_id = trace_id_of(given.get(TRACEPARENT, ""))
        token = CURRENT_ENTRY.set(entry)
        try:
            answer = await work
            entry.code, entry.bytes_out = answer.code.name, len(answer.body)
            return answer
        finally:
            CURRENT_ENTRY.reset(token)
            entry.write()


def request_id_of(given: str) -> str:
    """Return the caller's id if it fits into a log line, else a new one."""
    return given if FIT_ID.fullmatch(given) else secrets.token_hex(8)


def trace_id_of(traceparent: str) -> str:
    """Return the id of the request's trace: the caller's, or the one that began here."""
    parent = parse_trace_context((traceparent,))
    return current_trace_id() if parent is None else parent.trace_id
