"""A terminal of a given width whose screen can be read: a pseudo-terminal, and what its lines show in the end."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen


class Terminal:
    """Runs a program as a person would, and keeps every state of the line that changes."""

    def __init__(self, command: Sequence[str], cwd: Path, columns: int, environment: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.process = Popen(command, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._written += os.read(self._ours, 65536)
            except OSError:  # EIO: the program has ended
                return

    def ended(self, timeout_s: float) -> int:
        """Wait for the end of the program; returns its exit status."""
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        os.close(self._ours)
        return status

    @property
    def states(self) -> list[str]:
        """Every text that stood in the last line at some time, in order; ends of lines are not told apart."""
        text = self._written.decode().replace("\r\n", "\n")
        return [one for line in text.split("\n") for one in line.split("\r\x1b[K") if one]

    @property
    def lines(self) -> list[str]:
        """The lines that a person sees in the end."""
        text = self._written.decode().replace("\r\n", "\n")
        return [line.rpartition("\r\x1b[K")[2] for line in text.split("\n")]
