"""The copies that came over one connection: which are open, and what becomes of them when it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from core.errors import Code
from core.routing.transport import Answer, Call

Reply: TypeAlias = Callable[[Answer], None]


class CopyTicket(Protocol):
    """A copy that is worked on."""

    def cancel(self) -> None:
        """Drop the copy; nothing is replied."""


class CopyTaker(Protocol):
    """Works on copies of requests, beside the calls."""

    def take(self, call: Call, reply: Reply) -> CopyTicket | None:
        """Work on a copy later, and reply with its report on the event loop's thread; None for one that is over."""
        ...


class PeerCopies:
    """The open copies of one router, by call id; `send` sends the report of one."""

    __slots__ = ("_open", "_send")

    def __init__(self, send: Callable[[int, Answer], None]) -> None:
        self._send = send
        self._open: dict[int, CopyTicket | None] = {}

    def __contains__(self, call_id: int) -> bool:
        return call_id in self._open

    def begin(self, taker: CopyTaker | None, call_id: int, call: Call) -> None:
        """Take a copy, which is not among the calls: it keeps nobody waiting, and nothing waits for it."""
        if taker is None:
            self._send(call_id, Answer.error(Code.UNAVAILABLE, "No copies are compared here."))
            return
        self._open[call_id] = None
        ticket = taker.take(call, partial(self._report, call_id))
        if call_id in self._open:
            self._open[call_id] = ticket

    def _report(self, call_id: int, answer: Answer) -> None:
        if call_id in self._open:
            del self._open[call_id]
            self._send(call_id, answer)

    def cancel(self, call_id: int) -> None:
        """Drop a copy that nobody waits for."""
        ticket = self._open.pop(call_id, None)
        if ticket is not None:
            ticket.cancel()

    def drop(self) -> None:
        """Drop all copies."""
        for call_id in tuple(self._open):
            self.cancel(call_id)
