"""What the kernel knows of peers: bytes not taken, and silence, which ends a connection unlike a slow process."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deployments.system import tcp_peer
from deployments.system.tcp_peer import Signs, SilenceWatch, unacknowledged_bytes
from tests.support.clients import wait_until
from tests.support.direct_sites import KeptWrites, until
from tests.support.silence import MORE_THAN_FITS, Watched, fall_silent

OTHER_HOST = "127.0.0.2"
SILENT_AFTER_S = 1.5
"""More than the time in which a kernel may answer several questions once: it does so every half second."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a peer count as silent soon: one probe a second after the last byte."""
    monkeypatch.setattr(tcp_peer, "SILENT_AFTER_S", SILENT_AFTER_S)
    monkeypatch.setattr(tcp_peer, "LOOK_EVERY_S", 0.05)
    kept_alive = [(level, name, min(value, 1)) for level, name, value in tcp_peer.OPTIONS[:-1]]
    monkeypatch.setattr(tcp_peer, "OPTIONS", (*kept_alive, tcp_peer.OPTIONS[-1]))


def test_bytes_that_a_peer_does_not_take_are_counted() -> None:
    """Until it takes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender:
        receiver = listener.accept()[0]
        with receiver:
            sender.setblocking(False)  # noqa: FBT003 - the interface of sockets
            sent = sum(iter(lambda: _sent(sender), 0))
            receiver.setblocking(True)  # noqa: FBT003 - the interface of sockets

            assert 0 < unacknowledged_bytes(sender) <= sent
            receiver.recv(sent, socket.MSG_WAITALL)
            wait_until(lambda: unacknowledged_bytes(sender) == 0, "all was taken")


def _sent(connection: socket.socket) -> int:
    try:
        return connection.send(bytes(65536))
    except BlockingIOError:
        return 0


def test_what_is_not_a_connection_has_nothing_unacknowledged() -> None:
    """A transport may have no socket, and a closed one has no queue."""
    assert unacknowledged_bytes(None) == 0
    closed = socket.socket()
    closed.close()
    assert unacknowledged_bytes(closed) == 0


@asynccontextmanager
async def joined(own: str = OTHER_HOST) -> AsyncIterator[tuple[Watched, socket.socket]]:
    """A watched connection, and the socket of its peer, which reads nothing."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, watched = await loop.create_connection(Watched, *listener.getsockname(), local_addr=(own, 0))
        peer = listener.accept()[0]
        with peer:
            yield watched, peer
        watched.transport.abort()
        await watched.lost


@pytest.mark.parametrize("state", ["nothing_to_send", "unacknowledged", "no_room"])
def test_a_connection_ends_when_its_peer_is_silent(run, state: str) -> None:
    """Whatever it was doing."""

    async def check() -> None:
        async with joined() as (watched, peer):
            if state == "no_room":
                watched.fill()
                await until(lambda: _is_probed(watched))
            began_s = time.monotonic()
            fall_silent(peer)
            if state == "unacknowledged":
                watched.transport.write(b"x")

            assert await watched.lost - began_s > SILENT_AFTER_S / 2

    run(check)


def _is_probed(watched: Watched) -> bool:
    """Whether the kernel has only questions out, as its peer has no room."""
    info = watched.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 60)
    backoff, unacked = info[4], struct.unpack_from("I", info, 24)[0]
    return backoff > 0 and not unacked


def test_a_peer_that_only_reads_nothing_keeps_its_connection(run) -> None:
    """Its kernel is heard seldom, as it is asked seldom, but answers each time; in the end everything arrives."""

    async def check() -> None:
        async with joined() as (watched, peer):
            watched.fill()
            longest_s = 0.0
            ends_at = time.monotonic() + 5
            while time.monotonic() < ends_at:
                await asyncio.sleep(0.01)
                signs = Signs.of(watched.transport.get_extra_info("socket"))
                longest_s = max(longest_s, signs.heard_s if signs else 0.0)

            assert longest_s > SILENT_AFTER_S
            assert not watched.lost.done()
            left = await asyncio.to_thread(_bytes_left, peer)
            assert left == 0

    run(check)


