"""One request on a short way: no task, no future; who sent it is told when the answer is there.

REST and gRPC both have such a way. What they share is here: to send a call on a direct connection, to wait for its
answer no longer than its caller does, to try once more when the connection was lost, and to give up when the caller
has gone.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod

from core.errors import Code, ServingError
from core.routing.table import Route
from core.routing.transport import Answer, Call, ConnectionLost, OpenCall
from deployments.routing.request_router import RequestRouter

log = logging.getLogger(__name__)

ANSWER_GRACE_S = 0.25
"""How much longer than the caller's time we wait, so that TensorFlow's own time-out can be told."""


class ShortCall:
    """A call that is sent without waiting; implements `core.routing.transport.Waiting`."""

    __slots__ = ("_loop", "_open", "_repeating", "_timer", "response_complete", "route")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: OpenCall | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._repeating: asyncio.Task[None] | None = None
        self.response_complete = False

    def send(self, router: RequestRouter, route: Route, call: Call) -> bool:
        """Send the call; False if that is not possible now, and nothing has happened."""
        self.route = route
        self._open = router.begin(route, call, self)
        if self._open is None:
            return False
        if call.timeout_s is not None:
            self._timer = self._loop.call_later(call.timeout_s + ANSWER_GRACE_S, self._open.expire)
        return True

    @property
    def is_open(self) -> bool:
        """An answer is awaited."""
        return self._open is not None and not self.response_complete

    def done(self) -> bool:
        return self.response_complete

    def set_result(self, result: Answer, /) -> None:
        if self.response_complete:
            return
        self.response_complete = True
        if self._timer is not None:
            self._timer.cancel()
        self.ended(result)

    def set_exception(self, exception: Exception, /) -> None:
        if isinstance(exception, ConnectionLost):
            self._repeating = self._loop.create_task(self._repeat())
        elif isinstance(exception, ServingError):
            self._fail(exception.code, str(exception))
        else:
            self._fail(Code.INTERNAL, f"{type(exception).__name__}: {exception}")

    async def _repeat(self) -> None:
        if self._open is None:
            return
        try:
            answer = await self._open.repeat()
        except ServingError as error:
            self._fail(error.code, str(error))
        except Exception as error:
            log.exception("call_failed")
            self._fail(Code.INTERNAL, f"{type(error).__name__}: {error}")
        else:
            self.set_result(answer)

    def _fail(self, code: Code, text: str) -> None:
        self.set_result(Answer(code, text.encode("utf-8", "surrogateescape")))

    def withdraw(self) -> None:
        """Return up: the client has gone."""
        if self._open is None or self.response_complete:
            return
        self.response_complete = True
        if self._repeating is not None:
            self._repeating.cancel()
        self._open.withdraw()
        if self._timer is not None:
            self._timer.cancel()
        self.gave_up()

    @abstractmethod
    def ended(self, answer: Answer) -> None:
        """Take the answer, once."""

    @abstractmethod
    def gave_up(self) -> None:
        """Learn that the call was withdrawn."""
