"""Probes that connect and send nothing, as kubelet's `tcpSocket` and load balancers do, cost nothing and leave no trace."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from tests.support.clients import wait_until
from tests.support.doors.grpc_sites import GrpcSite, grpc_sites
from tests.support.doors.raw_http import HOST
from tests.support.doors.rest_sites import RestSite, rest_site

PROBES = 50


@pytest.fixture(params=["rest", "grpc"])
def site(request: pytest.FixtureRequest) -> Iterator[RestSite | GrpcSite]:
    """An open port of each kind."""
    if request.param == "rest":
        with rest_site() as one:
            yield one
        return
    with grpc_sites() as made:
        yield made()


def closed(probe: socket.socket) -> None:
    """End a connection as most clients do."""
    probe.close()


def half_closed(probe: socket.socket) -> None:
    """End one side, and wait for the other."""
    probe.shutdown(socket.SHUT_WR)
    while probe.recv(4096):
        pass
    probe.close()


def reset(probe: socket.socket) -> None:
    """End a connection at once, as probes that leave no TIME_WAIT do."""
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    probe.close()


@pytest.mark.parametrize("end", [closed, half_closed, reset])
def test_a_connection_without_a_byte_leaves_no_trace(
    site: RestSite | GrpcSite, caplog: pytest.LogCaptureFixture, end: Callable[[socket.socket], None]
) -> None:
    """No line in any log, no request or error in the metrics, nothing kept."""
    before = site.metrics.snapshot()

    with caplog.at_level(logging.INFO):
        for _ in range(PROBES):
            end(socket.create_connection((HOST, site.port), timeout=10))
        half_closed(socket.create_connection((HOST, site.port), timeout=10))  # accepted after all the others
        wait_until(lambda: not site.connections, "all connections are gone")

    assert caplog.records == []
    assert site.metrics.snapshot() == before
    assert site.is_idle
