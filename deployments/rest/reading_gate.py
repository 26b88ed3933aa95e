"""Back-pressure of one REST connection: reading stops while too much of what it sent waits for its turn."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl


class ReadingGate(FlowControl):
    """uvicorn's flow control, in which reading stays stopped while too many bytes wait for the parser."""

    is_shut = False

    def shut(self) -> None:
        """Stop reading, whatever requests want."""
        self.is_shut = True
        self.pause_reading()

    def open(self) -> None:
        """Let requests read again."""
        self.is_shut = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless the gate is shut."""
        if not self.is_shut:
            super().resume_reading()

    def rest(self, pause_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Stop reading for some seconds."""
        self.pause_reading()
        loop.call_later(pause_s, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self.resume_reading()
