"""Peers that are silent: as a program on another host whose cable is cut, or as a socket that hears nothing any more.

`python -m tests.support.silence listen` takes connections, prints its port, and reads nothing. `... connect ADDRESS PORT`
opens one connection of each kind with a watch, prints `open` when all have sent what they can, and a line for each that
ends: its kind, and when that was on the clock of the machine.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
import time
from typing import Any

from deployments.system.tcp_peer import SilenceWatch

SO_ATTACH_FILTER = 26
KEEP_NOTHING = struct.pack("HBBI", 6, 0, 0, 0)
"""The program of a packet filter (linux/filter.h): return 0, the number of bytes to keep."""

MORE_THAN_FITS = 32 * 2**20


def fall_silent(connection: Any) -> None:
    """Let everything that comes for a socket disappear before TCP sees it, as if its host had lost power."""
    program = ctypes.create_string_buffer(KEEP_NOTHING, len(KEEP_NOTHING))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


class Watched(asyncio.Protocol):
    """A connection with a watch, as the two ends of the direct transport have it."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.is_full = False
        self.transport: Any = None
        self.watch: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Watch."""
        self.transport = transport
        self.watch = SilenceWatch(transport)

    def pause_writing(self) -> None:
        """Note that the peer takes no more."""
        self.is_full = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self.watch.end()
        self.lost.set_result(time.monotonic())

    def fill(self) -> None:
        """Write more than a peer takes that does not read."""
        self.transport.write(bytes(MORE_THAN_FITS))


async def _connect(address: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    opened = {kind: (await loop.create_connection(Watched, address, port))[1] for kind in ("idle", "busy", "full")}
    opened["full"].fill()
    lost = [asyncio.create_task(_print_end(kind, one)) for kind, one in opened.items()]
    print("open", flush=True)
    while not opened["busy"].lost.done():
        opened["busy"].transport.write(b"x")
        await asyncio.sleep(0.1)
    await asyncio.gather(*lost)


async def _print_end(kind: str, connection: Watched) -> None:
    print(kind, await connection.lost, flush=True)


def _listen() -> None:
    with socket.create_server(("", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        kept = []
        while True:
            kept.append(listener.accept()[0])


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        _listen()
    else:
        asyncio.run(_connect(sys.argv[2], int(sys.argv[3])))
