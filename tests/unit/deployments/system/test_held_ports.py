"""Ports that outlive their acceptor: closed before the first one opens them, and never refused afterwards."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.system.held_ports import HeldPorts, held_listener
from deployments.system.port_claim import is_free
from tests.support.clients import free_port

HOST = "127.0.0.1"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def holder(tmp_path: Path, port: int) -> Iterator[HeldPorts]:
    held = HeldPorts(str(tmp_path / "ports"), [(HOST, port)])
    yield held
    held.close()


def acceptor(folder: Path, port: int) -> socket.socket:
    listener = held_listener(str(folder / "ports"), port)
    assert listener is not None
    listener.listen()
    return listener


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=60)


@pytest.mark.usefixtures("holder")
def test_a_connection_waits_for_the_next_acceptor(tmp_path: Path, port: int) -> None:
    """The first one is gone, as when it was killed; the second one finds the connection in the queue."""
    acceptor(tmp_path, port).close()
    with connected(port) as client, acceptor(tmp_path, port) as next_one:
        accepted, _ = next_one.accept()
        with accepted:
            accepted.sendall(b"here")
        assert client.recv(10) == b"here"


@pytest.mark.usefixtures("holder")
def test_a_port_is_closed_before_its_first_acceptor(port: int) -> None:
    """Whoever waits for the server must not take a held port for an open one."""
    with pytest.raises(ConnectionRefusedError):
        connected(port)


def test_a_port_closes_with_its_holder_and_its_acceptor(tmp_path: Path, holder: HeldPorts, port: int) -> None:
    """A server that drains refuses connections, for which load balancers wait."""
    with acceptor(tmp_path, port):
        holder.close()
        connected(port).close()

    with pytest.raises(ConnectionRefusedError):
        connected(port)
    assert is_free(HOST, port)
    assert held_listener(str(tmp_path / "ports"), port) is None


@pytest.mark.usefixtures("holder")
def test_nothing_else_is_held(tmp_path: Path, port: int) -> None:
    """A router without a holder, or with another port, binds for itself; a strange request harms nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(tmp_path / "ports"))
        stranger.sendall(b"x")

    assert held_listener("", port) is None
    assert held_listener(str(tmp_path / "nowhere"), port) is None
    assert held_listener(str(tmp_path / "ports"), port + 1) is None
    acceptor(tmp_path, port).close()


def test_the_socket_is_for_its_owner_only(tmp_path: Path, holder: HeldPorts) -> None:
    """Whoever gets a listener gets requests."""
    del holder
    assert (tmp_path / "ports").stat().st_mode & 0o777 == 0o600
