"""The server's side of HTTP/2: which frames are taken, which end a stream, and which end the connection."""

from __future__ import annotations

import itertools
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from core.http2 import frames as http2
from core.http2.budget import DEFAULT_LIMITS, Http2Limits, Rate
from core.http2.connection import LEAVING, Http2Connection
from core.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    BrokenConnection,
    Fault,
    Setting,
    frame,
    number,
    reset,
    window_update,
)
from core.http2.grpc_heads import GOOD_END_BLOCK, OPENING_BLOCK, CallHead, header_block, refusal_block
from core.http2.receive_windows import CONNECTION_WINDOW
from core.http2.streams import STREAM, STREAM_WINDOW, Stream
from tests.support.doors.raw_http2 import (
    OPENING,
    PREDICT,
    Answers,
    CallAnswer,
    Frame,
    call,
    frames_of,
    head_block,
    head_fields,
)

OPEN = frame(HEADERS, END_HEADERS, 1, head_block())
OPEN_AND_END = frame(HEADERS, END_HEADERS | END_STREAM, 1, head_block())
TRAILERS = header_block([(b"a", b"b")])


class Call:
    """A call as it came; implements `core.http2.connection.Receiver`."""

    def __init__(self, server: Server, stream: Stream, head: CallHead) -> None:
        self.server = server
        self.stream = stream
        self.head = head
        self.body = b""
        self.events: list[str] = []
        self.is_incomplete = True

    def data(self, payload: bytes, *, is_last: bool) -> None:
        assert "end" not in self.events
        self.body += payload
        if is_last:
            self.events.append("end")
            if self.server.echoes:
                self.server.http2.answer(self.stream, OPENING_BLOCK, self.body, GOOD_END_BLOCK)

    def cancelled(self) -> None:
        self.events.append("cancelled")

    def sent(self) -> None:
        self.events.append("sent")


class Server:
    """A connection with what it was told, and what it said."""

    def __init__(
        self,
        opening: bytes = OPENING,
        *,
        echoes: bool = False,
        refuses: bool = False,
        limits: Http2Limits = DEFAULT_LIMITS,
    ) -> None:
        self.echoes = echoes
        self.refuses = refuses
        self.calls: list[Call] = []
        self.answers = Answers()
        self.http2 = Http2Connection(self._open, limits, lambda: 0.0)
        self.receive(opening)

    def _open(self, stream: Stream, head: CallHead) -> Call:
        self.calls.append(call := Call(self, stream, head))
        if self.refuses:
            self.http2.begin(stream, refusal_block(12, "no"), is_last=True)
        return call

    def receive(self, data: bytes) -> list[Frame]:
        """Take bytes; gives the frames that are sent in return."""
        self.http2.receive(data)
        while self.http2.has_more:
            self.http2.receive(b"")
        return self.said()

    def said(self) -> list[Frame]:
        unsent, self.http2.sending.unsent = self.http2.sending.unsent, []
        frames = frames_of(b"".join(unsent))
        self.answers.take(frames)
        return frames

    def answer(self, stream: int) -> CallAnswer:
        self.said()
        return self.answers.streams[stream]

    @property
    def only(self) -> Call:
        (only,) = self.calls
        return only


def fault_of(data: bytes, server: Server | None = None) -> Fault:
    """Return why a connection ends."""
    with pytest.raises(BrokenConnection) as caught:
        (server or Server()).receive(data)
    assert str(caught.value)
    return caught.value.fault


# Beginning.


def test_a_connection_begins_with_settings_and_a_wide_window() -> None:
    """So that large requests need not wait."""
    server = Server(b"")

    told, widened = server.answers.frames
    assert dict(http2.read_parameters(told.payload)) == {
        Setting.MAX_CONCURRENT_STREAMS: DEFAULT_LIMITS.streams,
        Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        Setting.MAX_HEADER_LIST_SIZE: 64 * 1024,
    }
    assert number(widened.payload) == CONNECTION_WINDOW - http2.INITIAL_WINDOW


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/1.1\r\n\r\n", b"x", PREFACE[:-1] + b"x", b"\x16\x03\x01\x02\x00\x01\x00"]
)
def test_what_is_no_http2_ends_the_connection(text: bytes) -> None:
    """HTTP/1.1 and TLS too."""
    assert fault_of(text, Server(b"")) is Fault.PROTOCOL_ERROR


