"""A real HTTP sink of events, on a socket of its own, that answers, fails, hangs or talks nonsense as told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event


@dataclass(frozen=True)
class Posted:
    """One request that came whole."""

    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[["Handler"], None]


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with a status."""

    def act(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def says(content: bytes) -> Behaviour:
    """Write these bytes instead of an answer, and close the connection."""

    def act(handler: Handler) -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return act


def hangs(handler: Handler) -> None:
    """Never answer."""
    handler.server.sink.over.wait(60)
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """Answer a byte at a time, and never to the end."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not handler.server.sink.over.wait(0.02):
            handler.wfile.write(b"y")
    handler.close_connection = True


def endless(handler: Handler) -> None:
    """Answer with a body that does not end."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not handler.server.sink.over.wait(0):
            handler.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")
    handler.close_connection = True


class Handler(BaseHTTPRequestHandler):
    """Takes a request, and does what is next in the script; answers well when that is over."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a request."""
        sink: Sink = self.server.sink
        body = self.rfile.read(int(self.headers["content-length"]))
        behaviour = sink.script.popleft() if sink.script else status(202)
        sink.posted.append(Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        behaviour(self)

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def process_request(self, request: socket.socket, client_address: object) -> None:
        """Remember the connection, so that it can be cut."""
        self.sink.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet when a client has gone."""


class Sink:
    """The sink, what it was sent, and what it does next."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.posted: list[Posted] = []
        self.script: deque[Behaviour] = deque()
        self.connections: list[socket.socket] = []
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.sink = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self.port}/events"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening, let hanging answers go, and cut all connections."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        for one in self.connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @property
    def events(self) -> list[BaseCloudEvent]:
        """Everything that came in single events, read by CloudEvents' own package."""
        return [from_http_event(HTTPMessage(one.headers, one.body)) for one in self.posted]


@contextmanager
def sink(tls: ssl.SSLContext | None = None) -> Iterator[Sink]:
    """Open a sink."""
    opened = Sink(tls=tls)
    yield opened
    opened.close()
