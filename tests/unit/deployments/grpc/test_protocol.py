"""Tests of one connection to our own gRPC server: both ways of a call, their ends, and hostile clients."""

from __future__ import annotations

import asyncio
import math

import pytest

from core.errors import Code, DeadlineExceeded, Unavailable
from core.http2.budget import Http2Limits, Rate
from core.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    Fault,
    frame,
    reset,
    window_update,
)
from core.http2.grpc_heads import header_block
from core.http2.progress import ProgressLimits
from core.routing.transport import Answer, ConnectionLost
from deployments.grpc import protocol as grpc_protocol
from deployments.grpc.protocol import GrpcProtocol
from deployments.routing import direct_connection
from tests.support.clients import wait_until
from tests.support.doors.door_sites import ScriptedTime
from tests.support.doors.grpc_calls import BODY, GZIP, REFLECT, WATCH, asked, opened, predict_body, whole
from tests.support.doors.grpc_sites import GrpcSite, GrpcSiteMaker
from tests.support.doors.raw_http2 import OPENING, PREDICT, RawHttp2, call, head_block, message


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (call(1, BODY), None),
        (call(1, predict_body(version={"value": 1})), None),
        (call(1, predict_body(version={"value": 7})), None),
        (call(1, predict_body(version_label="stable")), None),
        (call(1, predict_body(version_label="none")), None),
        (call(1, predict_body("none")), None),
        (call(1, b""), None),
        (call(1, b"\xff"), None),
        (call(1, BODY, "/tensorflow.serving.PredictionService/Regress"), None),
        (call(1, BODY), Answer(Code.INVALID_ARGUMENT, "n\u00e4in\n100 % ".encode())),
        (call(1, BODY), Answer(Code.INTERNAL, b"x" * 5000)),
        (call(1, BODY), Answer(Code.OK, b"x" * 30_000)),
        (call(1, BODY), Answer(Code.OK, b"")),
        (call(1, BODY), Unavailable("full")),
        (call(1, BODY), DeadlineExceeded("late")),
        (call(1, BODY, PREDICT, (b"grpc-timeout", b"99999999H")), None),
        (call(1, BODY, PREDICT, (b"grpc-timeout", b"0n")), None),
        (call(1, BODY, PREDICT, (b"a-bin", b"AP8")), None),
        (opened() + frame(DATA, 0, 1, message(BODY)) + frame(DATA, END_STREAM, 1), None),
        (opened() + b"".join(frame(DATA, 0, 1, bytes([one])) for one in message(BODY)) + frame(DATA, END_STREAM, 1), None),
    ],
)  # fmt: skip
def test_both_ways_give_the_same_answer_and_count(both_ways: tuple[GrpcSite, GrpcSite], content: bytes, answer) -> None:
    """A client cannot tell which way its call took; nor can an operator."""
    for site in both_ways:
        site.forget(answer)

    short, handled = [asked(site, content) for site in both_ways]

    assert short == handled
    assert both_ways[0].counts == both_ways[1].counts != {}
    calls = [[(one.method, one.body) for _, one in site.transport.calls] for site in both_ways]
    assert calls[0] == calls[1]
    assert all(site.is_idle for site in both_ways)


TRUNCATED, TWICE = message(BODY)[:-1], message(BODY) * 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, head_block()), Code.INTERNAL),
        (whole(b"\x00\x00"), Code.INTERNAL),
        (whole(TRUNCATED), Code.INTERNAL),
        (whole(TWICE), Code.INTERNAL),
        (whole(message(BODY) + b"\x00"), Code.INTERNAL),
        (whole(b"\x00\xff\xff\xff\xff"), Code.RESOURCE_EXHAUSTED),
        (whole(b"\x01" + message(BODY)[1:]), Code.INTERNAL),
        (whole(TRUNCATED, GZIP), Code.INTERNAL),
        (whole(TWICE, GZIP), Code.INTERNAL),
        (whole(message(BODY) + b"\x00", GZIP), Code.INTERNAL),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, head_block(PREDICT, GZIP)), Code.INTERNAL),
        (whole(b"\x00\xff\xff\xff\xff", GZIP), Code.RESOURCE_EXHAUSTED),
        (whole(b"\x01" + message(b"nonsense")[1:], GZIP), Code.INTERNAL),
        (whole(message(BODY), (b"grpc-encoding", b"snappy")), Code.UNIMPLEMENTED),
        (whole(message(BODY), (b"grpc-timeout", b"soon")), Code.INTERNAL),
        (whole(message(BODY), path="/tensorflow.serving.PredictionService/None"), Code.UNIMPLEMENTED),
        (whole(message(BODY), path="//"), Code.UNIMPLEMENTED),
        (whole(message(b"\xff"), path=WATCH), Code.INTERNAL),
    ],
)  # fmt: skip
def test_what_is_not_a_call_is_refused_and_the_connection_goes_on(site: GrpcSite, content: bytes, code: Code) -> None:
    """With one status; it never reaches a model."""
    with RawHttp2(site.port) as client:
        client.send(content)
        refused, good = client.answer(1), client.ask(3, BODY)

    assert refused.status == code
    assert good.status == 0
    assert len(site.transport.calls) == 1
    assert site.is_idle


