"""Our own gRPC server on real sockets: both ways of a call, hostile clients, and the end of connections and of doors."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from core.errors import Code, DeadlineExceeded, Unavailable
from core.grpc.model_spec import peek
from core.http2.connection import LEAVING
from core.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    Fault,
    frame,
    reset,
    window_update,
)
from core.http2.grpc_heads import header_block
from core.protos import serving_pb2
from core.routing.transport import Answer, ConnectionLost
from deployments.grpc import handled_call
from deployments.grpc import protocol as grpc_protocol
from deployments.grpc.protocol import GrpcProtocol
from deployments.routing import direct_connection
from tests.support.clients import wait_until
from tests.support.grpc_sites import GOOD, GrpcSite, GrpcSiteMaker, grpc_sites
from tests.support.raw_http2 import OPENING, PREDICT, CallAnswer, RawHttp2, call, head_block, message

WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
GZIP = (b"grpc-encoding", b"gzip")


def predict_body(name: str = "m", **spec: object) -> bytes:
    request = serving_pb2.PredictRequest(model_spec={"name": name, **spec})
    request.output_filter.append("x")
    return request.SerializeToString()


BODY = predict_body()
assert peek(BODY).name == "m"


@pytest.fixture(scope="module")
def both_ways() -> Iterator[tuple[GrpcSite, GrpcSite]]:
    """A port whose calls take the short way where they can, and one where they never do."""
    with grpc_sites() as make:
        yield make("short"), make("handled")


@pytest.fixture
def make_site() -> Iterator[GrpcSiteMaker]:
    """Makes gRPC ports."""
    with grpc_sites() as make:
        yield make


@pytest.fixture
def site(make_site: GrpcSiteMaker) -> GrpcSite:
    return make_site()


def asked(site: GrpcSite, content: bytes) -> CallAnswer:
    """Send the frames of one call and wait for its answer."""
    with RawHttp2(site.port) as client:
        client.send(content)
        return client.answer(1)


def opened(*more: tuple[bytes, bytes], path: str = PREDICT) -> bytes:
    return frame(HEADERS, END_HEADERS, 1, head_block(path, *more))


def whole(data: bytes, *more: tuple[bytes, bytes], path: str = PREDICT) -> bytes:
    """Return a call whose body is these bytes."""
    return opened(*more, path=path) + frame(DATA, END_STREAM, 1, data)


# Both ways.


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
def test_what_is_no_call_is_refused_and_the_connection_goes_on(site: GrpcSite, content: bytes, code: Code) -> None:
    """With one status; it never reaches a model."""
    with RawHttp2(site.port) as client:
        client.send(content)
        refused, good = client.answer(1), client.ask(3, BODY)

    assert refused.status == code
    assert good.status == 0
    assert len(site.transport.calls) == 1
    assert site.is_idle


@pytest.mark.parametrize(("method", "status"), [(b"GET", "405"), (b"POST", "415")])
def test_what_is_no_grpc_gets_a_status_of_http(site: GrpcSite, method: bytes, status: str) -> None:
    """Browsers and probes read nothing else."""
    block = header_block([(b":method", method), (b":scheme", b"http"), (b":path", b"/")])

    answer = asked(site, frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert answer.fields[":status"] == status


def test_a_compressed_message_is_read(site: GrpcSite) -> None:
    """Small ones at once, large ones in a thread; a client may leave single messages as they are."""
    large = BODY + b"\x7a" + b"\xa0\x8d\x06" + bytes(range(256)) * 390 + bytes(160)
    bodies = [BODY, large]
    with RawHttp2(site.port) as client:
        for number, body in enumerate(bodies):
            packed = gzip.compress(body, 0)
            client.send(frame(HEADERS, END_HEADERS, 2 * number + 1, head_block(PREDICT, GZIP)))
            data = b"\x01" + message(packed)[1:]
            for at in range(0, len(data), 16384):
                client.send(frame(DATA, 0, 2 * number + 1, data[at : at + 16384]))
            client.send(frame(DATA, END_STREAM, 2 * number + 1))
            assert client.answer(2 * number + 1).status == 0
        assert client.ask(5, BODY, PREDICT, GZIP).status == 0

    assert [one.body for _, one in site.transport.calls] == [*bodies, BODY]


# The ends of the short way.


def test_a_lost_connection_is_tried_once_more(make_site: GrpcSiteMaker) -> None:
    """The client of a replica that was killed notices nothing; a second loss is told."""
    site = make_site(answer=ConnectionLost("gone"))

    answer = asked(site, call(1, BODY))

    assert answer.status == Code.UNAVAILABLE
    assert len(site.transport.calls) == 2
    assert site.is_idle


def test_a_repetition_that_fails_unexpectedly_is_told(make_site: GrpcSiteMaker, monkeypatch) -> None:
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


def test_a_handled_call_that_takes_too_long_times_out(make_site: GrpcSiteMaker) -> None:
    """Its handler is cancelled."""
    site = make_site("handled")
    site.hold()

    answer = asked(site, call(1, BODY, PREDICT, (b"grpc-timeout", b"10m")))

    assert (answer.status, answer.text) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
    wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn", 5)
    assert site.is_idle


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


def test_a_handler_whose_work_is_cancelled_ends_its_call(make_site: GrpcSiteMaker) -> None:
    """By something else than the end of the call; its client does not wait for ever."""

    async def cancelled(raw: bytes) -> bytes:
        raise asyncio.CancelledError

    site = make_site(admin={"GetStatus": cancelled})

    answer = asked(site, call(1, b"", "/ray_model_server.Admin/GetStatus"))

    assert answer.status == Code.CANCELLED


def test_a_handler_that_fails_unexpectedly_ends_its_call(make_site: GrpcSiteMaker) -> None:
    """With what it was; the connection goes on."""

    async def fails(raw: bytes) -> bytes:
        raise OSError("odd")

    site = make_site(admin={"GetStatus": fails})

    with RawHttp2(site.port) as client:
        answer = client.ask(1, b"", "/ray_model_server.Admin/GetStatus")
        assert client.ask(3, BODY).status == 0

    assert (answer.status, answer.text) == (Code.UNKNOWN, "Unexpected OSError: odd")


# Hostile clients.


def test_messages_wait_for_the_clients_window(site: GrpcSite) -> None:
    """However many it asks for, one waits; those that it did not read are refused in the end."""
    question = message(reflection_pb2.ServerReflectionRequest(list_services="x").SerializeToString())
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(opened(path=REFLECT) + frame(DATA, 0, 1, question * 20))
        assert client.is_alive()
        (connection,) = site.connections
        (stream,) = connection.http2._streams.values()
        wait_until(lambda: len(stream.waiting) == 1, "one answer waits", 5)
        size = len(stream.waiting[0])
        assert client.is_alive()
        assert len(stream.waiting) == 1

        client.send(window_update(1, 20 * size) + frame(DATA, END_STREAM, 1))

        assert len(client.answer(1).body) == 20 * size
        assert client.answer(1).status == 0


def test_messages_that_nobody_reads_are_bounded(site: GrpcSite, monkeypatch) -> None:
    """A client that asks and does not take the answers is refused."""
    monkeypatch.setattr(handled_call, "MOST_UNREAD_MESSAGES", 10)
    question = message(reflection_pb2.ServerReflectionRequest(list_services="x").SerializeToString())
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(opened(path=REFLECT))
        for _ in range(20):
            client.send(frame(DATA, 0, 1, question))
        assert client.is_alive()

        client.send(window_update(1, 2**20))

        assert client.answer(1).status == Code.RESOURCE_EXHAUSTED


def test_who_watches_learns_of_the_newest_status_only(site: GrpcSite) -> None:
    """A client that does not read holds up nobody and keeps nothing."""
    request = message(health_pb2.HealthCheckRequest(service="model/m").SerializeToString())
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(whole(request, path=WATCH))
        assert client.is_alive()
        (stream,) = next(iter(site.connections)).http2._streams.values()
        wait_until(lambda: len(stream.waiting) == 1, "the first status waits", 5)

        async def change() -> None:
            for _ in range(1000):
                site.door.health.follow(type(site.router.table)(2, {}))
                await asyncio.sleep(0)
                site.door.health.follow(site.router.table)
                await asyncio.sleep(0)
            site.door.health.close()

        site.loop.run(change()).result(10)
        assert len(stream.waiting) == 1
        client.send(window_update(1, 100))

        answer = client.answer(1)
        told = [answer.body[at : at + 7] for at in range(0, len(answer.body), 7)]
        statuses = [health_pb2.HealthCheckResponse.FromString(one[5:]).status for one in told]
        assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        assert answer.status == 0


def test_a_storm_of_resets_leaves_nothing(site: GrpcSite) -> None:
    """Others are answered meanwhile."""
    with RawHttp2(site.port) as client, RawHttp2(site.port) as other:
        head, data, number = head_block(), frame(DATA, END_STREAM, 0, message(BODY))[9:], 1
        for round_ in range(10):
            storm = bytearray()
            for _ in range(500):
                storm += frame(HEADERS, END_HEADERS, number, head) + frame(DATA, END_STREAM, number, data)
                storm += reset(number, Fault.CANCEL)
                number += 2
            client.send(bytes(storm))
            assert other.ask(2 * round_ + 1, BODY).status == 0
        assert client.is_alive()
        assert all(one.http2.is_idle for one in site.connections)

    wait_until(lambda: site.is_idle, "nothing is in flight", 5)
    assert site.counts == {("m", "OK"): 10, ("m", "CANCELLED"): 5000}


def test_many_streams_without_window_cost_others_nothing(make_site: GrpcSiteMaker) -> None:
    """Neither windows that are widened one by one, nor one that all streams have, are looked at again and again."""
    site = make_site(answer=Answer(Code.OK, b"x" * 100))
    streams = range(1, 8001, 2)
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


def test_a_client_that_broke_the_protocol_is_told_and_left(site: GrpcSite) -> None:
    """Text of HTTP/1.1 too."""
    with RawHttp2(site.port, b"GET / HTTP/1.1\r\n\r\n") as client:
        assert client.fault() == Fault.PROTOCOL_ERROR
    with RawHttp2(site.port) as client:
        client.send(frame(PING, 0, 0, b"short"))
        assert client.fault() == Fault.FRAME_SIZE_ERROR

    wait_until(lambda: not site.connections, "both are gone", 5)


def test_a_client_that_does_not_read_why_is_left_all_the_same(site: GrpcSite, monkeypatch) -> None:
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


def test_a_stranger_is_left_in_the_end(site: GrpcSite, monkeypatch) -> None:
    """One that never says that it speaks HTTP/2; others may be silent as long as they like."""
    monkeypatch.setattr(grpc_protocol, "PREFACE_TIMEOUT_S", 0.2)

    with RawHttp2(site.port, OPENING[:10]) as stranger, RawHttp2(site.port) as client:
        stranger.read_until(lambda: stranger.is_closed)
        assert client.is_alive()


def test_a_connection_that_is_gone_leaves_no_memory_behind(site: GrpcSite) -> None:
    """Clients that open one for each call would fill it."""
    gone: list[weakref.ref[GrpcProtocol]] = []
    for _ in range(20):
        with RawHttp2(site.port) as client:
            assert client.ask(1, BODY).status == 0
            gone += [weakref.ref(one) for one in site.connections]

    def is_forgotten() -> bool:
        gc.collect()
        return not any(one() for one in gone)

    wait_until(is_forgotten, "all connections are forgotten", 10)


def test_clients_whose_machine_is_gone_are_noticed(site: GrpcSite) -> None:
    """TCP asks them now and then; watchers would otherwise stay for ever."""
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        (connection,) = site.connections

        assert connection._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# Draining.


def test_a_door_that_drains_finishes_what_it_has(site: GrpcSite) -> None:
    """A client that reads that takes its next calls elsewhere; one on its way is still answered."""
    release = site.hold()
    with RawHttp2(site.port) as client:
        client.send(call(1, BODY))
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way", 5)
        draining = site.loop.run(site.door.drain(20.0))
        client.read_until(lambda: any(one.kind == GOAWAY for one in client.answers.frames))
        client.send(call(3, BODY))
        wait_until(lambda: len(site.transport.calls) == 2, "the late call is on its way too", 5)
        client.send(frame(PING, ACK, 0, LEAVING))
        client.read_until(lambda: [one.kind for one in client.answers.frames].count(GOAWAY) == 2)
        client.send(call(5, BODY))
        release()

        assert [client.answer(number).status for number in (1, 3)] == [0, 0]
        assert client.fault() == Fault.NO_ERROR
        assert 5 not in client.answers.streams
        draining.result(5)
    with pytest.raises(OSError, match="refused"):
        RawHttp2(site.port)


def test_a_door_that_drains_does_not_wait_for_idle_clients(site: GrpcSite) -> None:
    """Nor for strangers, nor for those who do not answer to the goodbye."""
    with RawHttp2(site.port) as idle, RawHttp2(site.port, b"") as stranger:
        assert idle.is_alive()
        wait_until(lambda: len(site.connections) == 2, "both are there", 5)

        site.loop.run(site.door.drain(60.0)).result(10)

        assert idle.fault() == Fault.NO_ERROR
        assert stranger.fault() == Fault.NO_ERROR


def test_a_door_that_drains_waits_no_longer_than_it_may(site: GrpcSite) -> None:
    """Then the calls are withdrawn."""
    site.hold()
    with RawHttp2(site.port) as client:
        client.send(call(1, BODY))
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way", 5)

        site.loop.run(site.door.drain(0.1)).result(10)

        client.read_until(lambda: client.is_closed)
    wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn", 5)
    wait_until(lambda: site.is_idle, "nothing is in flight", 5)


def test_a_clients_calls_go_elsewhere_without_a_failure(make_site: GrpcSiteMaker, tmp_path: Path) -> None:
    """A door takes the UNIX socket over while a channel calls without pause."""
    path = str(tmp_path / "s")
    old = make_site(socket_path=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        predict = channel.unary_unary(PREDICT)
        assert predict(BODY, timeout=10) == GOOD.body
        new = make_site(socket_path=path)
        draining = old.loop.run(old.door.drain(20.0))

        while not new.transport.calls:
            assert predict(BODY, timeout=10) == GOOD.body
        draining.result(10)

    assert old.is_idle
    assert new.is_idle


def test_a_watcher_learns_that_the_door_drains(site: GrpcSite) -> None:
    """And its stream ends, so that nobody waits for it."""
    with grpc.insecure_channel(f"127.0.0.1:{site.port}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING

        site.loop.run(site.door.drain(20.0)).result(10)

        assert [one.status for one in watching] == [health_pb2.HealthCheckResponse.NOT_SERVING]
