"""UNIX sockets that one router takes over from another without a gap.

A new router opens its socket before the old one closes, and both have the same path. So each binds a name of its own
and renames it to the path, and removes the path at the end only if it still is its own socket.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class SocketPath:
    """The path of a UNIX socket, and the name that is bound in its place."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.bound = f"{path}.{os.getpid()}"
        self._inode: int | None = None

    def clear(self) -> None:
        """Remove files that an ended process with the same id may have left."""
        with suppress(FileNotFoundError):
            os.unlink(self.bound)

    def listener(self) -> socket.socket:
        """Bind the socket under a name of its own; `publish` gives it the path."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.clear()
        try:
            listener.bind(self.bound)
        except OSError:
            listener.close()
            raise
        return listener

    def publish(self) -> None:
        """Rename the bound socket to the path, replacing another one."""
        self._inode = os.stat(self.bound).st_ino
        os.rename(self.bound, self._path)

    def withdraw(self) -> None:
        """Remove the path, unless another process has taken it over."""
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