def test_a_preface_may_come_in_pieces() -> None:
    """Until it is whole, nothing is known of the peer."""
    server = Server(OPENING[:10])
    assert not server.http2.is_established

    server.receive(OPENING[10:])

    assert server.http2.is_established


# Calls.


def test_a_call_is_answered_and_forgotten() -> None:
    """Headers, body, trailers; then the connection is idle."""
    server = Server(echoes=True)
    server.receive(OPEN)
    assert not server.http2.is_idle

    server.receive(frame(DATA, 0, 1, b"he") + frame(DATA, END_STREAM, 1, b"llo"))

    answer = server.answer(1)
    assert (answer.body, answer.status, answer.has_ended, answer.reset) == (b"hello", 0, True, None)
    assert server.only.head.path == PREDICT
    assert server.http2.is_idle


def test_a_call_may_end_with_its_headers_or_with_trailers() -> None:
    """Nothing came, or nothing more comes."""
    server = Server(echoes=True)

    server.receive(OPEN_AND_END)
    server.receive(frame(HEADERS, END_HEADERS, 3, head_block()) + frame(DATA, 0, 3, b"x"))
    server.receive(frame(HEADERS, END_HEADERS | END_STREAM, 3, TRAILERS))

    assert server.answer(1).body == b""
    assert server.answer(3).body == b"x"


def test_a_call_that_is_refused_at_once_hears_nothing_more() -> None:
    """A client that still sends is told to stop; what it has sent is passed over."""
    server = Server(refuses=True)

    server.receive(OPEN + frame(DATA, 0, 1, b"x") + frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS))
    server.receive(call(3, b"x"))

    assert (server.answer(1).status, server.answer(1).reset) == (12, Fault.NO_ERROR)
    assert server.calls[0].events == []
    assert server.http2.is_idle


def test_a_call_that_is_refused_after_its_end_is_not_reset() -> None:
    """There is nothing to be stopped."""
    server = Server(refuses=True)

    server.receive(OPEN_AND_END)

    assert (server.answer(1).status, server.answer(1).reset) == (12, None)


def test_a_reset_cancels_a_call() -> None:
    """Once; an answer that comes later is dropped."""
    server = Server()
    server.receive(OPEN_AND_END + reset(1, Fault.CANCEL) + reset(1, Fault.CANCEL) + window_update(1, 5))

    stream = server.only.stream
    server.http2.begin(stream, OPENING_BLOCK)
    server.http2.send(stream, b"late", GOOD_END_BLOCK)
    server.http2.answer(stream, OPENING_BLOCK, b"late", GOOD_END_BLOCK)

    assert server.only.events == ["end", "cancelled"]
    assert server.said() == []


def test_a_connection_that_is_gone_cancels_its_calls() -> None:
    """All of them."""
    server = Server()
    server.receive(OPEN + call(3))

    server.http2.close()

    assert [one.events for one in server.calls] == [["cancelled"], ["end", "cancelled"]]
    assert server.http2.is_idle


def test_streams_are_bounded() -> None:
    """One too many is refused in a way that lets clients repeat it."""
    server = Server()
    server.receive(
        b"".join(
            frame(HEADERS, END_HEADERS, 1 + 2 * index, head_block()) for index in range(DEFAULT_LIMITS.streams + 1)
        )
    )

    assert len(server.calls) == DEFAULT_LIMITS.streams
    assert server.answer(1 + 2 * DEFAULT_LIMITS.streams).reset == Fault.REFUSED_STREAM


