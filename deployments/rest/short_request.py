"""An inference request on the short way: from the parser straight to a direct connection, and its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, cast

from core.access.rights import Right
from core.errors import Code, ServingError
from core.rest.http_answer import HttpAnswer, answer_of, of_version
from core.routing.incoming_body import LARGE_BODY_BYTES, IncomingBody
from core.routing.transport import Answer, Call, Method
from deployments.rest.asgi import Receive, Scope
from deployments.routing.request_router import RequestRouter
from deployments.routing.short_call import Asked, ShortCall


class ShortConnection(Protocol):
    """The part of a connection that its short requests use."""

    loop: asyncio.AbstractEventLoop
    headers: list[tuple[bytes, bytes]]
    body_left: int
    """Bytes of the body that are still to come."""

    def succeeded(self, short: ShortRequest, body: bytes | bytearray | memoryview) -> None:
        """Write a good answer in JSON, and go on with the connection."""

    def answered(self, short: ShortRequest, answer: HttpAnswer) -> None:
        """Write any other answer, and go on with the connection."""

    def forget(self) -> None:
        """Forget the request that was begun: its client has gone."""


class _NoEvent:
    """Stands for the event that wakes an ASGI application, of which there is none here."""

    def set(self) -> None:
        """Do nothing: no application waits."""


_NO_EVENT = _NoEvent()


class ShortRequest(ShortCall):
    """One request on the short way: uvicorn's state of a request, and the receiver of the answer, in one object."""

    __slots__ = ("_protocol", "_wanted", "body", "disconnected", "keep_alive", "more_body")
    entry_point = "REST"
    message_event = _NO_EVENT
    room_bytes = 0
    """For what is put behind a body before it is sent on."""

    def __init__(self, protocol: ShortConnection, router: RequestRouter, wanted: Wanted) -> None:
        super().__init__(router, wanted.api, protocol.loop)
        self._protocol = protocol
        self._wanted = wanted
        self.fields = protocol.headers
        expected = protocol.body_left + self.room_bytes
        self.body = bytearray() if expected < LARGE_BODY_BYTES else IncomingBody(expected)
        self.more_body = True
        self.disconnected = False
        self.keep_alive = True

    def begin(self, timeout_s: float | None) -> bool:
        """Send the call; False if that is not possible now, and nothing has happened."""
        wanted = self._wanted
        return self.send(wanted.request, Call(wanted.method, self.taken(), timeout_s), time.perf_counter())

    def taken(self) -> bytes:
        """Return the whole body, a large one in the memory that it came into."""
        body = self.body
        return bytes(body) if isinstance(body, bytearray) else cast(bytes, body.whole())

    def ended(self, answer: Answer) -> None:
        if answer.code is Code.OK:
            self._protocol.succeeded(self, answer.body)
        else:
            failed = answer_of(answer)
            self._protocol.answered(self, of_version(failed, self.version) if self.version else failed)

    def gave_up(self) -> None:
        self._protocol.forget()


class Wanted(NamedTuple):
    """What an inference request asks for: for the table, for the model server, and for the metrics.

    `kind` is the class of such requests on the short way.
    """

    request: Asked
    method: Method
    api: str
    kind: ShortRequestKind = ShortRequest


ShortRequestKind: TypeAlias = Callable[[ShortConnection, RequestRouter, Wanted], ShortRequest]


class Shown(NamedTuple):
    """How the access log and traces name a request: what it does, the model, and the pattern of its path.

    Model and pattern are empty where there are none.
    """

    verb: str
    model: str
    route: str


class RestApi(Protocol):
    """A further API on the REST port, below a prefix of its own."""

    def owns(self, target: str) -> bool:
        """Whether this API answers a target."""
        ...

    def wanted(self, target: str) -> Wanted | None:
        """Return the meaning of a POST to a target of this API; None for anything but an inference request."""
        ...

    def shown(self, method: str, path: str) -> Shown:
        """Return how a request to a path of this API is named."""
        ...

    def rights(self, method: str, target: str) -> tuple[Right, ...]:
        """Return what a request to a target of this API needs."""
        ...

    def failed(self, error: ServingError) -> HttpAnswer:
        """Return the answer of this API for an error."""
        ...

    def refused(self, status: int) -> HttpAnswer:
        """Return the answer of the HTTP layer for a request that does not reach the API, and ends its connection."""
        ...

    async def answer(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        """Answer a request to a target of this API; raises ClientGone only."""
        ...
