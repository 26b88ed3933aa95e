"""Tests of how bytes become frames, and frames of headers become blocks."""

from __future__ import annotations

import pytest

from core.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    WITH_PRIORITY,
    BrokenConnection,
    Fault,
    frame,
    head,
)
from core.http2.reading import LARGEST_BLOCK_BYTES, Http2Reader
from tests.support.doors.raw_http2 import OPENING


class Reader(Http2Reader):
    """Notes what it reads."""

    def __init__(self, turn: int = 1000) -> None:
        super().__init__({DATA: self._take_data, SETTINGS: lambda *_: None}, turn, self._count)
        self.seen: list[tuple[str, int, int, bytes]] = []
        self.control_frames = 0

    def _count(self) -> None:
        self.control_frames += 1

    def _take_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        self.seen.append(("data", stream_id, flags, payload))

    def _take_block(self, stream_id: int, flags: int, block: bytes) -> None:
        self.seen.append(("block", stream_id, flags, block))


def read(*frames: bytes) -> list[tuple[str, int, int, bytes]]:
    """Read frames behind a preface."""
    reader = Reader()
    reader.receive(OPENING + b"".join(frames))
    return reader.seen


def fault_of(*frames: bytes) -> Fault:
    """Return the fault that frames end a connection with."""
    with pytest.raises(BrokenConnection) as caught:
        read(*frames)
    return caught.value.fault


CONTENT = OPENING + frame(HEADERS, END_HEADERS, 1, b"head") + frame(DATA, END_STREAM, 1, b"body") + frame(DATA, 0, 3)
SEEN = [("block", 1, END_HEADERS, b"head"), ("data", 1, END_STREAM, b"body"), ("data", 3, 0, b"")]


@pytest.mark.parametrize("size", [1, 2, 7, 9, 30, len(CONTENT)])
def test_frames_are_the_same_however_their_bytes_arrive(size: int) -> None:
    """Networks cut a stream of bytes anywhere."""
    reader = Reader()

    for start in range(0, len(CONTENT), size):
        reader.receive(CONTENT[start : start + size])

    assert reader.seen == SEEN


@pytest.mark.parametrize("size", [1, len(PREFACE) - 1, len(PREFACE), len(OPENING) - 1])
def test_a_connection_is_established_by_its_preface_and_the_head_of_settings(size: int) -> None:
    """Not before its last byte (RFC 9113, 3.4)."""
    reader = Reader()
    reader.receive(OPENING[:size])
    assert not reader.is_established

    reader.receive(OPENING[size:])

    assert reader.is_established


@pytest.mark.parametrize(
    "first",
    [
        frame(PING, 0, 0, bytes(8)),
        frame(HEADERS, END_HEADERS, 1, b"a"),
        frame(SETTINGS, ACK, 0),
        frame(0x77, 0, 0, b"?"),
    ],
    ids=["PING", "HEADERS", "acknowledgement", "unknown"],
)
def test_the_first_frame_is_settings(first: bytes) -> None:
    """A client's preface ends with its own SETTINGS, which may be empty but not an acknowledgement (RFC 9113, 3.4)."""
    with pytest.raises(BrokenConnection) as caught:
        Reader().receive(PREFACE + first)

    assert caught.value.fault is Fault.PROTOCOL_ERROR


def test_another_protocol_is_refused_at_its_first_wrong_byte() -> None:
    """A client of HTTP/1.1 need not wait for a time-out."""
    with pytest.raises(BrokenConnection, match="this port speaks gRPC"):
        Reader().receive(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "frames",
    [
        [frame(HEADERS, END_HEADERS, 1, b"abc")],
        [frame(HEADERS, 0, 1, b"a"), frame(CONTINUATION, 0, 1, b"b"), frame(CONTINUATION, END_HEADERS, 1, b"c")],
        [frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"12345abc")],
        [frame(HEADERS, END_HEADERS | PADDED, 1, b"\x02abc\x00\x00")],
        [frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, b"\x0212345abc\x00\x00")],
    ],
    ids=["one", "three", "priority", "padding", "both"],
)
def test_a_block_is_put_together(frames: list[bytes]) -> None:
    """Without padding and priority."""
    ((kind, stream, _, block),) = read(*frames)

    assert (kind, stream, block) == ("block", 1, b"abc")