# Mistakes of a stream.


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (OPEN_AND_END + frame(DATA, 0, 1, b"x"), Fault.STREAM_CLOSED),
        (OPEN_AND_END + frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS), Fault.STREAM_CLOSED),
        (OPEN + frame(HEADERS, END_HEADERS, 1, TRAILERS), Fault.PROTOCOL_ERROR),
        (OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 1, head_block()), Fault.PROTOCOL_ERROR),
        (OPEN + window_update(1, LARGEST_WINDOW), Fault.FLOW_CONTROL_ERROR),
        (OPEN + window_update(1, 0), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, header_block([(b"a", b"b")])), Fault.PROTOCOL_ERROR),
    ],
    ids=["data after the end", "trailers after the end", "trailers without end", "headers twice", "window too wide", "window as before", "malformed"],
)  # fmt: skip
def test_a_mistake_of_a_stream_ends_only_that(frames: bytes, fault: Fault) -> None:
    """The call is cancelled, and the next one answered."""
    server = Server()

    server.receive(frames)
    server.echoes = True
    server.receive(call(3, b"x"))

    assert server.answer(1).reset == fault
    assert all(one.events[-1] == "cancelled" for one in server.calls[:-1])
    assert server.answer(3).status == 0


# Mistakes of the connection.


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (frame(HEADERS, END_HEADERS, 0, head_block()), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 2, head_block()), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 5, head_block()) + OPEN, Fault.PROTOCOL_ERROR),
        (OPEN_AND_END + reset(1, Fault.CANCEL) + OPEN_AND_END, Fault.STREAM_CLOSED),
        (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + head_block()[:100]), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, bytes(4)), Fault.FRAME_SIZE_ERROR),
        (frame(HEADERS, END_HEADERS, 1, b"\xff"), Fault.COMPRESSION_ERROR),
        (OPEN_AND_END + reset(1, Fault.CANCEL) + frame(HEADERS, END_HEADERS, 1, b"\xff"), Fault.COMPRESSION_ERROR),
        (frame(HEADERS, 0, 1, head_block()) + frame(PING, 0, 0, bytes(8)), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, head_block()) + frame(CONTINUATION, END_HEADERS, 3), Fault.PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, 1), Fault.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1), Fault.ENHANCE_YOUR_CALM),
        (frame(HEADERS, 0, 1) + 17 * frame(CONTINUATION, 0, 1, bytes(16384)), Fault.ENHANCE_YOUR_CALM),
        (frame(DATA, 0, 0, b"x"), Fault.PROTOCOL_ERROR),
        (frame(DATA, 0, 1, b"x"), Fault.PROTOCOL_ERROR),
        (frame(DATA, 0, 2, b"x"), Fault.PROTOCOL_ERROR),
        (OPEN + frame(DATA, PADDED, 1, b"\x02\x00"), Fault.PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 0, bytes(5)), Fault.PROTOCOL_ERROR),
        (frame(PRIORITY, 0, 1, bytes(4)), Fault.FRAME_SIZE_ERROR),
        (reset(0, Fault.CANCEL), Fault.PROTOCOL_ERROR),
        (reset(1, Fault.CANCEL), Fault.PROTOCOL_ERROR),
        (OPEN + frame(RST_STREAM, 0, 1, bytes(3)), Fault.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 1), Fault.PROTOCOL_ERROR),
        (frame(SETTINGS, ACK, 0, bytes(6)), Fault.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, bytes(5)), Fault.FRAME_SIZE_ERROR),
        (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), Fault.PROTOCOL_ERROR),
        (frame(PING, 0, 1, bytes(8)), Fault.PROTOCOL_ERROR),
        (frame(PING, 0, 0, bytes(7)), Fault.FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), Fault.PROTOCOL_ERROR),
        (window_update(0, 0), Fault.PROTOCOL_ERROR),
        (window_update(3, 1), Fault.PROTOCOL_ERROR),
        (window_update(0, LARGEST_WINDOW), Fault.FLOW_CONTROL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), Fault.FRAME_SIZE_ERROR),
        (OPEN + window_update(1, LARGEST_WINDOW - 70_000) + http2.settings({Setting.INITIAL_WINDOW_SIZE: 80_000}), Fault.FLOW_CONTROL_ERROR),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", Fault.FRAME_SIZE_ERROR),
    ],
)  # fmt: skip
def test_a_mistake_of_the_connection_ends_it(frames: bytes, fault: Fault) -> None:
    """With the fault of RFC 9113; which calls were taken is told too."""
    server = Server()

    assert fault_of(frames, server) is fault

    server.http2.break_off(BrokenConnection(fault, "why"))
    goodbye = server.said()[-1]
    assert goodbye.kind == GOAWAY
    assert int.from_bytes(goodbye.payload[4:8], "big") == fault
    assert int.from_bytes(goodbye.payload[:4], "big") == max([one.stream.id for one in server.calls], default=0)


