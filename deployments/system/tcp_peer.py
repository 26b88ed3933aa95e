"""What the kernel knows of the peer of a connection: the bytes that it has not taken, and whether its host is silent.

A host is silent without power, hung, or cut off; one whose process is busy or stopped is not. TCP alone would go on for
a quarter of an hour, or without anything to send for ever. While nothing waits for the peer, the kernel asks the peer's
kernel (keepalive). While something does, the kernel repeats it, or asks whether there is room by now; the peer's kernel
answers both, however long its process has read nothing. TCP_USER_TIMEOUT would end the connection all the same, so the
kernel is asked when it has heard of the peer.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

log = logging.getLogger(__name__)

SILENT_AFTER_S = 6.0
"""How long a peer on another host may let no sign of life come although it was asked for one."""

LOOK_EVERY_S = 1.0
UNANSWERED_LOOKS = 3
"""In so many looks in a row the peer must owe an answer: one packet may have left just before the first."""

PROBED_AFTER_S = 3
"""How long a connection may have nothing to send before its peer is asked for a sign of life."""

PROBED_EVERY_S = 1
MOST_PROBES = 3

TCP_RTO_MAX_MS = 44
"""Bounds the growing pauses between two repetitions: option of linux/tcp.h since Linux 6.15; two minutes before."""

LONGEST_PAUSE_MS = 2000

OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBED_AFTER_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBED_EVERY_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, MOST_PROBES),
    (socket.IPPROTO_TCP, TCP_RTO_MAX_MS, LONGEST_PAUSE_MS),
)

_INFO = struct.Struct("=3xB20xI16xI4xII")
"""Of `struct tcp_info` in linux/tcp.h: probes, unacked, last_data_sent, last_data_recv, last_ack_recv; times in ms."""


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return how many written bytes the peer has not taken; 0 where the kernel does not say."""
    answer = bytes(4)
    with suppress(OSError):
        if connection is not None and connection.fileno() >= 0:
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, answer)
    found: int = struct.unpack("i", answer)[0]
    return found


@dataclass(frozen=True, slots=True)
class Signs:
    """What the kernel knows of a peer: how long it has heard nothing, and whether it has asked since."""

    heard_s: float
    is_asked: bool

    @classmethod
    def of(cls, connection: socket.socket) -> Signs | None:
        """Return what is known now; None where the kernel does not say, or the connection has ended.

        A peer without room leaves what it gets unacknowledged, but answers each repetition: those after the last sign
        count only.
        """
        try:
            content = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        except (OSError, ValueError):  # uvloop's sockets raise the latter once they are closed
            return None
        if len(content) < _INFO.size:
            return None
        probes, unacked, sent_ms, data_ms, ack_ms = _INFO.unpack(content)
        heard_ms = min(data_ms, ack_ms)
        return cls(heard_ms / 1000, bool(probes or (unacked and sent_ms < heard_ms)))


class SilenceWatch:
    """Ends one connection once its peer's host is silent, from now until `end`; never one within a host."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._socket = cast(socket.socket, transport.get_extra_info("socket"))
        self._loop = asyncio.get_running_loop()
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None
        if _is_to_another_host(self._socket):
            for option in OPTIONS:
                with suppress(OSError):  # it has ended already, or the kernel is older
                    self._socket.setsockopt(*option)
            self._look_later()

    def end(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        signs = Signs.of(self._socket)
        if signs is None:
            return
        self._unanswered = self._unanswered + 1 if signs.is_asked else 0
        if self._unanswered >= UNANSWERED_LOOKS and signs.heard_s >= SILENT_AFTER_S:
            address = self._transport.get_extra_info("peername")
            log.warning("peer_silent address=%s silent_s=%.1f", address, signs.heard_s)
            self._transport.abort()
            return
        self._look_later()


def _is_to_another_host(connection: socket.socket | None) -> bool:
    with suppress(OSError):  # it has ended already
        return connection is not None and connection.getsockname()[0] != connection.getpeername()[0]
    return False
