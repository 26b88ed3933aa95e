"""What the kernel says of bytes that a peer has not taken."""

from __future__ import annotations

import socket

from deployments.system.send_queue import unacknowledged_bytes
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
