"""Tests of calls with a task of their own: compression, deadlines, failing handlers, streams."""

from __future__ import annotations

import asyncio
import gzip

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from core.errors import Code
from core.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
    window_update,
)
from deployments.grpc import handled_call
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import BODY, GZIP, REFLECT, WATCH, asked, opened, whole
from tests.support.doors.grpc_sites import GrpcSite, GrpcSiteMaker
from tests.support.doors.raw_http2 import PREDICT, RawHttp2, call, head_block, message


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


def test_a_handled_call_that_takes_too_long_times_out(make_site: GrpcSiteMaker) -> None:
    """Its handler is cancelled."""
    site = make_site("handled")
    site.hold()

    answer = asked(site, call(1, BODY, PREDICT, (b"grpc-timeout", b"10m")))

    assert (answer.status, answer.text) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
    wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn")
    assert site.is_idle


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


def test_messages_wait_for_the_clients_window(site: GrpcSite) -> None:
    """However many it asks for, one waits; those that it did not read are refused in the end."""
    question = message(reflection_pb2.ServerReflectionRequest(list_services="x").SerializeToString())
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(opened(path=REFLECT) + frame(DATA, 0, 1, question * 20))
        assert client.is_alive()
        (connection,) = site.connections
        (stream,) = connection.http2._streams.values()
        wait_until(lambda: len(stream.waiting) == 1, "one answer waits")
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


def test_a_watcher_gets_the_newest_status_only(site: GrpcSite) -> None:
    """A client that does not read holds up nobody and keeps nothing."""
    request = message(health_pb2.HealthCheckRequest(service="model/m").SerializeToString())
    with RawHttp2(site.port) as client:
        client.tell(initial_window_size=0)
        client.send(whole(request, path=WATCH))
        assert client.is_alive()
        (stream,) = next(iter(site.connections)).http2._streams.values()
        wait_until(lambda: len(stream.waiting) == 1, "the first status waits")

        async def change() -> None:
            for _ in range(1000):
                site.door.health.follow(type(site.router.table)(2, {}))
                await asyncio.sleep(0)
                site.door.health.follow(site.router.table)
                await asyncio.sleep(0)
            site.door.health.close()

        site.loop.run(change()).result(60)
        assert len(stream.waiting) == 1
        client.send(window_update(1, 100))

        answer = client.answer(1)
        told = [answer.body[at : at + 7] for at in range(0, len(answer.body), 7)]
        statuses = [health_pb2.HealthCheckResponse.FromString(one[5:]).status for one in told]
        assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        assert answer.status == 0
