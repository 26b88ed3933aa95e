"""What the kernel keeps of a connection's written bytes, because the peer has not taken them, and for how long."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress

SILENT_AFTER_S = 6
"""How long a peer on another host may acknowledge nothing. Only its kernel must answer, however busy the process is."""

PROBED_AFTER_S = 3
"""How long a connection may have nothing to acknowledge before its peer is asked for a sign of life."""

PROBED_EVERY_S = 1


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return how many written bytes the peer has not taken; 0 where the kernel does not say."""
    answer = bytes(4)
    with suppress(OSError):
        if connection is not None and connection.fileno() >= 0:
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, answer)
    found: int = struct.unpack("i", answer)[0]
    return found


def end_when_silent(connection: socket.socket | None) -> None:
    """End a connection with an error once its peer's host is silent: without power, hung, or cut off.

    TCP alone would go on for a quarter of an hour, or without anything to send for ever. Within a host no peer is ever
    silent, but one that reads nothing for long would count as such.
    """
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBED_AFTER_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBED_EVERY_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, SILENT_AFTER_S - PROBED_AFTER_S),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_AFTER_S * 1000),
    )
    with suppress(OSError):  # it has ended already
        if connection is not None and connection.getsockname()[0] != connection.getpeername()[0]:
            for option in options:
                connection.setsockopt(*option)
