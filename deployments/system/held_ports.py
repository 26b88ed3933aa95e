"""Ports that are held open by a process which outlives those that accept from them.

When the only acceptor of a port dies, the kernel closes a socket that nobody else has, and refuses connections until a
successor has bound the port anew. A socket that is held too keeps its queue: connections wait for the successor.
The holder passes its sockets over a UNIX socket (`SCM_RIGHTS`, unix(7)). It binds and never listens itself: a port is
closed until its first acceptor opens it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress

from deployments.system.port_claim import shared_listener

ASKED_WITHIN_S = 5.0
LONGEST_REQUEST = 16


class HeldPorts:
    """The holder's side: bound sockets, and a UNIX socket at which acceptors ask for them by port."""

    def __init__(self, path: str, ports: Iterable[tuple[str, int]]) -> None:
        """Bind the ports and begin to answer at the path; raises OSError when one cannot be bound."""
        self._path = path
        self._held = {port: shared_listener(host, port) for host, port in ports}
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(path)
        os.chmod(path, 0o600)
        self._door.listen()
        threading.Thread(target=self._answer, name="held-ports", daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                asker, _ = self._door.accept()
            except OSError:  # closed
                return
            with asker, suppress(OSError, ValueError):
                asker.settimeout(ASKED_WITHIN_S)
                held = self._held.get(int(asker.recv(LONGEST_REQUEST)))
                socket.send_fds(asker, [b"1" if held else b"0"], [held.fileno()] if held else [])

    def close(self) -> None:
        """Hold the ports no longer: they close with their last acceptor."""
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._door.close()
        for one in self._held.values():
            one.close()
        with suppress(OSError):
            os.unlink(self._path)


def held_listener(path: str, port: int) -> socket.socket | None:
    """Return the socket that is held for a port; None when none is, or its holder has gone."""
    if not path:
        return None
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        holder.settimeout(ASKED_WITHIN_S)
        holder.connect(path)
        holder.sendall(str(port).encode())
        _, descriptors, _, _ = socket.recv_fds(holder, 1, 1)
        if descriptors:
            os.set_inheritable(descriptors[0], False)  # noqa: FBT003 - its only name
            return socket.socket(fileno=descriptors[0])
    return None
