"""Tests of one stream."""

from __future__ import annotations

from core.http2.streams import NOBODY, Stream


def test_data_of_a_stream_without_receiver_is_ignored() -> None:
    """As that of a call which is answered already."""
    stream = Stream(1)
    assert stream.receiver is NOBODY
    assert not stream.receiver.is_incomplete

    stream.receiver.data(b"late", is_last=True)
    stream.receiver.cancelled()
    stream.receiver.sent()
