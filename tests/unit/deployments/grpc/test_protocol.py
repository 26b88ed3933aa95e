"""Tests of one connection to our own gRPC server: both ways of a call, their ends, and hostile clients."""

from __future__ import annotations

import pytest

from core.errors import Code, DeadlineExceeded, Unavailable
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
from core.routing.transport import Answer, ConnectionLost
from deployments.grpc import protocol as grpc_protocol
from deployments.routing import direct_connection
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import BODY, GZIP, WATCH, asked, opened, predict_body, whole
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

    answer = asked(site, call(1, BODY, PREDICT, (b"grpc-timeout", b"10m")))

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
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way", 5)
        if end == "connection reset":
            client.reset()
        elif end == "connection closed":
            client.socket.close()
        else:
            client.send(reset(1, Fault.CANCEL) if end == "reset" else window_update(0, 0))

        wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn", 5)
        wait_until(lambda: site.is_idle, "nothing is in flight", 5)
    wait_until(lambda: site.counts == {("m", "CANCELLED"): 1}, "it is counted", 5)


def test_a_client_that_dies_within_a_message_leaves_nothing(site: GrpcSite) -> None:
    """Nothing was begun, so nothing is counted."""
    with RawHttp2(site.port) as client:
        client.send(opened() + frame(DATA, 0, 1, TRUNCATED))
        assert client.is_alive()

    wait_until(lambda: not site.connections, "the connection is gone", 5)
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

    wait_until(lambda: site.is_idle, "nothing is in flight", 5)
    assert site.counts == {("m", "OK"): 10, ("m", "CANCELLED"): 1500}


def test_many_streams_without_window_cost_others_nothing(make_site: GrpcSiteMaker) -> None:
    """Neither windows that are widened one by one, nor one that all streams have, are looked at again and again."""
    site = make_site(answer=Answer(Code.OK, b"x" * 100))
    streams = range(1, 2001, 2)
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(b"".join(call(number, BODY) for number in streams))
        wait_until(lambda: site.is_idle and len(site.transport.calls) == len(streams), "all are answered", 20)

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

    wait_until(lambda: not site.connections, "both are gone", 5)


def test_a_client_that_does_not_read_the_reason_is_closed_all_the_same(site: GrpcSite, monkeypatch) -> None:
    """It could keep its connection for ever."""
    monkeypatch.setattr(grpc_protocol, "GOAWAY_TIME_S", 0.1)
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        (connection,) = site.connections

        async def block() -> None:
            connection.http2.sending.unsent.append(bytes(50_000_000))
            connection.data_received(frame(PING, 0, 0, b"short"))

        site.loop.run(block()).result(5)

        wait_until(lambda: not site.connections, "the connection is gone", 5)


def test_a_connection_without_preface_is_closed(site: GrpcSite, monkeypatch) -> None:
    """One that never says that it speaks HTTP/2; others may be silent as long as they like."""
    monkeypatch.setattr(grpc_protocol, "PREFACE_TIMEOUT_S", 0.2)

    with RawHttp2(site.port, OPENING[:10]) as stranger, RawHttp2(site.port) as client:
        stranger.read_until(lambda: stranger.is_closed)
        assert client.is_alive()