def test_frames_that_need_no_answer_are_passed_over() -> None:
    """Priorities, a goodbye, and kinds of frames that are not known."""
    server = Server()
    unneeded = frame(PRIORITY, 0, 1, bytes(5)) + frame(GOAWAY, 0, 0, bytes(8)) + frame(99, 255, 7, b"x")

    assert server.receive(unneeded + frame(SETTINGS, ACK, 0) + frame(PING, ACK, 0, bytes(8))) == []


def test_padding_and_priority_change_nothing() -> None:
    """They count as data sent, and that is all."""
    server = Server(echoes=True)

    padded = b"\x03" + bytes(5) + head_block() + bytes(3)
    server.receive(frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, padded))
    server.receive(frame(DATA, PADDED, 1, b"\x01a\x00") + frame(DATA, PADDED | END_STREAM, 1, b"\x00b"))

    server.receive(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 3, b"\x01" + head_block() + bytes(1)))

    assert [one.head.path for one in server.calls] == [PREDICT, PREDICT]
    assert server.answer(1).body == b"ab"


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_headers_may_come_in_many_frames(piece: int) -> None:
    """The last one says so."""
    server = Server(echoes=True)
    block = head_block(PREDICT, (b"a", b"x" * 2000))

    parts = [block[at : at + piece] for at in range(0, len(block), piece)]
    server.receive(frame(HEADERS, END_STREAM, 1, parts[0]))
    server.receive(b"".join(frame(CONTINUATION, 0, 1, part) for part in parts[1:]))
    assert server.calls == []
    server.receive(frame(CONTINUATION, END_HEADERS, 1))

    assert server.answer(1).status == 0


# Windows.


def test_the_peers_windows_are_renewed_in_time() -> None:
    """Whatever it sends in frames of any size, it never has to stop."""
    server = Server()
    server.receive(OPEN)
    room, room_of_stream = CONNECTION_WINDOW, STREAM_WINDOW
    for _ in range(4000):
        room, room_of_stream = room - 16384, room_of_stream - 16384
        for one in server.receive(frame(DATA, 0, 1, bytes(16384))):
            room += 0 if one.stream else number(one.payload)
            room_of_stream += number(one.payload) if one.stream else 0
        assert min(room, room_of_stream) > 0
        server.only.body = b""


def test_more_data_than_the_windows_allow_ends_the_connection(monkeypatch) -> None:
    """A peer that does not count could fill the memory."""
    for of_stream in (False, True):
        server = Server()
        server.receive(OPEN)
        if of_stream:
            server.only.stream.allowed = 10
        else:
            monkeypatch.setattr(server.http2._windows, "_room", 10)

        assert fault_of(frame(DATA, 0, 1, bytes(11)), server) is Fault.FLOW_CONTROL_ERROR


def test_an_answer_waits_for_the_peers_windows() -> None:
    """Its own and that of the connection, and goes on by itself."""
    server = Server(echoes=True)
    server.receive(http2.settings({Setting.INITIAL_WINDOW_SIZE: 2}))

    server.receive(OPEN + frame(DATA, END_STREAM, 1, b"hello"))
    assert server.answer(1).body == b"he"
    server.receive(window_update(1, 1))
    assert server.answer(1).body == b"hel"
    server.receive(http2.settings({Setting.INITIAL_WINDOW_SIZE: 4}))

    assert server.answer(1).body == b"hello"
    assert server.answer(1).has_ended
    assert server.http2.is_idle
    assert server.only.events == ["end"]


