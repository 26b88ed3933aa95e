#!/usr/bin/env bash
# Versions: uvloop 0.23.0 beside asyncio of CPython 3.11.
# Behaviour: while buffer_updated of a BufferedProtocol runs, the event loop still holds the buffer that get_buffer gave it.
#   A bytearray that was received into can be read there, but not shortened, also not when the protocol has let go of
#   its own view. In a later turn of the loop it can.
# Output seen:
#   uvloop: in buffer_updated: BufferError; in the next turn: shortened
#   asyncio: in buffer_updated: BufferError; in the next turn: shortened
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvloop==0.23.0
"$folder/venv/bin/python" - <<'PROGRAM'
import asyncio
import socket

import uvloop


class Receiver(asyncio.BufferedProtocol):
    def __init__(self, loop):
        self.loop, self.content, self.seen = loop, bytearray(8), []
        self.done = loop.create_future()

    def get_buffer(self, sizehint):
        return memoryview(self.content)

    def buffer_updated(self, nbytes):
        self.shorten()
        self.loop.call_soon(self.shorten)
        self.loop.call_soon(self.done.set_result, None)

    def shorten(self):
        try:
            del self.content[-1:]
            self.seen.append("shortened")
        except BufferError as error:
            self.seen.append(type(error).__name__)


async def received():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    protocol = Receiver(loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    theirs.sendall(b"8 octets")
    await asyncio.wait_for(protocol.done, 30)
    transport.close()
    theirs.close()
    return protocol.seen


for name, factory in (("uvloop", uvloop.new_event_loop), ("asyncio", asyncio.new_event_loop)):
    with asyncio.Runner(loop_factory=factory) as runner:
        seen = runner.run(received())
    print(f"{name}: in buffer_updated: {seen[0]}; in the next turn: {seen[1]}")
    assert seen == ["BufferError", "shortened"]
PROGRAM
