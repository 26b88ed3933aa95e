"""Probes of an HTTP/2 server: frames by encoders that are not ours, and the reaction that a section of an RFC names."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

import h2.config
import h2.connection
import h2.events
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from core.http2.frames import PREFACE, Fault
from tests.support.doors.grpc_calls import BODY, WATCH
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.raw_http2 import PREDICT, RawHttp2

Field = tuple[bytes, bytes]
OPENING = PREFACE + SettingsFrame().serialize()
POST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", PREDICT.encode()), (b":authority", b"x"))
GRPC = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
LATER_STREAM = 1001
"""A stream that no probe uses."""


# Frames.


def block(*fields: Field) -> bytes:
    """Encode a header block that refers to no table but the static one."""
    return Encoder().encode([(name, value, True) for name, value in fields])


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of which nothing is checked."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(stream: int, content: bytes, *flags: str, **more: int) -> bytes:
    """Return HEADERS that hold a whole block."""
    return HeadersFrame(stream, content, flags=["END_HEADERS", *flags], **more).serialize()


def begun(content: bytes, stream: int = 1) -> bytes:
    """Return HEADERS whose block does not end."""
    return HeadersFrame(stream, content).serialize()


def continued(content: bytes, *flags: str, stream: int = 1) -> bytes:
    return ContinuationFrame(stream, content, flags=flags).serialize()


def data(stream: int, content: bytes = b"", *flags: str, **more: int) -> bytes:
    return DataFrame(stream, content, flags=flags, **more).serialize()


def message(body: bytes = BODY, flag: int = 0) -> bytes:
    """Return a message of gRPC with its prefix."""
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


def opened(*more: Field, stream: int = 1, pseudo: tuple[Field, ...] = POST) -> bytes:
    """Return the head of a call, which goes on."""
    return headers(stream, block(*pseudo, *GRPC, *more))


def called(*more: Field, stream: int = 1, pseudo: tuple[Field, ...] = POST) -> bytes:
    """Return a whole call."""
    return opened(*more, stream=stream, pseudo=pseudo) + data(stream, message(), "END_STREAM")


def only_head(*fields: Field) -> bytes:
    """Return a request of nothing but these fields."""
    return headers(1, block(*fields), "END_STREAM")


def trailers(*fields: Field, stream: int = 1) -> bytes:
    return headers(stream, block(*fields), "END_STREAM")


def settings(*values: tuple[int, int]) -> bytes:
    """Return SETTINGS; one may stand there twice."""
    return raw(4, 0, 0, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values))


def widened(stream: int, by: int) -> bytes:
    return raw(8, 0, stream, by.to_bytes(4, "big"))


def reset(stream: int) -> bytes:
    return RstStreamFrame(stream, 8).serialize()


def priority(stream: int, depends_on: int = 0) -> bytes:
    return PriorityFrame(stream, depends_on=depends_on, stream_weight=15).serialize()


def ping(content: bytes = b"a probe!") -> bytes:
    return PingFrame(0, content).serialize()


def goaway() -> bytes:
    return GoAwayFrame(0, 0, 0).serialize()


def window_of_connection(by: int) -> bytes:
    return WindowUpdateFrame(0, by).serialize()


WATCHED = tuple((name, WATCH.encode() if name == b":path" else value) for name, value in POST)
UNKNOWN = tuple((name, b"/none/None" if name == b":path" else value) for name, value in POST)
HALF_CLOSED = opened(pseudo=WATCHED) + data(1, message(b""), "END_STREAM")
"""A call whose answer never ends: its client has said all that it has to say."""


# Reactions.


class Reaction(Protocol):
    """What a server does."""

    def require(self, client: RawHttp2) -> None:
        """Fail unless this comes."""


def _require_use(client: RawHttp2) -> None:
    """Fail unless the connection goes on: a later call is answered."""
    client.send(called(stream=LATER_STREAM))
    later = client.answer(LATER_STREAM)
    assert (later.status, later.reset) == (0, None)


@dataclass(frozen=True)
class Ends:
    """The connection ends with GOAWAY and this code."""

    fault: Fault

    def require(self, client: RawHttp2) -> None:
        assert client.fault() == self.fault


@dataclass(frozen=True)
class Resets:
    """The stream is reset with this code, and the connection goes on."""

    fault: Fault
    stream: int = 1

    def require(self, client: RawHttp2) -> None:
        streams = client.answers.streams
        client.read_until(lambda: self.stream in streams and streams[self.stream].reset not in {None, Fault.NO_ERROR})
        assert streams[self.stream].reset == self.fault
        _require_use(client)


@dataclass(frozen=True)
class Answers:
    """The call is answered with this status of gRPC, and with these fields."""

    status: int = 0
    fields: tuple[tuple[str, str], ...] = ()

    def require(self, client: RawHttp2) -> None:
        answer = client.answer(1)
        assert answer.fields.get("grpc-status") == str(self.status), answer
        assert answer.fields.items() >= dict(self.fields).items()
        _require_use(client)


@dataclass(frozen=True)
class HttpAnswers:
    """The request is not one of gRPC: it is answered with this status of HTTP."""

    status: int

    def require(self, client: RawHttp2) -> None:
        answer = client.answer(1)
        assert answer.fields[":status"] == str(self.status)
        assert "grpc-status" not in answer.fields
        _require_use(client)


@dataclass(frozen=True)
class PassesOver:
    """Nothing comes of it: no reset but one without an error, and the connection goes on."""

    def require(self, client: RawHttp2) -> None:
        _require_use(client)
        assert all(one.reset in {None, Fault.NO_ERROR} for one in client.answers.streams.values())
        assert client.answers.fault is None


ENDS_PROTOCOL, ENDS_SIZE, ENDS_FLOW = (
    Ends(one) for one in (Fault.PROTOCOL_ERROR, Fault.FRAME_SIZE_ERROR, Fault.FLOW_CONTROL_ERROR)
)
ENDS_CLOSED, ENDS_COMPRESSION, ENDS_CALM = (
    Ends(one) for one in (Fault.STREAM_CLOSED, Fault.COMPRESSION_ERROR, Fault.ENHANCE_YOUR_CALM)
)
MALFORMED, CLOSED = Resets(Fault.PROTOCOL_ERROR), Resets(Fault.STREAM_CLOSED)
GOOD, NOTHING = Answers(), PassesOver()


# Probes.


@dataclass(frozen=True)
class Probe:
    """Frames that are sent, and the reaction that a section names; `first` is a call that is answered before."""

    section: str
    name: str
    sent: bytes
    reaction: Reaction
    first: bytes = b""
    opening: bytes = OPENING

    @property
    def id(self) -> str:
        return f"{self.section} {self.name}"

    def run(self, site: GrpcSite) -> None:
        """Fail unless the port reacts so."""
        with RawHttp2(site.port, self.opening, timeout_s=60.0) as client:
            if self.first:
                client.send(self.first)
                client.answer(1)
            client.send(self.sent)
            self.reaction.require(client)


class Bystander:
    """Another client's connection, by another implementation of HTTP/2; used as a context manager."""

    def __init__(self, site: GrpcSite) -> None:
        self._socket = socket.create_connection(("127.0.0.1", site.port), timeout=60.0)
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()

    def ask(self) -> str:
        """Make a call; return its status."""
        stream = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream, [*POST, *GRPC])
        self._http2.send_data(stream, message(), end_stream=True)
        status = ""
        while True:
            self._socket.sendall(self._http2.data_to_send())
            for event in self._http2.receive_data(self._socket.recv(2**16)):
                if isinstance(event, h2.events.TrailersReceived):
                    status = dict(event.headers)["grpc-status"]
                if isinstance(event, h2.events.StreamEnded):
                    return status

    def close(self) -> None:
        self._socket.close()
