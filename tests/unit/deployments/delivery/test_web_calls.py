"""Tests of calls to an operator's tools, with a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from deployments.delivery.web_calls import web_answer
from tests.support.clients import free_port


class Tool(BaseHTTPRequestHandler):
    """Answers with the status that the path names; /302 leads to /200."""

    taken: ClassVar[list[tuple[str, bytes, str | None]]] = []

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["content-length"])))

    def answer(self, body: bytes) -> None:
        self.taken.append((self.command, body, self.headers["content-type"]))
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def tool() -> Iterator[str]:
    """The URL of a tool that runs."""
    Tool.taken = []
    with HTTPServer(("127.0.0.1", free_port()), Tool) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(30)


@pytest.mark.parametrize("status", ["200", "204", "302", "404", "503"])
def test_the_answer_is_the_status_of_the_url_itself(tool: str, status: str) -> None:
    """A gate that leads elsewhere has not said 200."""
    assert web_answer(f"{tool}/{status}") == status
    assert [method for method, _, _ in Tool.taken] == ["GET"]


def test_a_body_is_posted(tool: str) -> None:
    """With its headers."""
    assert web_answer(f"{tool}/200", b"{}", {"Content-Type": "application/json"}) == "200"
    assert Tool.taken == [("POST", b"{}", "application/json")]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/", "URLError"),
        ("nonsense", "ValueError"),
        ("http://[::1/", "ValueError"),
        ("http://127.0.0.1:99999999/", ""),
    ],
)
def test_no_answer_is_told_with_its_reason(url: str, reason: str) -> None:
    """Whatever the URL is, nothing is raised."""
    answer = web_answer(url)

    assert answer.startswith(reason)
    assert not answer.isdigit()


def test_secrets_in_a_url_are_not_told() -> None:
    """The text is logged."""
    assert "hunter2" not in web_answer("http://user:hunter2@127.0.0.1:port/")
