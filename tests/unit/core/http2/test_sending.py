"""What is sent stays within the peer's windows, loses nothing, and gives every stream its turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.http2.frames import (
    DATA,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    LARGEST_WINDOW,
    BrokenConnection,
    Fault,
)
from core.http2.sending import NO_TABLE, Sending, SendingStream
from tests.support.doors.raw_http2 import Frame, frames_of

OPENING, END = b"opening", b"end"


def taken(sending: Sending) -> list[Frame]:
    """Take what is to be sent."""
    data, sending.unsent = b"".join(sending.unsent), []
    return frames_of(data)


def body_of(frames: list[Frame], stream: int) -> bytes:
    return b"".join(one.payload for one in frames if one.kind == DATA and one.stream == stream)


def test_a_small_answer_is_one_piece() -> None:
    """Headers, body and trailers are written together."""
    sending, stream = Sending(), SendingStream(1)

    assert sending.answer(stream, OPENING, b"body", END)

    assert len(sending.unsent) == 1
    assert [(one.kind, one.payload) for one in taken(sending)] == [(HEADERS, OPENING), (DATA, b"body"), (HEADERS, END)]
    assert stream.is_answered


@pytest.mark.parametrize("narrow", ["frame", "connection", "stream"])
def test_an_answer_that_does_not_fit_is_not_sent_in_one_piece(narrow: str) -> None:
    """Nothing of it is sent; the caller does that in pieces."""
    sending, stream = Sending(), SendingStream(1)
    size = 20_000
    if narrow == "connection":
        sending.largest_frame = 2**20
        sending.data(other := SendingStream(3), bytes(INITIAL_WINDOW - 10))
        assert not other.waiting
    elif narrow == "stream":
        sending.largest_frame, sending.stream_window = 2**20, 10
    taken(sending)

    assert not sending.answer(stream, OPENING, bytes(size), END)
    assert sending.unsent == []
    assert not stream.is_answered


def test_data_is_cut_into_frames() -> None:
    """No larger than the peer takes them; the trailers follow the last."""
    sending, stream = Sending(), SendingStream(1)

    sending.data(stream, bytes(40_000), END)

    frames = taken(sending)
    assert [len(one.payload) for one in frames] == [16384, 16384, 7232, 3]
    assert frames[-1].flags & END_STREAM


def test_what_the_connections_window_does_not_allow_waits_and_takes_turns() -> None:
    """A frame each, whoever was first."""
    sending, streams = Sending(), [SendingStream(number) for number in (1, 3)]
    sending.data(SendingStream(5), bytes(INITIAL_WINDOW))
    for stream in streams:
        sending.data(stream, bytes(40_000), END)
    taken(sending)

    done = sending.widen(50_000)
    assert [one.stream for one in taken(sending)] == [1, 3, 1, 3]
    assert done == []

    assert sending.widen(50_000) == [streams[0], streams[1]]
    assert all(stream.is_answered for stream in streams)


def test_what_a_streams_window_does_not_allow_waits_for_that_window() -> None:
    """The connection's window, however wide, changes nothing; nobody looks at the stream for it."""
    sending, stream = Sending(), SendingStream(1)
    sending.stream_window = 10
    sending.data(stream, b"0123456789abc", END)

    assert sending.widen(1000) == []
    assert body_of(taken(sending), 1) == b"0123456789"

    stream.credit += 3
    sending.resume(stream)

    assert body_of(taken(sending), 1) == b"abc"
    assert stream.is_answered


def test_a_stream_whose_own_window_ends_gives_its_turn_away() -> None:
    """The others go on."""
    sending, first, second = Sending(), SendingStream(1), SendingStream(3)
    sending.data(SendingStream(5), bytes(INITIAL_WINDOW))
    for stream in (first, second):
        sending.data(stream, bytes(100), END)
    first.credit = 50 - INITIAL_WINDOW
    taken(sending)

    assert sending.widen(1000) == [second]
    assert len(body_of(taken(sending), 1)) == 50
    assert not first.is_answered


def test_a_window_may_become_negative() -> None:
    """A peer that narrows all windows below what is in use waits until that much was read."""
    sending, stream = Sending(), SendingStream(1)
    sending.data(stream, bytes(1000))
    sending.stream_window = 100
    sending.data(stream, b"more", END)
    taken(sending)

    stream.credit += 900
    sending.resume(stream)
    assert sending.unsent == []
    stream.credit += 4
    sending.resume(stream)

    assert body_of(taken(sending), 1) == b"more"


