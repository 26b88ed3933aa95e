"""An open loop: requests arrive at a fixed rate, whether earlier ones have their answers or not.

So do the requests of many independent users, and only so a server can be overloaded: clients that wait for their
answers slow down with it. Latencies count from the moment when a request was due. Each request has a connection for
itself while it is open; connections that have their answers are used again. Runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import time
from array import array
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import uvloop

from benchmarks.load import CONTENT_LENGTH, HOST

TICK_S = 0.001
REFUSED = frozenset({b"429", b"503"})


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What to send, where, how many times a second, how long, and how long the last answers are awaited."""

    port: int
    path: str
    body: bytes
    per_s: float
    seconds: float
    patience_s: float = 1.0


@dataclass(slots=True)
class Outcome:
    """What became of the requests: latencies of those answered and refused, the rest by number."""

    seconds: float = 0.0
    sent: int = 0
    answered_s: array[float] = field(default_factory=lambda: array("d"))
    refused_s: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    first_failed: str = ""
    client_cpu_s: float = 0.0
    late_s: float = 0.0
    """How late the latest request was sent: if that is long, the sender and not the server was the bottleneck."""

    @property
    def unanswered(self) -> int:
        return self.sent - len(self.answered_s) - len(self.refused_s) - self.failed

    def percentile_ms(self, percent: float) -> float:
        return _percentile_ms(self.answered_s, percent)

    def refused_percentile_ms(self, percent: float) -> float:
        return _percentile_ms(self.refused_s, percent)


def _percentile_ms(latencies_s: array[float], percent: float) -> float:
    return float(np.percentile(latencies_s, percent)) * 1e3 if latencies_s else float("nan")


class _Sender:
    """Sends what is due, and keeps the connections that are free."""

    def __init__(self, asked: Arrivals) -> None:
        self.asked = asked
        self.outcome = Outcome()
        head = f"POST {asked.path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(asked.body)}\r\n\r\n"
        self.request = head.encode() + asked.body
        self.free: list[_Connection] = []
        self.connections: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        asked, outcome = self.asked, self.outcome
        began_s, cpu_s = time.monotonic(), time.process_time()
        while (passed_s := time.monotonic() - began_s) < asked.seconds:
            while outcome.sent < passed_s * asked.per_s:
                due_s = began_s + outcome.sent / asked.per_s
                outcome.late_s = max(outcome.late_s, time.monotonic() - due_s)
                outcome.sent += 1
                self._send(due_s)
            await asyncio.sleep(TICK_S)
        outcome.seconds = asked.seconds
        outcome.client_cpu_s = time.process_time() - cpu_s
        ends_s = time.monotonic() + asked.patience_s
        while outcome.unanswered and time.monotonic() < ends_s:
            await asyncio.sleep(TICK_S)
        for task in self._opening:
            task.cancel()
        for one in self.connections:
            one.leave()
        return outcome

    def _send(self, due_s: float) -> None:
        if self.free:
            self.free.pop().send(due_s)
            return
        task = asyncio.get_running_loop().create_task(self._open(due_s))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Connection(self, due_s), HOST, self.asked.port)
        except OSError as error:
            self.failed(str(error))

    def failed(self, why: str) -> None:
        self.outcome.failed += 1
        self.outcome.first_failed = self.outcome.first_failed or why


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, sender: _Sender, due_s: float) -> None:
        self._sender = sender
        self._due_s: float | None = due_s
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._sender.connections.add(self)
        self._transport.write(self._sender.request)

    def send(self, due_s: float) -> None:
        assert self._transport is not None
        self._due_s = due_s
        self._transport.write(self._sender.request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(self._read, 0, end + 2) if end >= 0 else None
        if length is None or len(self._read) < end + 4 + int(length[1]):
            return
        self._answered(self._read)
        self._read = b""

    def _answered(self, answer: bytes) -> None:
        due_s, self._due_s = self._due_s, None
        assert due_s is not None
        outcome, status = self._sender.outcome, answer[9:12]
        if status == b"200":
            outcome.answered_s.append(time.monotonic() - due_s)
        elif status in REFUSED:
            outcome.refused_s.append(time.monotonic() - due_s)
        else:
            self._sender.failed(answer[:200].decode("latin-1"))
        self._sender.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sender.connections.discard(self)
        if self in self._sender.free:
            self._sender.free.remove(self)
        if self._due_s is not None and self._transport is not None and not self._transport.is_closing():
            self._sender.failed(f"connection lost: {exc!r}")

    def leave(self) -> None:
        """End the connection, with a request that is still open if there is one."""
        if self._transport is not None:
            self._transport.abort()


def send_all(asked: Arrivals) -> Outcome:
    """Send all requests, and return what became of them."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_Sender(asked).run())
    finally:
        gc.enable()
