"""One stream of an HTTP/2 connection, on the server's side: its states, what it has received, its receiver."""

from __future__ import annotations

from typing import Final, Protocol

from core.http2.sending import SendingStream

STREAM_WINDOW: Final = 4 * 1024 * 1024
"""The window of a stream that sends a large request."""
STREAM: Final = "stream"
"""What a stream is called among what is unfinished."""


class Receiver(Protocol):
    """Receives the data of one stream."""

    @property
    def is_incomplete(self) -> bool:
        """Whether a part of a message is missing, which the peer must send."""
        ...

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Take a part of the request's body; nothing comes after the last one."""

    def cancelled(self) -> None:
        """Take note that the peer does not want an answer any more."""

    def sent(self) -> None:
        """Take note that what had to wait for the peer's windows has been sent."""


class _Nobody:
    """Ignores the data of a call that is answered already."""

    is_incomplete = False

    def data(self, payload: bytes, *, is_last: bool) -> None:
        """Ignore it."""

    def cancelled(self) -> None:
        """Ignore it."""

    def sent(self) -> None:
        """Ignore it."""


NOBODY: Final[Receiver] = _Nobody()


class Stream(SendingStream):
    """One call, in both directions.

    `is_ended`: the peer has sent all of its request. `is_answered`: all of the answer has been sent. `received`,
    `allowed`: bytes that have come in frames before the last one, and that may come; `promised`: what of them is
    promised to it beside others. `body_left`: the bytes of the body that its content-length announced and that have not
    come yet; None if it announced none. `is_in_work`: its receiver has all of the request, and no answer has begun.
    """

    __slots__ = ("allowed", "body_left", "is_ended", "is_in_work", "promised", "received", "receiver")

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id)
        self.received = 0
        self.allowed = STREAM_WINDOW
        self.promised = 0
        self.is_ended = False
        self.is_in_work = False
        self.body_left: int | None = None
        self.receiver = NOBODY

    def fits(self, length: int, *, is_last: bool) -> bool:
        """Whether a part of the body agrees with the announced length (RFC 9113, 8.1.1)."""
        if self.body_left is None:
            return True
        self.body_left -= length
        return self.body_left == 0 if is_last else self.body_left >= 0
