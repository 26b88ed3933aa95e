"""Tests of our own gRPC server: draining, and connections that are gone."""

from __future__ import annotations

import gc
import socket
import weakref
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.http2.connection import LEAVING
from core.http2.frames import (
    ACK,
    GOAWAY,
    PING,
    Fault,
    frame,
)
from deployments.grpc.protocol import GrpcProtocol
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import BODY
from tests.support.doors.grpc_sites import GOOD, GrpcSite, GrpcSiteMaker
from tests.support.doors.raw_http2 import PREDICT, RawHttp2, call


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

    wait_until(is_forgotten, "all connections are forgotten")


def test_clients_whose_machine_is_gone_are_noticed(site: GrpcSite) -> None:
    """TCP asks them now and then; watchers would otherwise stay for ever."""
    with RawHttp2(site.port) as client:
        assert client.is_alive()
        (connection,) = site.connections

        assert connection._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_door_that_drains_finishes_what_it_has(site: GrpcSite) -> None:
    """A client that reads that takes its next calls elsewhere; one on its way is still answered."""
    release = site.hold()
    with RawHttp2(site.port) as client:
        client.send(call(1, BODY))
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way")
        draining = site.loop.run(site.door.drain(60.0))
        client.read_until(lambda: any(one.kind == GOAWAY for one in client.answers.frames))
        client.send(call(3, BODY))
        wait_until(lambda: len(site.transport.calls) == 2, "the late call is on its way too")
        client.send(frame(PING, ACK, 0, LEAVING))
        client.read_until(lambda: [one.kind for one in client.answers.frames].count(GOAWAY) == 2)
        client.send(call(5, BODY))
        release()

        assert [client.answer(number).status for number in (1, 3)] == [0, 0]
        assert client.fault() == Fault.NO_ERROR
        assert 5 not in client.answers.streams
        draining.result(60)
    with pytest.raises(OSError, match="refused"):
        RawHttp2(site.port)


def test_a_door_that_drains_does_not_wait_for_idle_clients(site: GrpcSite) -> None:
    """Nor for strangers, nor for those who do not answer to the goodbye."""
    with RawHttp2(site.port) as idle, RawHttp2(site.port, b"") as stranger:
        assert idle.is_alive()
        wait_until(lambda: len(site.connections) == 2, "both are there")

        site.loop.run(site.door.drain(600.0)).result(60)

        assert idle.fault() == Fault.NO_ERROR
        assert stranger.fault() == Fault.NO_ERROR


def test_a_door_that_drains_waits_no_longer_than_it_may(site: GrpcSite) -> None:
    """Then the calls are withdrawn."""
    site.hold()
    with RawHttp2(site.port) as client:
        client.send(call(1, BODY))
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way")

        site.loop.run(site.door.drain(0.1)).result(60)

        client.read_until(lambda: client.is_closed)
    wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn")
    wait_until(lambda: site.is_idle, "nothing is in flight")


def test_a_clients_calls_go_elsewhere_without_a_failure(make_site: GrpcSiteMaker, tmp_path: Path) -> None:
    """A door takes the UNIX socket over while a channel calls without pause."""
    path = str(tmp_path / "s")
    old = make_site(socket_path=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        predict = channel.unary_unary(PREDICT)
        assert predict(BODY, timeout=60) == GOOD.body
        new = make_site(socket_path=path)
        draining = old.loop.run(old.door.drain(60.0))

        while not new.transport.calls:
            assert predict(BODY, timeout=60) == GOOD.body
        draining.result(60)

    assert old.is_idle
    assert new.is_idle


def test_a_watcher_gets_the_status_of_a_port_that_drains(site: GrpcSite) -> None:
    """And its stream ends, so that nobody waits for it."""
    with grpc.insecure_channel(f"127.0.0.1:{site.port}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING

        site.loop.run(site.door.drain(60.0)).result(60)

        assert [one.status for one in watching] == [health_pb2.HealthCheckResponse.NOT_SERVING]
