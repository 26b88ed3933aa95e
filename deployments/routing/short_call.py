"""A call without a task or a future of its own: the answer is delivered by a callback.

REST and gRPC both have such a way for small inference requests. What they share is here: finding the version, sending
the call, repeating it once when its connection was lost, withdrawing it when the client has gone, and counting it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from abc import abstractmethod
from typing import ClassVar, Protocol

from core.errors import Code, ServingError
from core.routing.table import Route
from core.routing.transport import OVER, Answer, Call, ConnectionLost, OpenCall
from deployments.division.request_headers import NO_FIELDS, Fields
from deployments.routing.request_router import RequestRouter

log = logging.getLogger(__name__)


class Asked(Protocol):
    """The model that a request names, and at most one of version and label."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int | None: ...
    @property
    def label(self) -> str | None: ...


class ShortCall:
    """A call that is sent without waiting; implements `core.routing.transport.Waiting`.

    `api` and `entry_point` are the labels that it is counted under. `fields` are its headers, and `version` is the one
    that answered; 0 where an error stands for its answer.
    """

    __slots__ = (
        "_api",
        "_began_s",
        "_call",
        "_loop",
        "_name",
        "_open",
        "_repeating",
        "_route",
        "_router",
        "fields",
        "response_complete",
        "version",
    )
    entry_point: ClassVar[str]

    def __init__(self, router: RequestRouter, api: str, loop: asyncio.AbstractEventLoop) -> None:
        self._router = router
        self._api = api
        self._loop = loop
        self._open: OpenCall | None = None
        self._repeating: asyncio.Task[None] | None = None
        self.response_complete = False
        self.fields: Fields = NO_FIELDS
        self.version = 0

    def send(self, asked: Asked, call: Call, began_s: float) -> bool:
        """Send the call, or answer it where it is not let in; False if neither is possible now."""
        router, name = self._router, asked.name
        try:
            route = router.resolve(name, asked.version, asked.label, self.fields)
        except ServingError:
            return False
        self._name: str = name
        limits = router.limits
        if limits.by_model and (refused := limits.refusal(name)) is not None:
            self._turn_away(refused)
            return True
        self._route: Route = route
        self._call: Call = call
        self._began_s: float = began_s
        self._open = router.begin(route, call, self)
        if self._open is None:
            if route.arm is not None:
                route.arm.take_back()
            return False
        self.version = route.servable.version
        return True

    def _turn_away(self, answer: Answer) -> None:
        """Answer at once, and count the call: it was not let in."""
        self.response_complete = True
        self._router.meter.answered(self._name, answer.code)
        self.ended(answer)

    @property
    def is_open(self) -> bool:
        """An answer is awaited."""
        return self._open is not None

    def done(self) -> bool:
        return self.response_complete

    def set_result(self, result: Answer, /) -> None:
        """Count the call and hand its answer on, once."""
        if self.response_complete:
            return
        route, router = self._route, self._router
        took_s = time.perf_counter() - self._began_s
        if route.arm is not None:
            route.arm.answered(result.code, took_s)
            if route.arm.is_copied and self.version:
                router.copy_soon(route, self._call, result, took_s)
        self.response_complete, self._open, self._call = True, None, OVER
        router.end(route)
        if result.code is Code.OK:
            router.meter.succeeded(self._name, self.entry_point, self._api, took_s)
        else:
            router.meter.answered(self._name, result.code)
        try:
            self.ended(result)
        except Exception as error:
            # On the way up it would end the connection to the replica, and with it every other call there.
            log.exception("answer_not_written model=%s", self._name)
            self.ended(Answer.error(Code.INTERNAL, f"{type(error).__name__}: {error}"))

    def set_exception(self, exception: Exception, /) -> None:
        """Repeat a call whose connection was lost; any other failure becomes its answer."""
        if isinstance(exception, ConnectionLost):
            # What calls this belongs to the connection that was lost, and to all requests on it.
            self._repeating = self._loop.create_task(self._repeat(), context=contextvars.Context())
        elif isinstance(exception, ServingError):
            self._failed(Answer.of(exception))
        else:
            self._failed(Answer.error(Code.INTERNAL, f"{type(exception).__name__}: {exception}"))

    def _failed(self, error: Answer) -> None:
        """End the call with an error that is not its version's answer."""
        self.version = 0
        self.set_result(error)

    async def _repeat(self) -> None:
        if self._route.arm is not None:
            self._route = self._route.counted_by(self._route.arm.lost())
        try:
            answer = await self._router.repeat(self._route, self._call)
        except ServingError as error:
            self._failed(Answer.of(error))
        except Exception as error:
            log.exception("call_failed")
            self._failed(Answer.error(Code.INTERNAL, f"{type(error).__name__}: {error}"))
        else:
            self.set_result(answer)

    def withdraw(self) -> None:
        """Cancel the call, and count it so: the client has gone."""
        sent, self._open = self._open, None
        if sent is None:
            return
        self.response_complete, self._call = True, OVER
        if self._repeating is not None:
            self._repeating.cancel()
        sent.withdraw()
        self._router.end(self._route)
        self._router.meter.answered(self._name, Code.CANCELLED)
        if self._route.arm is not None:
            self._route.arm.gave_up(time.perf_counter() - self._began_s)
        self.gave_up()

    @abstractmethod
    def ended(self, answer: Answer) -> None:
        """Write the answer, once."""

    @abstractmethod
    def gave_up(self) -> None:
        """Forget the call, which was withdrawn."""