@pytest.mark.parametrize(("method", "status"), [(b"GET", "405"), (b"POST", "415")])
def test_what_is_not_grpc_gets_a_status_of_http(site: GrpcSite, method: bytes, status: str) -> None:
    """Browsers and probes read nothing else."""
    block = header_block([(b":method", method), (b":scheme", b"http"), (b":path", b"/")])

    answer = asked(site, frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert answer.fields[":status"] == status


def test_a_lost_connection_is_tried_once_more(make_site: GrpcSiteMaker) -> None:
    """The client of a replica that was killed notices nothing; a second loss is told."""
    site = make_site(answer=ConnectionLost("gone"))

    answer = asked(site, call(1, BODY))

    assert answer.status == Code.UNAVAILABLE
    assert len(site.transport.calls) == 2
    assert site.is_idle


def test_a_repetition_that_fails_unexpectedly_is_an_internal_error(make_site: GrpcSiteMaker, monkeypatch) -> None:
    """Nobody waits for ever, and nothing stays in flight."""
    site = make_site(answer=ConnectionLost("gone"))

    async def fails(*_: object) -> Answer:
        raise OSError("odd")

    monkeypatch.setattr("tests.support.fakes.FakeTransport.repeat", fails)

    answer = asked(site, call(1, BODY))

    assert (answer.status, answer.text) == (Code.INTERNAL, "OSError: odd")
    assert site.is_idle


def test_a_call_that_takes_too_long_times_out(site: GrpcSite, monkeypatch) -> None:
    """The model server is told with the call; the router itself waits a little longer."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.01)
    release = site.hold()

    answer = asked(site, call(1, BODY, PREDICT, (b"grpc-timeout", b"200m")))

    assert answer.status == Code.DEADLINE_EXCEEDED
    assert site.counts == {("m", "DEADLINE_EXCEEDED"): 1}
    assert site.is_idle
    release()


@pytest.mark.parametrize("way", ["short", "handled"])
@pytest.mark.parametrize("end", ["reset", "connection closed", "connection reset", "protocol broken"])
def test_a_client_that_goes_withdraws_its_call(make_site: GrpcSiteMaker, way: str, end: str) -> None:
    """Nobody works for nobody, and the call counts as cancelled."""
    site = make_site(way)
    site.hold()
    with RawHttp2(site.port) as client:
        client.send(call(1, BODY))
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way")
        if end == "connection reset":
            client.reset()
        elif end == "connection closed":
            client.socket.close()
        else:
            client.send(reset(1, Fault.CANCEL) if end == "reset" else window_update(0, 0))

        wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn")
        wait_until(lambda: site.is_idle, "nothing is in flight")
    wait_until(lambda: site.counts == {("m", "CANCELLED"): 1}, "it is counted")


def test_a_client_that_dies_within_a_message_leaves_nothing(site: GrpcSite) -> None:
    """Nothing was begun, so nothing is counted."""
    with RawHttp2(site.port) as client:
        client.send(opened() + frame(DATA, 0, 1, TRUNCATED))
        assert client.is_alive()

    wait_until(lambda: not site.connections, "the connection is gone")
    assert site.is_idle
    assert site.transport.calls == []


def test_a_storm_of_resets_leaves_nothing(site: GrpcSite) -> None:
    """Others are answered meanwhile."""
    with RawHttp2(site.port) as client, RawHttp2(site.port) as other:
        head, data, number = head_block(), frame(DATA, END_STREAM, 0, message(BODY))[9:], 1
        for round_ in range(10):
            storm = bytearray()
            for _ in range(150):
                storm += frame(HEADERS, END_HEADERS, number, head) + frame(DATA, END_STREAM, number, data)
                storm += reset(number, Fault.CANCEL)
                number += 2
            client.send(bytes(storm))
            assert other.ask(2 * round_ + 1, BODY).status == 0
        assert client.is_alive()
        assert all(one.http2.is_idle for one in site.connections)

    wait_until(lambda: site.is_idle, "nothing is in flight")
    assert site.counts == {("m", "OK"): 10, ("m", "CANCELLED"): 1500}


def test_many_streams_without_window_cost_others_nothing(make_site: GrpcSiteMaker) -> None:
    """Neither windows that are widened one by one, nor one that all streams have, are looked at again and again."""
    site = make_site(answer=Answer(Code.OK, b"x" * 100))
    streams = range(1, 2001, 2)
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(b"".join(call(number, BODY) for number in streams))
        wait_until(lambda: site.is_idle and len(site.transport.calls) == len(streams), "all are answered")

        client.send(b"".join(window_update(number, 1) for number in streams))
        for size in range(1, 1000):
            client.tell(initial_window_size=size % 2)
        assert client.is_alive()
        client.tell(initial_window_size=1000)
        client.send(window_update(0, 2**20))

        for number in streams:
            assert len(client.answer(number).body) == 105


def sends(client: RawHttp2, content: bytes) -> bool:
    """Whether the server takes it."""
    try:
        client.send(content)
    except TimeoutError:
        return False
    return True


def test_a_client_that_does_not_read_is_not_read_from(make_site: GrpcSiteMaker) -> None:
    """What it asks for waits in its own buffers."""
    site = make_site(answer=Answer(Code.OK, b"x" * 500_000))
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=2**31 - 1)
        client.send(window_update(0, 2**30))
        client.socket.settimeout(0.5)
        number = 1
        while sends(client, b"".join(call(one, BODY) for one in range(number, number + 100, 2))):
            number += 100
            assert number < 2_000_000

        assert len(site.transport.calls) < 10_000


def test_a_client_that_violates_the_protocol_gets_the_reason_and_is_closed(site: GrpcSite) -> None:
    """Text of HTTP/1.1 too."""
    with RawHttp2(site.port, b"GET / HTTP/1.1\r\n\r\n") as client:
        assert client.fault() == Fault.PROTOCOL_ERROR
    with RawHttp2(site.port) as client:
        client.send(frame(PING, 0, 0, b"short"))
        assert client.fault() == Fault.FRAME_SIZE_ERROR

    wait_until(lambda: not site.connections, "both are gone")


def test_a_client_that_does_not_read_the_reason_is_closed_all_the_same(site: GrpcSite, monkeypatch) -> None:
    """It could keep its connection for ever."""
    monkeypatch.setattr(grpc_protocol, "GOAWAY_TIME_S", 0.1)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        (connection,) = site.connections

        async def block() -> None:
            connection.http2.sending.unsent.append(bytes(50_000_000))
            connection.data_received(frame(PING, 0, 0, b"short"))

        site.loop.run(block()).result(60)

        wait_until(lambda: not site.connections, "the connection is gone")


def test_a_connection_without_preface_is_closed(site: GrpcSite, monkeypatch) -> None:
    """One that never says that it speaks HTTP/2; others may be silent as long as they like."""
    monkeypatch.setattr(grpc_protocol, "PREFACE_TIMEOUT_S", 0.2)

    with RawHttp2(site.port, OPENING[:10]) as stranger, RawHttp2(site.port) as client:
        stranger.read_until(lambda: stranger.is_closed)
        assert client.is_alive()


# Budgets and turns.

SMALL = Http2Limits(resets=Rate(20, 0.0), turn=50, work_of_a_call=10)


def test_a_client_that_costs_too_much_gets_the_reason_and_is_closed(site: GrpcSite, monkeypatch) -> None:
    """Even one that goes on sending: its calls are withdrawn at once, and others are answered."""
    monkeypatch.setattr(GrpcProtocol, "limits", SMALL)
    with RawHttp2(site.port) as client, RawHttp2(site.port) as other:
        client.send(b"".join(call(one, BODY) + reset(one, Fault.CANCEL) for one in range(1, 2001, 2)))

        assert client.fault() == Fault.ENHANCE_YOUR_CALM
        assert other.ask(1, BODY).status == 0
        wait_until(lambda: site.is_idle, "nothing is in flight")
        wait_until(lambda: len(site.connections) == 1, "the connection is gone")

    assert site.counts == {("m", "OK"): 1, ("m", "CANCELLED"): 21}


CALLS = range(1, 201, 2)


def only_connection(site: GrpcSite) -> GrpcProtocol:
    (connection,) = site.connections
    return connection


def test_a_connection_with_much_to_do_lets_others_have_their_turns(site: GrpcSite, monkeypatch) -> None:
    """It goes on by itself, and answers everything."""
    monkeypatch.setattr(GrpcProtocol, "limits", SMALL)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        connection, turns = only_connection(site), []

        async def receive() -> None:
            connection.data_received(b"".join(call(one, BODY) for one in CALLS))
            while connection.http2.has_more:
                turns.append(1)
                await asyncio.sleep(0)

        site.loop.run(receive()).result(60)

        assert all(client.answer(one).status == 0 for one in CALLS)
        assert len(turns) >= len(CALLS) * SMALL.work_of_a_call // SMALL.turn
        assert client.ask(301, BODY).status == 0


def test_reads_of_a_full_buffer_share_a_turn(site: GrpcSite, monkeypatch) -> None:
    """The event loop reads such a socket again before it looks at others."""
    monkeypatch.setattr(GrpcProtocol, "limits", Http2Limits(turn=100, work_of_a_call=10))
    monkeypatch.setattr(grpc_protocol, "FULL_READ_BYTES", 100)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        connection = only_connection(site)

        async def receive() -> list[bool]:
            ends = []
            for one in CALLS[:10]:
                connection.data_received(call(one, BODY))
                ends.append(connection.http2.has_more)
            return ends

        assert site.loop.run(receive()).result(60)[-1]
        assert all(client.answer(one).status == 0 for one in CALLS[:10])


def test_a_client_that_does_not_read_has_no_turns(site: GrpcSite, monkeypatch) -> None:
    """What it has sent already waits too, until it reads on."""
    monkeypatch.setattr(GrpcProtocol, "limits", SMALL)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        connection = only_connection(site)

        async def receive() -> bool:
            connection.data_received(b"".join(call(one, BODY) for one in CALLS))
            connection.pause_writing()
            for _ in range(100):
                await asyncio.sleep(0)
            waits = connection.http2.has_more
            connection.resume_writing()
            return waits

        assert site.loop.run(receive()).result(60)
        assert all(client.answer(one).status == 0 for one in CALLS)
        assert client.ask(301, BODY).status == 0


def test_a_client_that_goes_in_the_middle_of_its_work_has_no_more_turns(site: GrpcSite, monkeypatch) -> None:
    """What is left of its bytes is dropped."""
    monkeypatch.setattr(GrpcProtocol, "limits", SMALL)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        connection = only_connection(site)

        async def receive() -> None:
            connection.data_received(b"".join(call(one, BODY) for one in CALLS))
            connection.abort()
            await asyncio.sleep(0)

        site.loop.run(receive()).result(60)

    wait_until(lambda: site.is_idle and not site.connections, "nothing is left")
    assert len(site.transport.calls) < len(CALLS)


# Time limits of what is unfinished.


@pytest.fixture
def in_a_hurry(monkeypatch) -> None:
    """Shorten the time limits."""
    monkeypatch.setattr(grpc_protocol, "LOOK_INTERVAL_S", 0.02)
    monkeypatch.setattr(grpc_protocol, "REQUEST_LIMITS", ProgressLimits(still_s=0.2))
    monkeypatch.setattr(grpc_protocol, "ANSWER_LIMITS", ProgressLimits(still_s=0.2))


@pytest.mark.parametrize(
    "content",
    [
        opened(),
        opened() + frame(DATA, 0, 1, TRUNCATED),
        opened() + frame(DATA, 0, 1, b"\x00\x7f\xff\xff\xff" + bytes(100)),
        opened(GZIP) + frame(DATA, 0, 1, TRUNCATED),
        opened(path=REFLECT) + frame(DATA, 0, 1, TRUNCATED),
    ],
    ids=["nothing", "half a message", "a part of 2 GiB", "half a compressed message", "half a message of several"],
)
@pytest.mark.usefixtures("in_a_hurry")
def test_a_request_that_does_not_go_on_is_ended(site: GrpcSite, content: bytes) -> None:
    """With a status; the connection goes on, and nothing of the request is kept."""
    with RawHttp2(site.port) as client:
        client.send(content)
        ended = client.answer(1)

        assert (ended.status, ended.text) == (
            Code.DEADLINE_EXCEEDED,
            "The request was not completed: too little of it arrives.",
        )
        assert only_connection(site).http2.is_idle
        assert client.ask(3, BODY).status == 0
    assert site.is_idle


@pytest.mark.parametrize(
    "content",
    [frame(HEADERS, 0, 1, head_block()), frame(HEADERS, END_HEADERS, 1, head_block())[:-1], b"\x00"],
    ids=["half a head", "half a frame", "a byte"],
)
@pytest.mark.usefixtures("in_a_hurry")
def test_a_head_that_does_not_go_on_ends_the_connection(site: GrpcSite, content: bytes) -> None:
    """Nothing else can be sent before its end."""
    with RawHttp2(site.port) as client:
        client.send(content)

        assert client.fault() == Fault.ENHANCE_YOUR_CALM


@pytest.mark.usefixtures("in_a_hurry")
def test_what_waits_for_the_server_has_no_time_limit(site: GrpcSite) -> None:
    """A call that is worked on, one that watches, one between two messages, and a connection without calls."""
    release = site.hold()
    with RawHttp2(site.port) as client, RawHttp2(site.port) as idle, RawHttp2(site.port) as unfinished:
        client.send(call(1, BODY) + call(3, b"", WATCH))
        client.send(frame(HEADERS, END_HEADERS, 5, head_block(REFLECT)))
        for _ in range(2):
            number = len(unfinished.answers.streams) * 2 + 1
            unfinished.send(frame(HEADERS, END_HEADERS, number, head_block()))
            assert unfinished.answer(number).status == Code.DEADLINE_EXCEEDED

        assert client.is_alive()
        assert idle.is_alive()
        streams = only_of(site, 3).http2
        assert all(streams.open_stream(one) for one in (1, 3, 5))
        release()
        assert client.answer(1).status == 0


def only_of(site: GrpcSite, stream: int) -> GrpcProtocol:
    """Return the connection that has a stream open."""
    (found,) = [one for one in site.connections if one.http2.open_stream(stream)]
    return found


def test_a_slow_client_is_waited_for(site: GrpcSite, monkeypatch) -> None:
    """As long as something comes: the time counts from the last byte."""
    limits = ProgressLimits(grace_s=math.inf)
    monkeypatch.setattr(grpc_protocol, "REQUEST_LIMITS", limits)
    with RawHttp2(site.port) as client:
        client.send(opened())
        assert client.is_alive()
        time = ScriptedTime(only_connection(site), site.loop)
        for one in message(BODY):
            client.send(frame(DATA, 0, 1, bytes([one])))
            client.answers.frames.clear()
            assert client.is_alive()
            time.passes(0.9 * limits.still_s)
        client.send(frame(DATA, END_STREAM, 1))

        assert client.answer(1).status == 0


@pytest.mark.usefixtures("in_a_hurry")
@pytest.mark.parametrize("reads_socket", [True, False])
def test_a_client_that_never_reads_its_answers_is_closed(make_site: GrpcSiteMaker, *, reads_socket: bool) -> None:
    """Whether its windows are shut or its socket is full."""
    site = make_site(answer=Answer(Code.OK, b"x" * 500_000))
    with RawHttp2(site.port) as client:
        if not reads_socket:
            client.tell(initial_window_size=2**31 - 1)
            client.send(window_update(0, 2**30))
        client.send(b"".join(call(one, BODY) for one in range(1, 101, 2)))

        wait_until(lambda: not site.connections, "the connection is gone")
    wait_until(lambda: site.is_idle, "nothing is in flight")
