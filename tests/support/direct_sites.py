"""The direct transport on real sockets: servers that hold calls or answer them, scripted replicas, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from core.errors import Code
from core.routing.direct_frames import LARGEST_PAYLOAD_BYTES, Frame, FrameReader
from core.routing.transport import LOOPBACK, Answer, Call, Endpoint, Method
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.inference.direct_server import Arrival, DirectServer
from deployments.routing.direct_connection import DirectConnection
from deployments.telemetry.process_metrics import METRICS

TOKEN = b"0123456789abcdef"
DEADLINE_S = 60.0
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    while not condition():
        await asyncio.sleep(0.001)


class Work:
    """A ticket that remembers whether it was cancelled."""

    def __init__(self, call: Call, reply: Callable[[Answer], None]) -> None:
        self.call = call
        self.reply = reply
        self.is_cancelled = False

    def cancel(self) -> None:
        """Note that nobody waits any more."""
        self.is_cancelled = True


class Taker:
    """Answers calls with their own body at once, or keeps them as work while `holds`."""

    def __init__(self, *, holds: bool = False) -> None:
        self.holds = holds
        self.held: list[Work] = []
        self.taken: list[Call] = []
        self.dropped: list[Call] = []

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Take all calls that there are."""
        return len(arrivals)

    def submit_together(self, arrivals: Sequence[Arrival]) -> list[Work | None]:
        """Take calls."""
        return [self.submit(one.call, one.reply) for one in arrivals]

    def drop(self, arrival: Arrival) -> None:
        """Note a call whose caller has gone before it was submitted."""
        self.dropped.append(arrival.call)

    def submit(self, call: Call, reply: Callable[[Answer], None]) -> Work | None:
        """Take a call."""
        self.taken.append(call)
        if self.holds:
            self.held.append(Work(call, reply))
            return self.held[-1]
        if call.body == b"fail":
            reply(Answer.error(Code.NOT_FOUND, "no such thing"))
        else:
            reply(Answer(Code.OK, call.body))
        return None

    def release(self) -> None:
        """Answer all that is held."""
        for work in self.held:
            work.reply(Answer(Code.OK, work.call.body))


class KeptWrites(asyncio.Transport):
    """A connection that keeps each write, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Nothing is read anyway."""

    def resume_reading(self) -> None:
        """Nothing is read anyway."""

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


def frames_in(content: bytes) -> list[Frame]:
    """Cut bytes into frames."""
    reader = FrameReader(LARGEST_PAYLOAD_BYTES)
    reader.buffer()[: len(content)] = content
    return list(reader.filled(len(content)))


@asynccontextmanager
async def serving(taker: Taker) -> AsyncIterator[tuple[DirectServer, Endpoint]]:
    """Open a server on a free port."""
    server = DirectServer(taker, TOKEN)
    port, has_loopback = await server.open(LOOPBACK)
    assert has_loopback
    try:
        yield server, Endpoint(LOOPBACK, port, TOKEN, "replica", "node", has_loopback)
    finally:
        taker.release()
        await server.drain(1.0)


async def connected(endpoint: Endpoint) -> DirectConnection:
    """Connect to an endpoint."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: DirectConnection(endpoint), endpoint.host, endpoint.port)
    return connection


def dropped(reason: str) -> float:
    """Read how many calls of the model were given up before they were sent."""
    return METRICS.counter(DROPPED_REQUESTS, "m", reason).value


def predict(body: bytes = b"body", timeout_s: float | None = None) -> Call:
    """Make a call."""
    return Call(Method.PREDICT, body, timeout_s)


@asynccontextmanager
async def scripted_replica(script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]):
    """Open a port behind which a script plays the replica."""
    server = await asyncio.start_server(script, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Endpoint(LOOPBACK, port, TOKEN, "replica")
    finally:
        server.close()
