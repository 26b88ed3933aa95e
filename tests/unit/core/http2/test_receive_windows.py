"""Tests of how much peers may send, and what is kept of it."""

from __future__ import annotations

from functools import partial

import pytest

from core.http2.budget import Http2Limits
from core.http2.frames import SETTINGS, BrokenConnection, Fault, number
from core.http2.receive_windows import CONNECTION_WINDOW, NARROW_WINDOW, ReceiveWindows
from core.http2.sending import Sending
from core.http2.streams import STREAM_WINDOW, Stream
from tests.support.doors.raw_http2 import frames_of

PIECE = 16_384
LIMITS = Http2Limits(unfinished_bytes=3 * STREAM_WINDOW, work_bytes=2 * STREAM_WINDOW)


class Uploads:
    """A peer that sends as much as it may, and acknowledges settings when the test says so."""

    def __init__(self, count: int, limits: Http2Limits = LIMITS) -> None:
        self.sending = Sending()
        self.windows = ReceiveWindows(limits, self.sending)
        self.windows.acknowledged(())
        self.streams = [Stream(1 + 2 * index) for index in range(count)]
        self.room = {0: CONNECTION_WINDOW, **{one.id: STREAM_WINDOW for one in self.streams}}
        self.must_acknowledge = False
        self.most_bytes = 3 * STREAM_WINDOW

    def send(self, stream: Stream) -> bool:
        """Send a piece; False if windows do not allow it."""
        size = min(PIECE, self.room[0], self.room[stream.id])
        if size <= 0 or stream.is_ended or stream.received >= self.most_bytes:
            return False
        self.room[0] -= size
        self.room[stream.id] -= size
        self.windows.take_of_connection(size)
        self.windows.take(stream, size)
        self._read()
        return True

    def _read(self) -> None:
        frames, self.sending.unsent = frames_of(b"".join(map(bytes, self.sending.unsent))), []
        for one in frames:
            if one.kind == SETTINGS:
                self.must_acknowledge = True
            else:
                self.room[one.stream] += number(one.payload)

    def acknowledge(self) -> None:
        self.must_acknowledge = False
        for stream in self.streams:
            self.room[stream.id] -= STREAM_WINDOW - NARROW_WINDOW
        self.windows.acknowledged(self.streams)
        self._read()

    def send_all(self) -> None:
        """Send in turns until no stream may send more."""
        has_sent = True
        while has_sent:
            has_sent = sum(self.send(stream) for stream in self.streams) > 0

    def complete(self, stream: Stream) -> None:
        stream.is_ended = True
        self.windows.complete(stream)
        self._read()

    def answer(self, stream: Stream) -> None:
        self.windows.forget(stream)
        self.streams.remove(stream)
        self._read()

    @property
    def kept(self) -> int:
        return sum(one.received for one in self.streams if not one.is_ended)


def test_one_large_request_never_waits() -> None:
    """Its window is renewed long before it is used up."""
    uploads = Uploads(1, Http2Limits())
    (stream,) = uploads.streams
    uploads.most_bytes = 20_000 * PIECE

    for _ in range(2000):
        assert uploads.send(stream)
        assert min(uploads.room.values()) > PIECE
    assert not uploads.must_acknowledge


def test_windows_of_many_unfinished_requests_become_narrow() -> None:
    """What is kept stays bounded, whether the peer acknowledges that or not."""
    uploads = Uploads(50)

    uploads.send_all()
    assert uploads.must_acknowledge
    assert uploads.kept <= LIMITS.unfinished_bytes + CONNECTION_WINDOW
    uploads.acknowledge()
    last = Stream(999)
    uploads.streams.append(last)
    uploads.room[last.id] = last.allowed = uploads.windows.initial
    uploads.send_all()

    assert uploads.windows.initial == NARROW_WINDOW
    assert uploads.kept <= 2 * LIMITS.unfinished_bytes + CONNECTION_WINDOW + 51 * NARROW_WINDOW


def test_every_request_is_completed_in_the_end() -> None:
    """Of any size and any number: one may always go on, and its end lets others go on."""
    uploads = Uploads(40)
    done = 0
    while uploads.streams:
        sent = [uploads.send(stream) for stream in uploads.streams]
        if uploads.must_acknowledge:
            uploads.acknowledge()
        else:
            assert any(sent)
        for stream in [one for one in uploads.streams if one.received >= uploads.most_bytes]:
            uploads.complete(stream)
            uploads.answer(stream)
            done += 1

    assert done == 40
    assert uploads.windows._kept == uploads.windows._promised == uploads.windows._in_work == 0


def test_requests_wait_while_too_many_bytes_are_in_work() -> None:
    """Until answers have been sent; then they go on."""
    uploads = Uploads(6)
    uploads.send_all()
    uploads.acknowledge()
    uploads.send_all()
    first, second, third, *waiting = sorted(uploads.streams, key=lambda one: -one.received)
    for stream in (first, second, third):
        uploads.complete(stream)

    uploads.send_all()
    assert all(uploads.windows.is_waiting(one) for one in waiting)
    uploads.answer(first)
    uploads.answer(second)

    assert not all(uploads.windows.is_waiting(one) for one in waiting)


@pytest.mark.parametrize("of_stream", [True, False])
def test_more_data_than_a_window_allows_is_a_fault(*, of_stream: bool) -> None:
    """The connection ends, because the peer does not count."""
    windows = ReceiveWindows(Http2Limits(), Sending())

    stream = Stream(1)
    count = (
        partial(windows.take, stream, STREAM_WINDOW + 1)
        if of_stream
        else partial(windows.take_of_connection, CONNECTION_WINDOW + 1)
    )

    with pytest.raises(BrokenConnection) as caught:
        count()

    assert caught.value.fault is Fault.FLOW_CONTROL_ERROR
