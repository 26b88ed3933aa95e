"""The requests of one connection that are in work; others are held back while answers would take too much memory."""

from __future__ import annotations

from core.http2.budget import Http2Limits
from core.http2.sending import Sending
from core.http2.streams import Stream


class CallsInWork:
    """Hands whole requests to their receivers; the size of answers is expected as a moving average."""

    def __init__(self, limits: Http2Limits, sending: Sending) -> None:
        self._least = limits.calls_in_work
        self._most_bytes = limits.unread_bytes
        self._sending = sending
        self._count = 0
        self._held: dict[int, tuple[Stream, bytes]] = {}
        self._is_releasing = False
        self._answer_bytes = limits.assumed_answer_bytes

    def take(self, stream: Stream, payload: bytes) -> None:
        """Hand over the end of a request, or hold it back."""
        if (self._count >= self._least or self._sending.waiting_bytes) and not self._has_room():
            self._held[stream.id] = stream, payload
            return
        self._count += 1
        stream.is_in_work = True
        stream.receiver.data(payload, is_last=True)

    def _has_room(self) -> bool:
        expected = self._count * self._answer_bytes if self._count >= self._least else 0
        return expected + self._sending.waiting_bytes <= self._most_bytes

    def leave(self, stream: Stream, answer_bytes: int | None = None) -> None:
        """Take note that the answer to a request has begun, with its size, or that it is not wanted any more."""
        if answer_bytes is not None:
            self._answer_bytes += (answer_bytes - self._answer_bytes) // 16
        if stream.is_in_work:
            stream.is_in_work = False
            self._count -= 1
        if self._held:
            self._held.pop(stream.id, None)
            self.release()

    def release(self) -> None:
        """Begin requests that were held back; one that is answered at once does not begin the next within."""
        if self._is_releasing or not self._held:
            return
        self._is_releasing = True
        while self._held and self._has_room():
            self.take(*self._held.pop(next(iter(self._held))))
        self._is_releasing = False
