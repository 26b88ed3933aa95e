"""How a request reaches a version: the interface that the router needs, whatever carries the bytes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from core.errors import Code, Unavailable
from core.routing.table import Route
from core.telemetry.trace_context import TraceContext

LOOPBACK = "127.0.0.1"
TIMED_OUT = "Timed out waiting for notification"
"""TensorFlow's own text for a run whose time is up; a call whose time is up on the way says the same."""


class Method(enum.IntEnum):
    """What a model server can be asked; the numbers are on the wire of the direct transport."""

    REST_PREDICT = 1
    REST_CLASSIFY = 2
    REST_REGRESS = 3
    REST_METADATA = 4
    PREDICT = 5
    CLASSIFY = 6
    REGRESS = 7
    MULTI_INFERENCE = 8
    GET_MODEL_METADATA = 9
    SESSION_RUN = 10
    METRICS = 11
    """What the replica has counted; answered beside the model."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the router received it; `timeout_s` is what is left of the caller's patience, None = for ever.

    `trace` is the span that this call is a part of, for the few that are traced.
    """

    method: Method
    body: bytes
    timeout_s: float | None = None
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a response body, or the UTF-8 error text when `code` is not OK."""

    code: Code
    body: bytes | bytearray


class Waiting(Protocol):
    """Who waits for an answer: a future, or what is told in its place."""

    def done(self) -> bool:
        """Whether an answer would come too late."""
        ...

    def set_result(self, result: Answer, /) -> None:
        """Take the answer."""

    def set_exception(self, exception: Exception, /) -> None:
        """Learn why there is none."""


class OpenCall(Protocol):
    """A call that was sent and is not answered yet."""

    def withdraw(self) -> None:
        """Say that nobody waits for it any more."""

    def expire(self) -> None:
        """End it because its time is up; who waits learns DeadlineExceeded."""

    async def repeat(self) -> Answer:
        """Try it once more elsewhere, after its connection was lost; raises Unavailable and DeadlineExceeded."""
        ...


class ConnectionLost(Unavailable):
    """The replica's connection ended before it answered."""


class Transport(Protocol):
    """Carries calls to the replicas of a version."""

    async def call(self, route: Route, call: Call) -> Answer:
        """Deliver a call and wait for its answer.

        Raises Unavailable when no replica could be reached and DeadlineExceeded when the time is up. A cancelled
        caller withdraws the call.
        """
        ...

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call at once and tell `waiting` how it ends: an answer, ConnectionLost, or DeadlineExceeded.

        None where that is not possible now and `call` must be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a replica's direct transport, the node it is on, and the token that it wants to see.

    `has_loopback` says that the port answers on 127.0.0.1 too, for routers of the same node. `wants_load` asks routers
    to tell how many calls they have open here, because Serve scales by that.
    """

    host: str
    port: int
    token: bytes
    replica: str
    node: str = ""
    has_loopback: bool = False
    wants_load: bool = False

    def host_from(self, node: str) -> str:
        """Return the host that a router on `node` connects to."""
        return LOOPBACK if self.has_loopback and self.node == node else self.host
