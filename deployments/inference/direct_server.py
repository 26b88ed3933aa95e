"""The model server's side of the direct transport: a TCP port of the replica that takes framed calls."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Protocol, TypeAlias, cast

from core.errors import Code
from core.routing.call_trailer import unpacked_trailer
from core.routing.direct_frames import (
    LARGEST_PAYLOAD_BYTES,
    BrokenFrame,
    Frame,
    FrameKind,
    FrameReader,
    frame_header,
)
from core.routing.transport import LOOPBACK, Answer, Call, Method
from deployments.comparison.peer_copies import CopyTaker, PeerCopies
from deployments.system.tcp_peer import SilenceWatch
from deployments.telemetry.process_metrics import report

log = logging.getLogger(__name__)

UNAUTHENTICATED_PAYLOAD_BYTES = 256
GREETING_TIMEOUT_S = 5.0
"""How long a connection may stay without having shown the token."""

MOST_WAITING = 256
"""Above this, calls that wait for their turn are worked on before more of them are read."""

Reply: TypeAlias = Callable[[Answer], None]

METHODS = {int(method): method for method in Method}


class Ticket(Protocol):
    """A call that is being worked on."""

    def cancel(self) -> None:
        """Drop the call if its work has not begun."""


class Arrival:
    """A call that has come, when that was by the monotonic clock, and where its answer goes."""

    __slots__ = ("call", "reply", "since_s")

    def __init__(self, call: Call, reply: Reply, since_s: float) -> None:
        self.call = call
        self.reply = reply
        self.since_s = since_s

    def is_late(self, now_s: float) -> bool:
        """Whether its caller's time is up."""
        timeout_s = self.call.timeout_s
        return timeout_s is not None and now_s - self.since_s >= timeout_s

    def begun(self, now_s: float) -> Call:
        """Return the call with what is left of its caller's time."""
        timeout_s = self.call.timeout_s
        return self.call if timeout_s is None else self.call._replace(timeout_s=timeout_s - (now_s - self.since_s))


