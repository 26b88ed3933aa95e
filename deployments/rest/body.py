"""Reads request bodies within their limits, for the REST API.

One request must not take time or memory from others: a body that is too large is refused before it has arrived, and a
large gzip body is unpacked in a thread.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from core.errors import Code, InvalidArgument, ServingError
from core.rest.http_answer import unzipped
from core.routing.incoming_body import IncomingBody
from deployments.rest.asgi import Receive, Scope, header

SMALL_BODY_BYTES = 4096
"""A larger body is never parsed or unpacked on the event loop, where it would delay all other requests."""
LINGER_S = 2.0
"""How long the rest of a refused body is still read, so that its sender reads the answer before the connection ends."""


class BodyTooLarge(InvalidArgument):
    """The body exceeds the configured limit; the rest of it is not kept."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than the limit of {limit} bytes (--rest_api_max_body_bytes).")


class ClientGone(ServingError):
    """The client closed its connection, so no answer is written."""

    code = Code.CANCELLED

    def __init__(self) -> None:
        super().__init__("The client has closed its connection.")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the whole body, unpacked if it is gzip.

    Raises BodyTooLarge and ClientGone.
    """
    body = await received_body(scope, receive, limit)
    if b"gzip" not in header(scope, b"content-encoding"):
        return body
    return unzipped(body) if len(body) <= SMALL_BODY_BYTES else await asyncio.to_thread(unzipped, body)


async def received_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the whole body as it was sent; raises BodyTooLarge and ClientGone."""
    declared = header(scope, b"content-length")
    expected = int(declared) if declared.isdigit() else 0
    if expected > limit:
        raise BodyTooLarge(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return await _rest_of_body(body, receive, limit, expected) if message.get("more_body", False) else body


async def _rest_of_body(first: bytes, receive: Receive, limit: int, expected: int) -> bytes:
    body = IncomingBody(expected)
    body += first
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        if len(body) + len(piece) > limit:
            raise BodyTooLarge(limit)
        body += piece
        more = message.get("more_body", False)
    return cast(bytes, body.whole())


async def discard_body(receive: Receive) -> None:
    """Read the rest of a refused body for a while, and drop it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
