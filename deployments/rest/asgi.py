"""The types of ASGI, the interface between an HTTP server and the application behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
TRANSPORT = "transport"
"""Key in the state of a scope: the connection of our own port. What came through Serve's proxy has none."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of a name; empty when there is none."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""