class CallTaker(Protocol):
    """Works on the calls."""

    def group_size(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many of the first of these calls should be worked on together, one at least."""
        ...

    def submit_together(self, arrivals: Sequence[Arrival]) -> Sequence[Ticket | None]:
        """Work on calls, and reply on the event loop's thread, at once or later.

        Return a ticket for each call; None for one that is over.
        """
        ...

    def drop(self, arrival: Arrival) -> None:
        """Take note of a call whose caller has gone before it was submitted."""


class _Peer(asyncio.BufferedProtocol):
    """One connection of one router."""

    def __init__(self, server: DirectServer) -> None:
        self._server = server
        self._reader = FrameReader(UNAUTHENTICATED_PAYLOAD_BYTES)
        self._trusted = False
        self.open: dict[int, Ticket | None] = {}
        self._leaving = False
        self._waiting: dict[int, Arrival] = {}
        self._copies = PeerCopies(self._send_report)
        self._is_due = False
        self._is_working = False
        self._is_send_due = False
        self._is_unread = False
        self._read_at_s = 0.0
        self._unsent: list[bytes | bytearray] = []
        self.open_calls = 0.0
        self._transport: asyncio.Transport | None = None
        self._silence: SilenceWatch | None = None
        self._loop = asyncio.get_running_loop()
        self._greeting_timer = self._loop.call_later(GREETING_TIMEOUT_S, self._refuse, "no greeting")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._silence = SilenceWatch(transport)
        self._server.peers.add(self)
        if self._server.is_draining:
            self.go_away()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._silence is not None:
            self._silence.end()
        self._greeting_timer.cancel()
        self._server.peers.discard(self)
        self._drop_waiting()
        abandoned, self.open = self.open, {}
        for ticket in filter(None, abandoned.values()):
            ticket.cancel()
        self._copies.drop()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._read_at_s = time.monotonic()
        try:
            for frame in self._reader.filled(nbytes):
                self._take(frame)
        except BrokenFrame as error:
            self._refuse(str(error))
            return
        if self._waiting and not self._is_due:
            self._work()
        while len(self._waiting) > MOST_WAITING and not self._is_unread:
            self._work()
        self._close_if_done()

    def _turn(self) -> None:
        """Work on those calls of earlier reads that still wait."""
        self._is_due = False
        if self._waiting and not self._is_unread:
            self._work()
        self._close_if_done()

    def _work(self) -> None:
        """Work on the first of the calls that wait, and send their answers in one write.

        The others have their turn when the event loop has looked at its sockets: some may be withdrawn by then.
        """
        waiting, taker = self._waiting, self._server.taker
        size = taker.group_size(tuple(waiting.values())) if len(waiting) > 1 else 1
        ids = tuple(islice(waiting, size))
        self._is_working = True
        try:
            tickets = taker.submit_together([waiting.pop(call_id) for call_id in ids])
        except Exception:
            # Without a connection the router repeats the calls elsewhere; otherwise it would wait for their answers.
            log.exception("direct_calls_failed")
            self._refuse("its calls could not be worked on")
            return
        finally:
            self._is_working = False
        for call_id, ticket in zip(ids, tickets, strict=True):
            if ticket is not None and call_id in self.open:
                self.open[call_id] = ticket
        self._send()
        self._work_soon()

    def _work_soon(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._turn)

    def _refuse(self, why: str) -> None:
        log.warning("direct_peer_refused error=%r", why)
        self._drop_waiting()
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()

    def _drop_waiting(self) -> None:
        dropped, self._waiting = self._waiting, {}
        for call_id, arrival in dropped.items():
            del self.open[call_id]
            self._server.taker.drop(arrival)

    def pause_writing(self) -> None:
        """The router does not read its answers: work on no more of its calls until it does."""
        self._is_unread = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
        self._is_unread = False
        self._work_soon()

    def _take(self, frame: Frame) -> None:
        if not self._trusted:
            self._greet(frame)
        elif frame.kind == FrameKind.CALL:
            self._begin(frame)
        elif frame.kind == FrameKind.CANCEL:
            self._cancel(frame.call_id)
        elif frame.kind == FrameKind.LOAD:
            self.open_calls = frame.wait_ms / 1000
        else:
            raise BrokenFrame(f"a router never sends frames of kind {frame.kind}")

    def _greet(self, frame: Frame) -> None:
        if frame.kind != FrameKind.HELLO or not hmac.compare_digest(bytes(frame.payload), self._server.token):
            raise BrokenFrame("the peer did not show the token of this replica")
        self._trusted = True
        self._greeting_timer.cancel()
        self._reader.trust(LARGEST_PAYLOAD_BYTES)

    def _begin(self, frame: Frame) -> None:
        method = METHODS.get(frame.detail)
        call_id = frame.call_id
        if method is None or call_id in self.open or call_id in self._copies:
            raise BrokenFrame(f"call {call_id} of method {frame.detail} makes no sense here")
        if method is Method.COMPARE:
            copy = Call(method, cast(bytes, frame.payload), frame.wait_ms / 1000)
            self._copies.begin(None if self._leaving else self._server.copies, call_id, copy)
            return
        self.open[call_id] = None
        if method in self._server.beside:
            self._reply(call_id, self._server.beside[method](bytes(frame.payload)))
            return
        call = Call(method, cast(bytes, frame.payload), frame.wait_ms / 1000 if frame.wait_ms else None)
        if frame.trailer:
            trace, headers = unpacked_trailer(frame.trailer)
            call = call._replace(trace=trace, headers=headers)
        self._waiting[call_id] = Arrival(call, partial(self._reply, call_id), self._read_at_s)

    def _send_report(self, call_id: int, answer: Answer) -> None:
        head = frame_header(FrameKind.ANSWER, len(answer.body), call_id=call_id, detail=answer.code)
        self._unsent += (head, answer.body)
        self._send()

    def _cancel(self, call_id: int) -> None:
        self._copies.cancel(call_id)
        arrival, ticket = self._waiting.pop(call_id, None), self.open.pop(call_id, None)
        if arrival is not None:
            self._server.taker.drop(arrival)
        elif ticket is not None:
            ticket.cancel()

    def _reply(self, call_id: int, answer: Answer) -> None:
        if self._transport is None or call_id not in self.open:
            return
        del self.open[call_id]
        head = frame_header(FrameKind.ANSWER, len(answer.body), call_id=call_id, detail=answer.code)
        self._unsent += (head, answer.body)
        if self._is_working or self._is_send_due:
            return
        if self.open:
            self._is_send_due = True
            self._loop.call_soon(self._send_due)
        else:
            self._send()
            self._close_if_done()

    def _send_due(self) -> None:
        self._is_send_due = False
        self._send()
        self._close_if_done()

    def _send(self) -> None:
        """Write all answers in one system call, which costs as much as a tiny model's run."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.writelines(unsent)

    def go_away(self) -> None:
        """Ask the router for no more calls; close when the last answer is out."""
        self._leaving = True
        self._copies.drop()
        if self._transport is not None:
            self._transport.write(frame_header(FrameKind.GOAWAY, 0))
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._leaving and not self.open and self._transport is not None:
            self._send()
            self._transport.close()


class DirectServer:
    """Listens on a port of the node for routers that know the token; `beside` has what is answered beside the model."""

    def __init__(self, taker: CallTaker, token: bytes) -> None:
        self.taker = taker
        self.copies: CopyTaker | None = None
        self.beside: dict[Method, Callable[[bytes], Answer]] = {Method.METRICS: lambda _: Answer(Code.OK, report())}
        self.token = token
        self.peers: set[_Peer] = set()
        self.is_draining = False
        self._servers: list[asyncio.Server] = []

    async def open(self, host: str) -> tuple[int, bool]:
        """Listen on a free port of `host`; returns its number, and whether 127.0.0.1 answers on it too."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self.peer, host, 0, backlog=1024)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        if host == LOOPBACK:
            return port, True
        try:
            self._servers.append(await loop.create_server(self.peer, LOOPBACK, port, backlog=1024))
        except OSError:
            return port, False
        return port, True

    def peer(self) -> _Peer:
        """Return the protocol of a new connection."""
        return _Peer(self)

    @property
    def open_calls(self) -> float:
        """Calls that all routers together have open here, by their last reports."""
        return sum(peer.open_calls for peer in self.peers)

    async def drain(self, timeout_s: float) -> bool:
        """Take no more calls and wait until every answer is sent; returns whether that was in time."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for peer in tuple(self.peers):
            peer.go_away()
        ends_at = time.monotonic() + timeout_s
        while self.peers:
            if time.monotonic() > ends_at:
                return False
            await asyncio.sleep(0.01)
        return True
