"""Tests of reading request bodies: gzip, pieces, limits, and clients that go away."""

from __future__ import annotations

import gzip
import threading
from typing import Any

import pytest

from deployments.rest import body as rest_body
from tests.support.doors.asgi_client import BODY, Client


@pytest.mark.parametrize(
    ("encoding", "body", "forwarded"),
    [
        pytest.param(b"my_gzip", gzip.compress(BODY, mtime=0), BODY, id="case_Q2"),
        pytest.param(b"gzip", gzip.compress(b" " * 2**20 + BODY, mtime=0), b" " * 2**20 + BODY, id="case_Q5"),
        pytest.param(b"gzip", b"not gzip", b"", id="damaged"),
        pytest.param(b"gzip", gzip.compress(BODY, mtime=0) + b"x", b"", id="followed by junk"),
        pytest.param(b"gzip", gzip.compress(BODY, mtime=0) * 2, b"", id="two members"),
        pytest.param(b"deflate", BODY, BODY, id="other"),
    ],
)
async def test_gzip_bodies_are_unpacked(client, encoding, body, forwarded) -> None:
    """One that cannot be unpacked counts as empty."""
    await client.send("POST", "/v1/models/h2:predict", body, [(b"content-encoding", encoding)])

    assert client.transport.calls[0][1].body == forwarded


async def test_a_large_gzip_body_is_unpacked_in_a_thread(client, monkeypatch) -> None:
    """A hundred mebibytes may hide in a hundred kibibytes; others must not wait for them."""
    threads = []

    def spy(body: bytes) -> bytes:
        threads.append(threading.current_thread())
        return b"unpacked"

    monkeypatch.setattr(rest_body, "unzipped", spy)
    for size in (rest_body.SMALL_BODY_BYTES, rest_body.SMALL_BODY_BYTES + 1):
        await client.send("POST", "/v1/models/h2:predict", b"x" * size, [(b"content-encoding", b"gzip")])

    assert [thread is threading.main_thread() for thread in threads] == [True, False]


async def test_a_body_in_pieces_is_put_together(client) -> None:
    """As long uploads and chunked ones come."""
    await client.send("POST", "/v1/models/h2:predict", [b"{", b'"instances": ', b"", b"[1.0]}"])

    assert client.transport.calls[0][1].body == BODY


@pytest.mark.parametrize(
    ("pieces", "declared", "read"),
    [
        ([b"x" * 11], b"11", 0),
        ([b"x" * 11], None, 1),
        ([b"x" * 11, b"y"], None, 1),
        ([b"x" * 6, b"x" * 6, b"y", b"z"], None, 2),
        ([b"x" * 6, b"x" * 6, b"y", b"z"], b"not a number", 2),
    ],
)
async def test_a_body_that_is_too_large_is_refused_unread(pieces, declared, read, monkeypatch) -> None:
    """The connection is closed, because the rest of the body is still coming."""
    monkeypatch.setattr(rest_body, "LINGER_S", 0.01)
    client = Client(max_body_bytes=10)
    headers = [] if declared is None else [(b"content-length", declared)]

    response = await client.send("POST", "/v1/models/h2:predict", pieces, headers)

    assert (response.status, response.headers[b"connection"]) == (413, b"close")
    assert response.error == "The request body is larger than the limit of 10 bytes (--rest_api_max_body_bytes)."
    assert client.received_before_answer == read
    assert client.transport.calls == []


async def test_a_refused_body_may_come_for_a_while() -> None:
    """Closing at once would reset the connection, and its sender would not see the answer."""
    client = Client(max_body_bytes=10)

    response = await client.send("POST", "/v1/models/h2:predict", [b"x" * 20] * 5)

    assert response.status == 413
    assert client.received == 5


async def test_a_body_of_just_the_limit_is_taken() -> None:
    """The limit itself is allowed."""
    client = Client(max_body_bytes=10)

    assert (await client.send("POST", "/v1/models/h2:predict", b"x" * 10, [(b"content-length", b"10")])).status == 200


@pytest.mark.parametrize("pieces", [[], [b"{"]])
async def test_a_client_that_goes_while_it_sends_gets_nothing(client, pieces) -> None:
    """Its request is dropped."""
    sent: list[Any] = []
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": True}
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "raw_path": b"/v1/models/h2:predict", "query_string": b"", "headers": []}
    await client.api.app()(scope, receive, send)

    assert sent == []
    assert client.transport.calls == []
