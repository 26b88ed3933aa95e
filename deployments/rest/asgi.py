"""The types of ASGI, the interface between an HTTP server and the application behind it, and of pages that use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.rest.http_answer import HttpAnswer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
TRANSPORT = "transport"
"""Key in the state of a scope: the connection of our own port. What came through Serve's proxy has none."""

ScopedPage = Callable[[Scope, str], Awaitable[HttpAnswer]]
"""Answers a request by its scope and target; for pages whose form the headers choose."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of a name; empty when there is none."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""
