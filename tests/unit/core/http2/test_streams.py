"""Tests of the receive window of one stream."""

from __future__ import annotations

import pytest

from core.http2.frames import BrokenConnection, Fault
from core.http2.streams import NOBODY, STREAM_WINDOW, Stream

HALF = STREAM_WINDOW // 2


def test_a_window_is_widened_when_half_of_it_is_used() -> None:
    """By all that was used; less often than each frame, so that updates cost little."""
    stream = Stream(1)

    assert [stream.use_room(length) for length in (1, HALF - 2, 1, 5)] == [0, 0, HALF, 0]


def test_a_widened_window_never_runs_out() -> None:
    """A peer that counts can send without end."""
    stream = Stream(1)

    assert sum(stream.use_room(16_384) for _ in range(10_000)) > 100 * STREAM_WINDOW // 4


def test_more_data_than_the_window_allows_is_a_fault() -> None:
    """The whole connection ends, because the peer does not count."""
    with pytest.raises(BrokenConnection) as caught:
        Stream(1).use_room(STREAM_WINDOW + 1)

    assert caught.value.fault is Fault.FLOW_CONTROL_ERROR


def test_data_of_a_stream_without_receiver_is_ignored() -> None:
    """As that of a call which is answered already."""
    stream = Stream(1)
    assert stream.receiver is NOBODY

    stream.receiver.data(b"late", is_last=True)
    stream.receiver.cancelled()
    stream.receiver.sent()
