"""One stream of an HTTP/2 connection, on the server's side: its states, its receive window, its receiver."""

from __future__ import annotations

from typing import Final, Protocol

from core.http2.frames import BrokenConnection, Fault
from core.http2.sending import SendingStream

STREAM_WINDOW: Final = 4 * 1024 * 1024


class Receiver(Protocol):
    """Receives the data of one stream."""

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Take a part of the request's body; nothing comes after the last one."""

    def cancelled(self) -> None:
        """Take note that the peer does not want an answer any more."""

    def sent(self) -> None:
        """Take note that what had to wait for the peer's windows has been sent."""


class _Nobody:
    """Ignores the data of a call that is answered already."""

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Ignore it."""

    def cancelled(self) -> None:
        """Ignore it."""

    def sent(self) -> None:
        """Ignore it."""


NOBODY: Final[Receiver] = _Nobody()


class Stream(SendingStream):
    """One call, in both directions.

    `is_ended`: the peer has sent all of its request. `is_answered`: all of the answer has been sent. `body_left`: the
    bytes of the body that its content-length announced and that have not come yet; None if it announced none.
    """

    __slots__ = ("_renewable", "_room", "body_left", "is_ended", "receiver")

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id)
        self._room = STREAM_WINDOW
        self._renewable = 0
        self.is_ended = False
        self.body_left: int | None = None
        self.receiver = NOBODY

    def fits(self, length: int, *, is_last: bool) -> bool:
        """Whether a part of the body agrees with the announced length (RFC 9113, 8.1.1)."""
        if self.body_left is None:
            return True
        self.body_left -= length
        return self.body_left == 0 if is_last else self.body_left >= 0

    def use_room(self, length: int) -> int:
        """Take received data off the stream's window; returns by how much to widen it again, mostly 0.

        Raises BrokenConnection where the peer has sent more than the window allows.
        """
        self._room -= length
        self._renewable += length
        if self._room < 0:
            raise BrokenConnection(Fault.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if self._renewable < STREAM_WINDOW // 2:
            return 0
        renewed, self._renewable = self._renewable, 0
        self._room += renewed
        return renewed