def test_who_sends_messages_learns_when_they_are_on_their_way() -> None:
    """So that no more are made than the peer lets through."""
    server = Server()
    server.receive(http2.settings({Setting.INITIAL_WINDOW_SIZE: 0}) + OPEN_AND_END)
    stream = server.only.stream
    server.http2.begin(stream, OPENING_BLOCK)
    server.http2.send(stream, b"abc")
    assert stream.waiting

    server.receive(window_update(1, 1))
    assert server.only.events == ["end"]
    server.receive(window_update(1, 2))

    assert server.only.events == ["end", "sent"]
    assert server.answer(1).body == b"abc"


def test_the_connections_window_lets_all_streams_go_on() -> None:
    """Those that are finished by it are forgotten."""
    server = Server(echoes=True)
    server.receive(http2.settings({Setting.INITIAL_WINDOW_SIZE: 2**20}))
    for stream in (1, 3):
        server.receive(frame(HEADERS, END_HEADERS, stream, head_block()))
        for _ in range(5):
            server.receive(frame(DATA, 0, stream, bytes(10_000)))
        server.receive(frame(DATA, END_STREAM, stream))
    assert not server.http2.is_idle

    server.receive(window_update(0, 100_000))

    assert [len(server.answer(stream).body) for stream in (1, 3)] == [50_000, 50_000]
    assert server.http2.is_idle


def test_the_windows_of_all_streams_are_looked_at_once_a_turn(monkeypatch) -> None:
    """A flood of settings costs no more than one."""
    server, looks = Server(), []
    monkeypatch.setattr(server.http2, "_resume_all", lambda: looks.append(1))

    wider = [http2.settings({Setting.INITIAL_WINDOW_SIZE: size}) for size in range(100)]
    acknowledged = server.receive(b"".join(wider) + http2.settings({Setting.INITIAL_WINDOW_SIZE: 7}))
    server.receive(b"".join(reversed(wider[:7])))

    assert len(acknowledged) == 101
    assert looks == [1]


# Budgets. Whether as many as an honest peer sends are allowed is tested with the limits that connections have.


SMALL = Http2Limits(
    streams=5,
    control=Rate(5, 1.0, per_answer=2.0, per_refusal=1.0, per_byte=1 / 256),
    resets=Rate(3, 1.0, per_answer=1.0),
    head_work=Rate(2000, 1.0, per_answer=2000.0),
)
CANCEL_1 = reset(1, Fault.CANCEL)
PART = frame(HEADERS, 0, 3, head_block()[:-9])


@pytest.mark.parametrize(
    ("opening", "content"),
    [
        (b"", frame(PRIORITY, 0, 1, bytes(5))),
        (b"", frame(99, 0, 0)),
        (b"", frame(PING, 0, 0, bytes(8))),
        (b"", frame(PING, ACK, 0, bytes(8))),
        (b"", frame(SETTINGS, 0, 0)),
        (b"", frame(SETTINGS, ACK, 0)),
        (b"", frame(GOAWAY, 0, 0, bytes(8))),
        (b"", window_update(0, 1)),
        (OPEN, window_update(1, 1)),
        (OPEN, frame(DATA, 0, 1)),
        (OPEN, frame(DATA, PADDED, 1, bytes([200]) + bytes(200))),
        (OPEN, frame(DATA, 0, 1, b"x")),
        (OPEN + CANCEL_1, CANCEL_1),
        (OPEN + CANCEL_1, window_update(1, 1)),
        (OPEN + CANCEL_1, frame(DATA, 0, 1)),
        (PART, frame(CONTINUATION, 0, 3, head_block()[-9:-8])),
    ],
    ids=["priority", "unknown", "ping", "answer to a ping", "settings", "settings acknowledged", "goaway", "window", "window of a stream", "empty data", "padding", "a byte", "reset of a closed stream", "window of a closed stream", "data of a closed stream", "a part of a head"],
)  # fmt: skip
def test_frames_that_no_call_needs_end_the_connection(opening: bytes, content: bytes) -> None:
    """Some are allowed; one more is too much."""
    server = Server(limits=SMALL)
    server.receive(opening + content * 4)

    assert fault_of(content * 2, server) is Fault.ENHANCE_YOUR_CALM