def test_frames_of_unknown_kinds_are_ignored() -> None:
    """HTTP/2 is extended by them."""
    assert read(frame(0x77, 0, 1, b"?"), frame(DATA, 0, 1, b"!")) == [("data", 1, 0, b"!")]


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ([head(16_385, DATA, 0, 1)], Fault.FRAME_SIZE_ERROR),
        ([frame(HEADERS, 0, 1, b"a"), frame(DATA, 0, 1)], Fault.PROTOCOL_ERROR),
        ([frame(HEADERS, 0, 1, b"a"), frame(PING, 0, 0, bytes(8))], Fault.PROTOCOL_ERROR),
        ([frame(HEADERS, 0, 1, b"a"), frame(CONTINUATION, END_HEADERS, 3, b"b")], Fault.PROTOCOL_ERROR),
        ([frame(CONTINUATION, END_HEADERS, 1, b"b")], Fault.PROTOCOL_ERROR),
        ([frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"1234")], Fault.FRAME_SIZE_ERROR),
        ([frame(HEADERS, 0, 1, b"a"), frame(CONTINUATION, 0, 1)], Fault.ENHANCE_YOUR_CALM),
        (
            [frame(HEADERS, 0, 1, bytes(16_384)), *[frame(CONTINUATION, 0, 1, bytes(16_384))] * (LARGEST_BLOCK_BYTES // 16_384)],
            Fault.ENHANCE_YOUR_CALM,
        ),
        ([frame(HEADERS, 0, 0, b"a")], Fault.PROTOCOL_ERROR),
        ([frame(HEADERS, 0, 2, b"a")], Fault.PROTOCOL_ERROR),
        ([frame(HEADERS, END_HEADERS | PADDED, 1)], Fault.FRAME_SIZE_ERROR),
        ([frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, b"\x0112345")], Fault.PROTOCOL_ERROR),
        ([frame(GOAWAY, 0, 0, bytes(7))], Fault.FRAME_SIZE_ERROR),
        ([frame(GOAWAY, 0, 1, bytes(8))], Fault.PROTOCOL_ERROR),
        ([frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4))], Fault.PROTOCOL_ERROR),
    ],
)  # fmt: skip
def test_violations_end_the_connection(frames: list[bytes], fault: Fault) -> None:
    """With the fault that HTTP/2 names for them."""
    assert fault_of(*frames) is fault


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turn_ends_when_its_work_is_done(turn: int) -> None:
    """What is left is taken in the next turns, in order, and new bytes behind it."""
    reader = Reader(turn)
    reader.receive(OPENING)

    reader.receive(CONTENT[len(OPENING) :])
    assert len(reader.seen) == turn
    assert reader.has_more == (turn < len(SEEN))
    reader.receive(CONTENT[len(OPENING) :])
    while reader.has_more:
        before = len(reader.seen)
        reader.receive(b"")
        assert len(reader.seen) - before <= turn

    assert reader.seen == SEEN * 2


def test_reads_of_the_same_turn_share_its_work() -> None:
    """A socket is read several times before others have their turns."""
    reader = Reader(2)

    reader.receive(OPENING)

    reader.receive(frame(DATA, 0, 1))
    reader.receive(frame(DATA, 0, 1) * 2, is_new_turn=False)
    assert (len(reader.seen), reader.has_more) == (2, True)
    reader.receive(b"")

    assert (len(reader.seen), reader.has_more) == (3, False)


def test_frames_that_carry_nothing_are_counted() -> None:
    """Priorities, goodbyes, unknown kinds, and each part of a head but the last."""
    reader = Reader()

    reader.receive(OPENING + frame(PRIORITY, 0, 1, bytes(5)) + frame(GOAWAY, 0, 0, bytes(8)) + frame(0x77, 0, 1))
    reader.receive(frame(HEADERS, 0, 1, b"a") + frame(CONTINUATION, 0, 1, b"b"))
    reader.receive(frame(CONTINUATION, END_HEADERS, 1, b"c") + frame(DATA, 0, 1, b"d"))

    assert reader.control_frames == 4


def test_what_is_unfinished_is_known() -> None:
    """A frame that was cut, and a head that goes on; not frames that only wait for their turn."""
    reader = Reader(1)
    reader.receive(OPENING)
    assert reader.unfinished() == {}

    reader.receive(frame(HEADERS, 0, 5, b"abc") + b"\x00\x00")
    assert reader.unfinished() == {("frame", 2): 2, ("head", 5): 5}
    reader.receive(frame(CONTINUATION, END_HEADERS, 5, b"d")[2:])
    assert reader.unfinished() == {}
    reader.receive(frame(DATA, 0, 1) * 2)

    assert reader.has_more
    assert reader.unfinished() == {}
