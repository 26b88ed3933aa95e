"""A proxy in front of an HTTP server: counts requests, and misbehaves when it is told to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}


def environment(endpoint: str) -> dict[str, str]:
    """Return the environment variables by which S3 clients find a server."""
    nowhere = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    return {**CREDENTIALS, **nowhere, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def is_listing(self) -> bool:
        return "list-type=2" in self.query


@dataclass
class Reply:
    """What is sent back; `cut_at` bytes of the body, and then the connection ends."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut_at: int | None = None


Fault = Callable[[Seen, Callable[[], Reply]], Reply]
"""Gives the reply to a request; calling the second argument forwards it."""


@dataclass
class _Rule:
    fault: Fault
    applies: Callable[[Seen], bool]
    times: float


@dataclass
class FaultProxy:
    """Forwards to a port on this machine; every fault is used in the order in which they were added."""

    target_port: int
    seen: list[Seen] = field(default_factory=list)
    rewrite: Callable[[str], str] = lambda path: path

    def __post_init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                proxy._answer(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def inject(
        self, fault: Fault, *, when: Callable[[Seen], bool] = lambda _: True, times: float = float("inf")
    ) -> None:
        """Misbehave for the next `times` requests that fit."""
        with self._lock:
            self._rules.append(_Rule(fault, when, times))

    def heal(self) -> None:
        """Behave again."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Count from here."""
        self.seen.clear()

    @property
    def listings(self) -> int:
        """Count the requests that list."""
        return sum(one.is_listing for one in self.seen)

    def reads(self, of: str = "") -> int:
        """Count the requests for contents."""
        return sum(one.method == "GET" and not one.is_listing and one.path.endswith(of) for one in self.seen)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        parts = urlsplit(handler.path)
        seen = Seen(handler.command, parts.path, parts.query, {k.lower(): v for k, v in handler.headers.items()})
        self.seen.append(seen)
        fault = self._next_fault(seen)

        def forward() -> Reply:
            return self._forward(handler, body)

        try:
            _send(handler, fault(seen, forward) if fault is not None else forward())
        except OSError:
            handler.close_connection = True  # the client is gone, or the server is: both ends are closed

    def _next_fault(self, seen: Seen) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.applies(seen):
                    rule.times -= 1
                    return rule.fault
        return None

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=30)
        try:
            connection.putrequest(
                handler.command, self.rewrite(handler.path), skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response_only(reply.status)
    dropped = {"connection", "transfer-encoding", "content-length"}
    for name, value in reply.headers:
        if name.lower() not in dropped:
            handler.send_header(name, value)
    announced = {name.lower(): value for name, value in reply.headers}.get("content-length")
    length = announced if handler.command == "HEAD" and announced else str(len(reply.body))
    handler.send_header("Content-Length", length)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(reply.body[: reply.cut_at])
    handler.close_connection = True


_ids = iter(range(10**9))


def fails(status: int, code: str, message: str = "") -> Fault:
    """Answer with an error as S3 writes it, with ids that are new every time."""

    def fault(seen: Seen, _: Callable[[], Reply]) -> Reply:
        request_id = f"{next(_ids):016X}"
        text = message or f"{code} of request {request_id}"
        body = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{text}</Message>"
            f"<RequestId>{request_id}</RequestId><HostId>{request_id}</HostId></Error>"
        )
        headers = [("Content-Type", "application/xml"), ("x-amz-request-id", request_id)]
        return Reply(status, headers, b"" if seen.method == "HEAD" else body.encode())

    return fault


def cut(after_bytes: int) -> Fault:
    """Announce the whole body, and end the connection after some bytes of it."""

    def fault(_: Seen, forward: Callable[[], Reply]) -> Reply:
        reply = forward()
        reply.cut_at = after_bytes
        return reply

    return fault


def edited(edit: Callable[[bytes], bytes]) -> Fault:
    """Send another body."""

    def fault(_: Seen, forward: Callable[[], Reply]) -> Reply:
        reply = forward()
        reply.body = edit(reply.body)
        return reply

    return fault


def with_headers(**headers: str) -> Fault:
    """Add headers."""

    def fault(_: Seen, forward: Callable[[], Reply]) -> Reply:
        reply = forward()
        reply.headers += [(name.replace("_", "-"), value) for name, value in headers.items()]
        return reply

    return fault


def held(until: threading.Event, timeout_s: float = 300.0) -> Fault:
    """Answer only when the event is set."""

    def fault(_: Seen, forward: Callable[[], Reply]) -> Reply:
        until.wait(timeout_s)
        return forward()

    return fault


def garbled(body: bytes) -> bytes:
    """Change one bit."""
    return bytes([body[0] ^ 1]) + body[1:] if body else body
