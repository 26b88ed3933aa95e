"""What may come for streams that are over."""

from __future__ import annotations

import pytest

from core.http2.frames import END_STREAM, BrokenConnection, Fault
from core.http2.past_streams import MOST_GAPS, MOST_LEFT, PastStreams


def past(*streams: int) -> PastStreams:
    """Return a record of streams that were opened."""
    record = PastStreams()
    for one in streams:
        record.open(one)
    return record


def fault_of_headers(record: PastStreams, stream: int) -> Fault:
    with pytest.raises(BrokenConnection) as caught:
        record.take_headers(stream, END_STREAM)
    return caught.value.fault


def test_streams_are_idle_until_they_or_later_ones_are_opened() -> None:
    """Even ones are the server's, which opens none (RFC 9113, 5.1.1)."""
    record = past(1, 5)

    assert [record.is_idle(stream) for stream in (1, 2, 3, 5, 7)] == [False, True, False, False, True]
    with pytest.raises(BrokenConnection):
        record.require_opened(7)


def test_a_stream_that_was_left_is_passed_over_until_its_peer_ends_it() -> None:
    """With headers or with data."""
    record = past(1, 3)
    record.leave(1)
    record.leave(3)

    assert record.take_data(1, 0)
    assert record.take_data(1, END_STREAM)
    assert not record.take_data(1, 0)
    record.take_headers(3, END_STREAM)
    assert fault_of_headers(record, 3) is Fault.STREAM_CLOSED


def test_headers_of_a_stream_that_was_skipped_are_another_fault() -> None:
    """It was never open, so it was not closed (RFC 9113, 5.1.1)."""
    record = past(1, 5)

    assert (fault_of_headers(record, 3), fault_of_headers(record, 5)) == (Fault.PROTOCOL_ERROR, Fault.STREAM_CLOSED)


def test_few_streams_are_remembered() -> None:
    """Peers choose how many; what is as old as a forgotten one may be one of those that were left."""
    record = PastStreams()
    for stream in range(1, 4 * MOST_LEFT + 1, 4):
        record.open(stream)
        record.leave(stream)
    record.open(4 * MOST_LEFT + 1)
    record.leave(4 * MOST_LEFT + 1)

    assert len(record._left) == MOST_LEFT
    assert len(record._gaps) == MOST_GAPS
    assert record.take_data(1, 0)
    assert not record.take_data(3, 0)


def test_nothing_is_idle_above_the_last_one_when_none_is_taken() -> None:
    """The peer may have opened it before it read GOAWAY (RFC 9113, 6.8)."""
    record = past(1)
    record.takes_new = False

    assert not record.is_idle(3)
    assert record.take_data(3, 0)
