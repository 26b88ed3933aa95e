"""What the kernel keeps of a connection's written bytes, because the peer has not taken them."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return how many written bytes the peer has not taken; 0 where the kernel does not say."""
    answer = bytes(4)
    with suppress(OSError):
        if connection is not None and connection.fileno() >= 0:
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, answer)
    found: int = struct.unpack("i", answer)[0]
    return found
