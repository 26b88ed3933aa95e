"""What the kernel says of bytes that a peer has not taken."""

from __future__ import annotations

import socket

import pytest

from deployments.system.send_queue import SILENT_AFTER_S, end_when_silent, unacknowledged_bytes
from tests.support.clients import wait_until


def test_bytes_that_a_peer_does_not_take_are_counted() -> None:
    """Until it takes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender:
        receiver = listener.accept()[0]
        with receiver:
            sender.setblocking(False)  # noqa: FBT003 - the interface of sockets
            sent = sum(iter(lambda: _sent(sender), 0))
            receiver.setblocking(True)  # noqa: FBT003 - the interface of sockets

            assert 0 < unacknowledged_bytes(sender) <= sent
            receiver.recv(sent, socket.MSG_WAITALL)
            wait_until(lambda: unacknowledged_bytes(sender) == 0, "all was taken")


def _sent(connection: socket.socket) -> int:
    try:
        return connection.send(bytes(65536))
    except BlockingIOError:
        return 0


def test_what_is_not_a_connection_has_nothing_unacknowledged() -> None:
    """A transport may have no socket, and a closed one has no queue."""
    assert unacknowledged_bytes(None) == 0
    closed = socket.socket()
    closed.close()
    assert unacknowledged_bytes(closed) == 0


@pytest.mark.parametrize(("own", "is_watched"), [("127.0.0.2", True), ("127.0.0.1", False)], ids=["other", "same"])
def test_a_connection_to_another_host_ends_when_that_is_silent(*, own: str, is_watched: bool) -> None:
    """Sent or not, whatever nobody acknowledges for some seconds is lost; within a host, slow readers are left alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), source_address=(own, 0))
        with client:
            end_when_silent(client)

            assert bool(client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is is_watched
            timeout_ms = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert timeout_ms == (SILENT_AFTER_S * 1000 if is_watched else 0)


def test_a_connection_that_has_ended_is_left_alone() -> None:
    """Its peer may have gone before anybody looked at it."""
    end_when_silent(None)
    with socket.socket() as unconnected:
        end_when_silent(unconnected)

        assert not unconnected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
