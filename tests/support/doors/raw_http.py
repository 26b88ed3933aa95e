"""A TCP connection that sends whatever bytes a test wants, and reads HTTP responses one by one."""

from __future__ import annotations

import socket
from typing import Self

from tests.support.clients import Reply

HOST = "127.0.0.1"


def request(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    """Write a request with a Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(method: str, target: str, *chunks: bytes) -> bytes:
    """Write a request whose body comes in chunks."""
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class RawConnection:
    """One connection; used as a context manager."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self._stream = self.socket.makefile("rb")

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def reply(self, method: str = "POST") -> Reply:
        """Read the next response, interim ones included."""
        line = self._stream.readline()
        if not line:
            raise EOFError
        headers: dict[str, str] = {}
        while (header := self._stream.readline().strip()) != b"":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return Reply(int(line.split()[1]), headers, self._stream.read(length))

    def ask(self, content: bytes, method: str = "POST") -> Reply:
        """Send a request and read its response."""
        self.send(content)
        return self.reply(method)

    def is_closed(self) -> bool:
        """Whether the server ends the connection; waits for that until the socket's time is up."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()
        self.socket.close()