def _bytes_left(peer: socket.socket) -> int:
    peer.settimeout(30)
    left = MORE_THAN_FITS
    while left:
        left -= len(peer.recv(2**20))
    return left


def test_within_a_host_nothing_is_watched(run) -> None:
    """No kernel is silent to itself."""

    async def check() -> None:
        async with joined("127.0.0.1") as (watched, peer):
            fall_silent(peer)
            watched.transport.write(b"x")

            assert not watched.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await asyncio.wait([watched.lost], timeout=2 * SILENT_AFTER_S)
            assert not watched.lost.done()

    run(check)


def test_after_its_end_a_watch_ends_nothing(run) -> None:
    """A protocol ends it with its connection."""

    async def check() -> None:
        async with joined() as (watched, peer):
            watched.watch.end()
            fall_silent(peer)
            watched.transport.write(b"x")

            await asyncio.wait([watched.lost], timeout=2 * SILENT_AFTER_S)
            assert not watched.lost.done()

    run(check)


class Told(KeptWrites):
    """A connection to another host of which the kernel says what it is told to; also its socket."""

    def __init__(self, *told: bytes) -> None:
        super().__init__()
        self.told = list(told)
        self.options: list[tuple[int, int, int]] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def getsockname(self) -> tuple[str, int]:
        return "10.0.0.1", 1

    def getpeername(self) -> tuple[str, int]:
        return "10.0.0.2", 2

    def setsockopt(self, *option: int) -> None:
        raise OSError(option)

    def getsockopt(self, *_: int) -> bytes:
        if not self.told:
            raise OSError
        return self.told.pop(0)


def info(*, probes: int = 0, unacked: int = 0, sent_ms: int = 0, data_ms: int = 9000, ack_ms: int = 0) -> bytes:
    """Return the beginning of a `struct tcp_info`."""
    head = bytes((1, 0, 0, probes, 0, 0, 0, 0))
    return head + struct.pack("13I", *([0] * 4), unacked, *([0] * 4), sent_ms, 0, data_ms, ack_ms)


ASKED, REPEATED = info(probes=1, ack_ms=1600), info(unacked=1, sent_ms=100, ack_ms=1600)
ANSWERED, RECENT = info(unacked=1, sent_ms=1600, ack_ms=1600), info(probes=1, ack_ms=100)


@pytest.mark.parametrize(
    ("told", "is_silent"),
    [
        ([ASKED] * 3, True),
        ([REPEATED] * 3, True),
        ([RECENT, RECENT, ASKED], True),
        ([ASKED] * 2, False),
        ([ASKED, ASKED, ANSWERED, ASKED, ASKED], False),
        ([ANSWERED] * 9, False),
        ([RECENT] * 9, False),
        ([info(ack_ms=9000)] * 9, False),
        ([info(probes=1, ack_ms=9000, data_ms=100)] * 9, False),
        ([], False),
        ([b"", *[ASKED] * 3], False),
    ],
    ids=[
        "questions",
        "repetitions",
        "asked_in_time",
        "too_few",
        "answered",
        "no_room",
        "heard_lately",
        "nothing_asked",
        "data_comes",
        "unknown",
        "short",
    ],
)
def test_a_peer_is_silent_that_was_heard_long_ago_and_owes_an_answer_for_some_looks(
    run, monkeypatch, told: list[bytes], *, is_silent: bool
) -> None:
    """An answer since the last question counts, and a question that has only just been asked does not."""
    monkeypatch.setattr(tcp_peer, "LOOK_EVERY_S", 0.0)

    async def check() -> None:
        transport = Told(*told)
        watch = SilenceWatch(transport)

        await until(lambda: transport.is_aborted or not transport.told or told[:1] == [b""])
        await asyncio.sleep(0.01)

        assert transport.is_aborted is is_silent
        watch.end()

    run(check)


def test_what_is_no_connection_is_left_alone(run) -> None:
    """A transport may have no socket, and its peer may have gone before anybody looked."""

    async def check() -> None:
        SilenceWatch(KeptWrites()).end()
        with socket.socket() as unconnected:
            transport = Told()
            transport.get_extra_info = lambda *_: unconnected
            SilenceWatch(transport).end()
            assert not unconnected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert Signs.of(unconnected) is None

    run(check)