def test_a_stream_that_waits_for_its_turn_keeps_its_order() -> None:
    """What is added later is sent later."""
    sending, stream = Sending(), SendingStream(1)
    sending.data(SendingStream(3), bytes(INITIAL_WINDOW))
    sending.data(stream, b"one")
    sending.data(stream, b"two", END)
    taken(sending)

    sending.widen(100)

    assert body_of(taken(sending), 1) == b"onetwo"


def test_a_stream_that_is_forgotten_sends_nothing() -> None:
    """Neither what waited nor its end."""
    sending, stream = Sending(), SendingStream(1)
    sending.data(stream, bytes(INITIAL_WINDOW + 1), END)
    taken(sending)

    sending.forget(stream)

    assert sending.widen(100) == []
    assert sending.unsent == []


def test_an_end_without_data_is_sent_at_once() -> None:
    """Trailers are not flow controlled."""
    sending, stream = Sending(), SendingStream(1)
    sending.stream_window = 0

    sending.data(stream, b"", END)

    assert stream.is_answered
    assert [one.kind for one in taken(sending)] == [HEADERS]


def test_windows_have_a_largest_size() -> None:
    """A peer that widens them further has lost count."""
    sending, stream = Sending(), SendingStream(1)
    stream.credit = LARGEST_WINDOW - sending.stream_window
    sending.require_window(stream)
    stream.credit += 1

    for wrong in (lambda: sending.widen(LARGEST_WINDOW), lambda: sending.require_window(stream)):
        with pytest.raises(BrokenConnection) as caught:
            wrong()
        assert caught.value.fault is Fault.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("in_one_piece", [True, False])
def test_a_smaller_table_of_headers_is_confirmed_once(in_one_piece) -> None:
    """By the next header block; decoders take the lack of it for an error."""
    sending, blocks = Sending(), []
    sending.bound_table(4096)
    for number in (1, 3, 5):
        stream = SendingStream(number)
        if in_one_piece:
            sending.answer(stream, OPENING, b"x", END)
        else:
            sending.headers(stream, OPENING)
        blocks.append(taken(sending)[0].payload)
        sending.bound_table(0)

    assert blocks == [OPENING, NO_TABLE + OPENING, OPENING]


@given(
    bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    largest=st.integers(1, 100),
    initial=st.integers(0, 100),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=60),
)
def test_whatever_windows_do_everything_arrives_within_them(bodies, largest, initial, steps) -> None:
    """No stream and no connection is ever sent more than its window; in the end nothing is missing."""
    sending = Sending()
    sending.stream_window, sending.largest_frame, sending._window = initial, largest, 50
    streams = [SendingStream(2 * number + 1) for number in range(len(bodies))]
    frames, allowed, allowed_of = [], 50, dict.fromkeys(range(len(bodies)), initial)
    for stream, body in zip(streams, bodies, strict=True):
        sending.data(stream, body, END)

    for which, increment in [*steps, *((number, 1000) for number in range(len(bodies) + 1))]:
        frames += taken(sending)
        assert sum(len(one.payload) for one in frames if one.kind == DATA) <= allowed
        assert all(len(body_of(frames, streams[key].id)) <= most for key, most in allowed_of.items())
        if which >= len(bodies):
            sending.widen(increment)
            allowed += increment
        else:
            streams[which].credit += increment
            allowed_of[which] += increment
            sending.resume(streams[which])
    sending.widen(2000)
    frames += taken(sending)

    assert [body_of(frames, stream.id) for stream in streams] == bodies
    assert all(len(one.payload) <= largest for one in frames if one.kind == DATA)
    assert all(stream.is_answered for stream in streams)


def test_what_waits_and_what_was_sent_are_counted() -> None:
    """So that a connection knows what it keeps for a peer that does not read, and whether it reads."""
    sending, stream, other = Sending(), SendingStream(1), SendingStream(3)
    sending.stream_window = 10

    sending.data(stream, bytes(30))
    sending.data(other, bytes(15))
    assert (sending.waiting_bytes, sending.merits.sent_bytes) == (25, 20)
    sending.forget(other)
    stream.credit += 20
    sending.resume(stream)

    assert (sending.waiting_bytes, sending.merits.sent_bytes) == (0, 40)
