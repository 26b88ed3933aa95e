"""A connection that sends whatever HTTP/2 frames a test wants, and reads what comes back frame by frame."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from hpack import Decoder

from core.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Setting,
    frame,
    settings,
)
from core.http2.grpc_heads import header_block
from core.http2.grpc_messages import prefix

PREDICT = "/tensorflow.serving.PredictionService/Predict"
OPENING = PREFACE + settings({})
GRPC = (b"content-type", b"application/grpc"), (b"te", b"trailers")


class Frame(NamedTuple):
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frames_of(data: bytes) -> list[Frame]:
    """Cut bytes into frames; there must be nothing left."""
    frames = []
    while data:
        length, kind, flags, stream = int.from_bytes(data[:3], "big"), data[3], data[4], data[5:9]
        assert len(data) >= 9 + length
        frames.append(Frame(kind, flags, int.from_bytes(stream, "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return frames


def head_fields(path: str = PREDICT, *more: tuple[bytes, bytes], method: bytes = b"POST") -> list[tuple[bytes, bytes]]:
    """Return the headers of a call."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"x")]
    return [*pseudo, *GRPC, *more]


def head_block(path: str = PREDICT, *more: tuple[bytes, bytes], method: bytes = b"POST") -> bytes:
    """Return a header block that uses no table."""
    return header_block(head_fields(path, *more, method=method))


def message(body: bytes) -> bytes:
    """Return a message with what goes before it."""
    return prefix(len(body)) + body


def call(stream: int, body: bytes = b"", path: str = PREDICT, *more: tuple[bytes, bytes]) -> bytes:
    """Return the frames of a whole call with one message."""
    opened = frame(HEADERS, END_HEADERS, stream, head_block(path, *more))
    return opened + frame(DATA, END_STREAM, stream, message(body))


@dataclass
class CallAnswer:
    """What came on one stream."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    has_ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.fields["grpc-status"])

    @property
    def text(self) -> str:
        return self.fields.get("grpc-message", "")


class Answers:
    """What a server sent, by stream."""

    def __init__(self) -> None:
        self._decoder = Decoder(2**20)
        self.frames: list[Frame] = []
        self.streams: dict[int, CallAnswer] = {}

    def take(self, frames: Iterable[Frame]) -> None:
        for one in frames:
            self.frames.append(one)
            if one.stream:
                self._take(one, self.streams.setdefault(one.stream, CallAnswer()))

    def _take(self, one: Frame, answer: CallAnswer) -> None:
        if one.kind == HEADERS:
            answer.fields |= {str(name): str(value) for name, value in self._decoder.decode(one.payload)}
        elif one.kind == DATA:
            answer.body += one.payload
        elif one.kind == RST_STREAM:
            answer.reset = int.from_bytes(one.payload, "big")
        answer.has_ended |= one.kind in {HEADERS, DATA} and bool(one.flags & END_STREAM)

    @property
    def fault(self) -> int | None:
        """Why the server ended the connection, if it said so."""
        said = [one.payload for one in self.frames if one.kind == GOAWAY]
        return int.from_bytes(said[-1][4:8], "big") if said else None


class RawHttp2:
    """One connection; used as a context manager."""

    def __init__(self, address: int | str, opening: bytes = OPENING, timeout_s: float = 60.0) -> None:
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), timeout=timeout_s)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout_s)
            self.socket.connect(address)
        self.answers = Answers()
        self.is_closed = False
        self._rest = b""
        self._timeout_s = timeout_s
        self.send(opening)

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def tell(self, **values: int) -> None:
        """Send settings."""
        self.send(settings({Setting[name.upper()]: value for name, value in values.items()}))

    def read_until(self, is_true: Callable[[], bool]) -> None:
        """Read what comes until something holds; a connection that is closed before is an EOFError."""
        ends_at_s = time.monotonic() + self._timeout_s
        while not is_true():
            if self.is_closed:
                raise EOFError
            if time.monotonic() > ends_at_s:
                raise TimeoutError
            self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(2**20)
        except ConnectionResetError:
            data = b""
        self.is_closed = not data
        self._rest += data
        whole = []
        while len(self._rest) >= 9 and len(self._rest) >= 9 + int.from_bytes(self._rest[:3], "big"):
            end = 9 + int.from_bytes(self._rest[:3], "big")
            whole += frames_of(self._rest[:end])
            self._rest = self._rest[end:]
        self.answers.take(whole)

    def answer(self, stream: int) -> CallAnswer:
        """Wait for the end of a stream."""
        answers = self.answers.streams
        self.read_until(lambda: stream in answers and (answers[stream].has_ended or answers[stream].reset is not None))
        return answers[stream]

    def ask(self, stream: int, body: bytes = b"", path: str = PREDICT, *more: tuple[bytes, bytes]) -> CallAnswer:
        """Make a call and wait for its answer."""
        self.send(call(stream, body, path, *more))
        return self.answer(stream)

    def fault(self) -> int | None:
        """Wait until the server ends the connection; gives its reason."""
        self.read_until(lambda: self.is_closed)
        return self.answers.fault

    def is_alive(self) -> bool:
        """Whether a ping is answered."""
        self.send(frame(6, 0, 0, b"is alive"))
        try:
            self.read_until(lambda: any(one.kind == 6 and one.payload == b"is alive" for one in self.answers.frames))
        except (EOFError, ConnectionError):
            return False
        return True

    def reset(self) -> None:
        """Close at once, without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()


ACKNOWLEDGED = frame(SETTINGS, ACK, 0)