def opened(stream: int, *fields: tuple[bytes, bytes]) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, head_block(PREDICT, *fields))


@pytest.mark.parametrize(
    "ends",
    [
        lambda stream: opened(stream) + reset(stream, Fault.CANCEL),
        lambda stream: call(stream) + reset(stream, Fault.CANCEL),
        lambda stream: call(stream) + frame(DATA, END_STREAM, stream),
        lambda stream: opened(stream) + window_update(stream, LARGEST_WINDOW),
        lambda stream: frame(HEADERS, END_HEADERS, stream, header_block([(b"a", b"b")])),
    ],
    ids=["half a call", "a call", "data behind the end", "a window too wide", "malformed"],
)
def test_calls_that_are_opened_and_reset_end_the_connection(ends: Any) -> None:
    """Whichever side resets them."""
    server = Server(limits=SMALL)
    for number_ in range(3):
        server.receive(ends(1 + 2 * number_))

    assert fault_of(ends(7), server) is Fault.ENHANCE_YOUR_CALM
    assert all(one.events[-1] == "cancelled" for one in server.calls)


def test_streams_beyond_the_bound_end_the_connection() -> None:
    """A peer that has been refused often enough knows the bound."""
    server = Server(limits=SMALL)
    server.receive(b"".join(opened(number_) for number_ in range(1, 17, 2)))
    assert len(server.calls) == 5

    assert fault_of(opened(17), server) is Fault.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "fields",
    [[(b"a", b"x" * 900)], [(b"a", b"")] * 80],
    ids=["large", "many"],
)
def test_large_heads_end_the_connection(fields: list[tuple[bytes, bytes]]) -> None:
    """Counted by their bytes and by their fields, because both take time."""
    server = Server(limits=SMALL)

    heads = [opened(number_, *fields, (b"n", b"%d" % number_ + b"y" * 200)) for number_ in range(1, 21, 2)]
    server.receive(heads[0])

    assert fault_of(b"".join(heads[1:]), server) is Fault.ENHANCE_YOUR_CALM


def test_answers_pay_for_what_belongs_to_them() -> None:
    """A connection that is used for calls may send resets, windows, pings and metadata with each of them, for years."""
    server = Server(echoes=True, limits=SMALL)
    for number_ in range(1, 401, 4):
        server.receive(opened(number_, (b"n", b"%d" % number_ * 500)) + frame(DATA, 0, number_, b"x" * 100))
        server.receive(frame(DATA, END_STREAM, number_, b"x") + frame(PING, 0, 0, bytes(8)) + window_update(0, 100))
        server.receive(opened(number_ + 2) + reset(number_ + 2, Fault.CANCEL))

    assert server.answer(397).status == 0


HONEST = {
    "a ping for each burst of data": frame(PING, 0, 0, bytes(8)) * 3 + window_update(0, 10),
    "windows of both kinds": window_update(0, 10) * 4,
    "priorities for each call": frame(PRIORITY, 0, 1, bytes(5)) * 3 + window_update(0, 10),
}


@pytest.mark.parametrize("extra", HONEST.values(), ids=HONEST.keys())
@pytest.mark.parametrize("refuses", [False, True])
def test_honest_patterns_go_on_without_end(extra: bytes, *, refuses: bool) -> None:
    """Far beyond any burst, and without a second that passes."""
    if refuses:
        extra = b""
    server = Server(echoes=True, refuses=refuses)
    for number_ in range(1, 8001, 2):
        server.http2.receive(call(number_, b"x") + extra)
        server.http2.sending.unsent.clear()

    assert server.http2.is_idle
    assert server.http2.sending.merits.answers == (0 if refuses else 4000)


