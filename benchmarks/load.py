"""Closed loops of clients: each sends its next request when it has its answer. Runs in a process of its own.

The HTTP client is a bare asyncio protocol on uvloop, several times cheaper than any server it measures; the gRPC
client is grpc.aio with raw bytes, which costs about as much as a grpc.aio server. Every answer is compared with the
expected one, byte by byte.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import re
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import cast

import grpc
import grpc.aio
import numpy as np
import uvloop

HOST = "127.0.0.1"
LONGEST_ANSWER_S = 30.0
RECONNECT_S = 0.05
LARGEST_MESSAGE = 2**31 - 1
CHANNEL = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),  # otherwise the channels of a process share one connection
)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Job:
    """What to send, where, by how many clients, how long; 0 seconds means one request by each client.

    `expected` is the only right answer; without it every successful answer is right. The clients of gRPC share
    `channels`, each a connection of its own.
    """

    is_grpc: bool
    port: int
    path: str
    body: bytes
    expected: bytes | None = None
    clients: int = 1
    seconds: float = 0.0
    headers: str = ""
    channels: int = 1


@dataclass(slots=True)
class Sample:
    """What happened: for each right answer its time of arrival (monotonic clock) and its latency."""

    ended_s: array[float] = field(default_factory=lambda: array("d"))
    latency_s: array[float] = field(default_factory=lambda: array("d"))
    wrong: int = 0
    first_wrong: str = ""
    answer: bytes = b""
    seconds: float = 0.0
    client_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latency_s) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latency_s, percent)) * 1e3 if self.latency_s else float("nan")


class _Loop:
    """The state that all clients of one job share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.sample = Sample()
        self._began_s = time.monotonic()
        self._ends_s = self._began_s + job.seconds
        self._cpu_s = time.process_time()

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_s

    def answered(self, began_s: float, answer: bytes) -> None:
        if self.job.expected is not None and answer != self.job.expected:
            self.failed(f"unexpected answer: {answer[:200]!r}")
            return
        now_s = time.monotonic()
        self.sample.ended_s.append(now_s)
        self.sample.latency_s.append(now_s - began_s)
        self.sample.answer = answer

    def failed(self, why: str) -> None:
        self.sample.wrong += 1
        self.sample.first_wrong = self.sample.first_wrong or why

    def result(self) -> Sample:
        self.sample.seconds = time.monotonic() - self._began_s
        self.sample.client_cpu_s = time.process_time() - self._cpu_s
        return self.sample


class _HttpClient(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, loop: _Loop, request: bytes) -> None:
        self._loop = loop
        self._request = request
        self.closed = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._waits = False
        self._reset()

    def _reset(self) -> None:
        self._parts: list[bytes] = []
        self._body_at = 0
        self._missing = 0
        self._is_chunked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._waits = True
        self._began_s = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._body_at:
            self._missing -= len(data)
        else:
            self._read_head()
        if self._body_at and self._is_whole(data):
            self._answered()

    def _read_head(self) -> None:
        data = b"".join(self._parts)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        length = CONTENT_LENGTH.search(data, 0, end)
        self._is_chunked = length is None
        self._body_at = end + 4
        self._missing = self._body_at + int(length[1]) - len(data) if length else 0

    def _is_whole(self, last: bytes) -> bool:
        if not self._is_chunked:
            return self._missing <= 0
        tail = last if len(last) >= len(LAST_CHUNK) else b"".join(self._parts[-len(LAST_CHUNK) :])
        return tail.endswith(LAST_CHUNK)

    def _answered(self) -> None:
        data = b"".join(self._parts)
        body = data[self._body_at :]
        if self._is_chunked:
            body = b"".join(chunks(body))
        if data[9:12] == b"200":
            self._loop.answered(self._began_s, body)
        else:
            self._loop.failed(f"status {data[9:12]!r}: {body[:200]!r}")
        self._waits = False
        self._reset()
        if self._loop.is_over:
            assert self._transport is not None
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self._loop.failed(f"connection lost: {exc!r}")
        self.closed.set_result(None)


def chunks(body: bytes) -> Iterator[bytes]:
    """Take a chunked body apart."""
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        length = int(body[at:line], 16)
        if not length:
            return
        yield body[line + 2 : line + 2 + length]
        at = line + 2 + length + 2


async def _http_client(loop: _Loop) -> None:
    job = loop.job
    head = (
        f"POST {job.path} HTTP/1.1\r\nHost: {HOST}:{job.port}\r\n{job.headers}Content-Length: {len(job.body)}\r\n\r\n"
    )
    request = head.encode() + job.body
    while True:
        try:
            connect = asyncio.get_running_loop().create_connection(lambda: _HttpClient(loop, request), HOST, job.port)
            _, client = await connect
            await client.closed
        except OSError as error:
            loop.failed(str(error))
            await asyncio.sleep(RECONNECT_S)
        if loop.is_over:
            return


async def _grpc_client(loop: _Loop, call: grpc.aio.UnaryUnaryMultiCallable) -> None:
    while True:
        began_s = time.monotonic()
        try:
            loop.answered(began_s, await call(loop.job.body, timeout=LONGEST_ANSWER_S))
        except grpc.aio.AioRpcError as error:
            loop.failed(f"{error.code()}: {error.details()}")
        if loop.is_over:
            return


async def _run(job: Job) -> Sample:
    loop = _Loop(job)
    limit_s = job.seconds + LONGEST_ANSWER_S
    try:
        if job.is_grpc:
            async with AsyncExitStack() as open_channels:
                channels = [
                    grpc.aio.insecure_channel(f"{HOST}:{job.port}", options=CHANNEL) for _ in range(job.channels)
                ]
                calls = [(await open_channels.enter_async_context(one)).unary_unary(job.path) for one in channels]
                clients = [_grpc_client(loop, calls[at % len(calls)]) for at in range(job.clients)]
                await asyncio.wait_for(asyncio.gather(*clients), limit_s)
        else:
            await asyncio.wait_for(asyncio.gather(*(_http_client(loop) for _ in range(job.clients))), limit_s)
    except TimeoutError:
        loop.failed(f"no end after {limit_s:.0f} s")
    return loop.result()


def run(job: Job) -> Sample:
    """Run one job to its end in this process."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_run(job))
    finally:
        gc.enable()


class LoadProcess:
    """The process that the clients run in."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def start(self, job: Job) -> Future[Sample]:
        return self._pool.submit(run, job)

    def run(self, job: Job) -> Sample:
        return self.start(job).result()

    def close(self) -> None:
        self._pool.shutdown()
