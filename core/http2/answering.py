"""The answering half of an HTTP/2 connection: its open streams, their answers, and the windows that these wait for.

A stream is open until its answer has been sent, or until one of both sides has reset it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from core.http2.budget import Budget, Http2Limits
from core.http2.calls_in_work import CallsInWork
from core.http2.frames import (
    ACK,
    END_STREAM,
    LARGEST_WINDOW,
    SETTINGS,
    WINDOW_UPDATE,
    BrokenConnection,
    Fault,
    frame,
    number,
    read_parameters,
    reset,
)
from core.http2.past_streams import PastStreams
from core.http2.progress import Unfinished
from core.http2.reading import Http2Reader, Taker
from core.http2.receive_windows import ReceiveWindows
from core.http2.sending import Sending
from core.http2.streams import NOBODY, STREAM, Stream


class AnsweringConnection(Http2Reader):
    """The open streams of one connection."""

    def __init__(self, takers: Mapping[int, Taker], limits: Http2Limits, clock: Callable[[], float]) -> None:
        self.sending = Sending()
        self._budget = Budget(limits, self.sending.merits, clock)
        super().__init__(
            {**takers, SETTINGS: self._take_settings, WINDOW_UPDATE: self._take_window_update},
            limits.turn,
            self._budget.count_control,
        )
        self._limits = limits
        self._streams: dict[int, Stream] = {}
        self._past = PastStreams()
        self._windows = ReceiveWindows(limits, self.sending)
        self._calls = CallsInWork(limits, self.sending)

    @property
    def is_idle(self) -> bool:
        """Whether no call is open."""
        return not self._streams

    def open_stream(self, stream_id: int) -> Stream | None:
        """Return a stream; None if it has ended."""
        return self._streams.get(stream_id)

    def unfinished(self) -> dict[Unfinished, int]:
        """Return what the peer has begun to send and must complete, with the number of bytes that have come."""
        found, windows = super().unfinished(), self._windows
        for stream in () if self.has_more else self._streams.values():
            if not stream.is_ended and stream.receiver.is_incomplete and not windows.is_waiting(stream):
                found[STREAM, stream.id] = stream.received
        return found

    def _known(self, stream_id: int) -> Stream | None:
        """Return a stream, None if it is over; raises BrokenConnection where there was none."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._past.require_opened(stream_id)
        return stream

    def answer(self, stream: Stream, opening: bytes, body: bytes, end: bytes) -> None:
        """Send a whole answer: headers, body, trailers."""
        if stream.id not in self._streams:
            return
        if self.sending.answer(stream, opening, body, end):
            self.sending.merits.answers += 1
            self._answered(stream, len(body))
        else:
            self.sending.headers(stream, opening)
            self.send(stream, body, end)

    def begin(self, stream: Stream, opening: bytes, *, is_last: bool = False) -> None:
        """Send the first headers of an answer, or an answer of nothing but headers."""
        if stream.id not in self._streams:
            return
        self.sending.headers(stream, opening, is_last=is_last)
        if is_last:
            self.sending.merits.refusals += 1
            self._answered(stream)

    def send(self, stream: Stream, data: bytes | bytearray, end: bytes | None = None) -> None:
        """Send data, and behind it the trailers that end the answer."""
        if stream.id not in self._streams:
            return
        self._calls.leave(stream, len(data))
        self.sending.data(stream, data, end)
        if stream.is_answered:
            self.sending.merits.answers += 1
            self._answered(stream)

    def _answered(self, stream: Stream, answer_bytes: int | None = None) -> None:
        """Forget a stream; one whose peer is still sending is reset."""
        del self._streams[stream.id]
        if stream.received:
            self._windows.forget(stream)
        stream.receiver = NOBODY
        if not stream.is_ended:
            self._reset(stream.id, Fault.NO_ERROR)
        self._calls.leave(stream, answer_bytes)

    def _reset(self, stream_id: int, fault: Fault, flags: int = 0) -> None:
        """Reset a stream whose peer may still be sending, unless `flags` end it."""
        self.sending.unsent.append(reset(stream_id, fault))
        if not flags & END_STREAM:
            self._past.leave(stream_id)

    def _refuse(self, stream: Stream, fault: Fault) -> None:
        """Reset a stream after an error of the peer that does not concern other streams."""
        self._reset(stream.id, fault)
        self._drop(stream)
        self._count_reset()

    def _count_reset(self) -> None:
        self._work -= self._limits.work_of_a_reset
        self._budget.count_reset()

    def _drop(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None) is not None and stream.received:
            self._windows.forget(stream)
        self.sending.forget(stream)
        receiver, stream.receiver = stream.receiver, NOBODY
        receiver.cancelled()
        self._calls.leave(stream)

    def _take_settings(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id:
            raise BrokenConnection(Fault.PROTOCOL_ERROR, f"SETTINGS for stream {stream_id}")
        self._count_control()
        if flags & ACK:
            if payload:
                raise BrokenConnection(Fault.FRAME_SIZE_ERROR, f"SETTINGS acknowledged with {len(payload)} bytes")
            self._windows.acknowledged(self._streams.values())
            return
        sizes = self.sending.take_parameters(read_parameters(payload))
        if sizes:
            self._take_windows(sizes)
        self.sending.unsent.append(frame(SETTINGS, ACK, 0))

    def _take_windows(self, sizes: list[int]) -> None:
        """Take the initial windows of one SETTINGS frame, the last of which stays in force (6.9.2)."""
        before, highest = self.sending.stream_window, max(sizes)
        if highest > sizes[-1]:
            self.sending.stream_window = highest
            self._require_windows()
        self.sending.stream_window = sizes[-1]
        if sizes[-1] > before:
            # Once for all SETTINGS of a turn: it visits all streams.
            self._at_end_of_turn = self._resume_all

    def _require_windows(self) -> None:
        for stream in self._streams.values():
            self.sending.require_window(stream)

    def _resume_all(self) -> None:
        self._require_windows()
        for stream in tuple(self._streams.values()):
            self._resume(stream)
        self._calls.release()

    def _take_window_update(self, stream_id: int, flags: int, payload: bytes) -> None:
        del flags
        increment = number(payload) & LARGEST_WINDOW
        self._count_control()
        if not stream_id:
            if not increment:
                raise BrokenConnection(Fault.PROTOCOL_ERROR, "a window that is widened by nothing")
            self._went_on(self._streams[one.id] for one in self.sending.widen(increment))
            return
        stream = self._known(stream_id)
        if stream is None:
            return
        stream.credit += increment
        if not increment:
            self._refuse(stream, Fault.PROTOCOL_ERROR)
        elif stream.credit + self.sending.stream_window > LARGEST_WINDOW:
            self._refuse(stream, Fault.FLOW_CONTROL_ERROR)
        else:
            self._resume(stream)

    def _resume(self, stream: Stream) -> None:
        if stream.waiting:
            self.sending.resume(stream)
            if not stream.waiting:
                self._went_on((stream,))

    def _went_on(self, streams: Iterable[Stream]) -> None:
        """End or resume streams of which nothing waits any more."""
        for stream in streams:
            if stream.is_answered:
                self.sending.merits.answers += 1
                self._answered(stream)
            else:
                stream.receiver.sent()
        self._calls.release()