def test_all_open_calls_may_be_reset_at_once() -> None:
    """As when all of them have the same deadline; again after a second."""
    server = Server()
    for first in (1, 2001):
        server.receive(b"".join(opened(one) for one in range(first, first + 2000, 2)))
        server.receive(b"".join(reset(one, Fault.CANCEL) for one in range(first, first + 2000, 2)))

    assert server.http2.is_idle


def test_the_work_of_calls_ends_a_turn() -> None:
    """Long before as many frames have been taken."""
    server = Server(limits=Http2Limits(turn=100, work_of_a_call=30))
    server.http2.receive(b"".join(opened(one) for one in range(1, 21, 2)))

    assert server.http2.has_more
    assert len(server.calls) == 4


def test_unfinished_requests_are_known() -> None:
    """Those of which the peer must send more; not those that wait for an answer."""
    server = Server()
    server.receive(OPEN + frame(DATA, 0, 1, b"x" * 100) + call(3) + opened(5) + opened(7))
    server.calls[2].is_incomplete = False

    assert server.http2.unfinished() == {(STREAM, 1): 100, (STREAM, 7): 0}
    assert server.http2.open_stream(7) is server.calls[3].stream
    assert server.http2.open_stream(9) is None


# Leaving.


def test_leaving_takes_the_calls_that_are_on_their_way() -> None:
    """Until the peer has shown that it knows; what it opens then is not answered, and it knows that too."""
    server = Server(echoes=True)
    server.http2.leave()
    goaway, ping = server.said()
    assert (goaway.payload[:4], ping.payload) == (LARGEST_WINDOW.to_bytes(4, "big"), LEAVING)

    server.receive(call(1, b"x"))
    assert server.answer(1).status == 0
    (last,) = server.receive(frame(PING, ACK, 0, LEAVING))
    assert last.payload[:4] == b"\x00\x00\x00\x01"
    server.receive(call(3, b"x") + reset(3, Fault.CANCEL) + frame(DATA, 0, 5, b"x") + window_update(7, 1))

    assert 3 not in server.answers.streams
    assert server.http2.has_left


def test_only_who_is_leaving_leaves() -> None:
    """An answer to a ping that nobody sent means nothing; and nobody leaves twice."""
    server = Server()
    assert server.receive(frame(PING, ACK, 0, LEAVING)) == []
    assert not server.http2.has_left

    server.http2.leave_now()
    server.http2.leave_now()

    assert [one.kind for one in server.said()] == [GOAWAY]


# Properties.


def conversation() -> bytes:
    """A client that uses everything."""
    encoder, large = Encoder(), b"x" * 300
    block = encoder.encode(head_fields(PREDICT, (b"a", b"b")))
    again = encoder.encode(head_fields(PREDICT, (b"a", b"b")))
    return b"".join(
        [
            OPENING,
            http2.settings({Setting.INITIAL_WINDOW_SIZE: 50, Setting.HEADER_TABLE_SIZE: 0}),
            frame(HEADERS, 0, 1, block[:10]),
            frame(CONTINUATION, END_HEADERS, 1, block[10:]),
            frame(DATA, PADDED, 1, b"\x02" + large + bytes(2)),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, again),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, END_STREAM, 1, large),
            frame(HEADERS, END_HEADERS, 5, again),
            reset(5, Fault.CANCEL),
            window_update(1, 500),
            http2.settings({Setting.INITIAL_WINDOW_SIZE: 1000}),
            frame(99, 0, 0, b"unknown"),
        ]
    )


def outcome(pieces: list[bytes]) -> Any:
    server = Server(b"", echoes=True)
    for piece in pieces:
        server.receive(piece)
    answers = {key: (one.fields, one.body, one.has_ended, one.reset) for key, one in server.answers.streams.items()}
    return answers, [(one.head, one.body, one.events) for one in server.calls]


def test_a_conversation_may_be_cut_anywhere() -> None:
    """At every position, and into single bytes."""
    talk = conversation()
    whole = outcome([talk])

    assert all(outcome([talk[:at], talk[at:]]) == whole for at in range(len(talk)))
    assert outcome([bytes([one]) for one in talk]) == whole
    assert whole[0][1][1] == b"x" * 600


@given(st.lists(st.integers(0, 2000), max_size=20))
def test_a_conversation_may_be_cut_into_any_pieces(at: list[int]) -> None:
    """The same answers to the same calls."""
    talk = conversation()
    edges = [0, *sorted(min(one, len(talk)) for one in at), len(talk)]

    assert outcome([talk[begin:end] for begin, end in itertools.pairwise(edges)]) == outcome([talk])


FRAMES = st.builds(
    frame,
    st.integers(0, 10),
    st.integers(0, 255),
    st.integers(0, 6),
    st.one_of(
        st.binary(max_size=40), st.sampled_from([head_block(), bytes(4), bytes(5), bytes(6), bytes(8), b"\0\0\0\1"])
    ),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(FRAMES, st.just(OPEN), st.just(call(3, b"x"))), max_size=12), st.binary(max_size=30))
def test_random_frames_never_raise_anything_but_a_broken_connection(frames: list[bytes], rest: bytes) -> None:
    """And what is said in return are whole frames."""
    server = Server(echoes=True)
    try:
        server.receive(b"".join(frames) + rest)
    except BrokenConnection as error:
        server.http2.break_off(error)
    server.said()
    server.http2.close()

    assert server.http2.is_idle


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_but_a_broken_connection(data: bytes) -> None:
    """Behind the preface or instead of it."""
    for opening in (b"", PREFACE):
        try:
            Server(b"").receive(opening + data)
        except BrokenConnection:
            continue


class Peer:
    """The library `h2` as the client of a server that sends back what it gets."""

    def __init__(self, window: int, frame_size: int) -> None:
        self.server = Server(b"", echoes=True)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        codes = h2.settings.SettingCodes
        self.client.update_settings({codes.INITIAL_WINDOW_SIZE: window, codes.MAX_FRAME_SIZE: frame_size})
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.server.said()
        self.to_client = b"".join(
            frame(one.kind, one.flags, one.stream, one.payload) for one in self.server.answers.frames
        )

    def exchange(self) -> None:
        """Carry bytes until nobody has any."""
        while True:
            sent = self.client.data_to_send()
            if sent:
                self.to_client += b"".join(frame(*one) for one in self.server.receive(sent))
            if not self.to_client:
                return
            data, self.to_client = self.to_client, b""
            for event in self.client.receive_data(data):
                self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)

    def send(self, bodies: list[bytes]) -> None:
        """Send all at once, a piece of each in turn."""
        unsent = {}
        for body in bodies:
            stream = self.client.get_next_available_stream_id()
            self.client.send_headers(stream, [(name.decode(), value.decode()) for name, value in head_fields()])
            self.bodies[stream], unsent[stream] = b"", body
        while unsent:
            for stream in tuple(unsent):
                size = min(self.client.local_flow_control_window(stream), self.client.max_outbound_frame_size)
                piece, unsent[stream] = unsent[stream][:size], unsent[stream][size:]
                self.client.send_data(stream, piece, end_stream=not unsent[stream])
                if not unsent[stream]:
                    del unsent[stream]
            self.exchange()


@settings(max_examples=40)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 100), st.integers(0, 300_000)), min_size=1, max_size=6),
    window=st.one_of(st.integers(1000, 5000), st.integers(1000, 2**31 - 1)),
    frame_size=st.integers(16384, 2**24 - 1),
)
def test_messages_come_through_intact_both_ways(sizes: list[int], window: int, frame_size: int) -> None:
    """With an independent client, whatever its windows and its frames."""
    peer = Peer(window, frame_size)
    bodies = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    peer.exchange()

    peer.send(bodies)

    assert list(peer.bodies.values()) == bodies
    assert len(peer.ended) == len(bodies)
    assert peer.server.http2.is_idle
