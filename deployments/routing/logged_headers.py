"""The headers of requests that request logs keep: chosen by name, bounded, and sent to the model server with the call.

Costs nothing unless names are configured; only then requests with such headers take the long way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from core.routing.transport import Headers

MOST_HEADERS: Final = 32
LONGEST_HEADER: Final = 1024
"""Characters of a value that are kept."""

KEPT_HEADERS: ContextVar[Headers] = ContextVar("kept_headers", default=())
"""Those of the request that this task works on."""

A = TypeVar("A")


class LoggedHeaders:
    """Chooses the headers of a request; `names` are in lower case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.encode(): name for name in names}
        self._texts = frozenset(self._names.values())

    def are_in(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether an HTTP request has any of them."""
        return any(name in self._names for name, _ in headers)

    def of_http(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Return those of an HTTP request."""
        names = self._names
        return _bounded((names[name], value.decode("latin-1")) for name, value in headers if name in names)

    def of_metadata(self, metadata: Iterable[Any]) -> Headers:
        """Return those of a gRPC call, as far as they are texts."""
        return _bounded((name, value) for name, value in metadata if name in self._texts and isinstance(value, str))

    async def around(self, metadata: Iterable[Any], work: Awaitable[A]) -> A:
        """Work on a gRPC call, whose headers are kept."""
        token = KEPT_HEADERS.set(self.of_metadata(metadata))
        try:
            return await work
        finally:
            KEPT_HEADERS.reset(token)


def logged_headers(names: Iterable[str]) -> LoggedHeaders | None:
    """Return what chooses headers of these names; None without names."""
    listed = tuple(names)
    return LoggedHeaders(listed) if listed else None


def _bounded(pairs: Iterable[tuple[str, str]]) -> Headers:
    return tuple((name, value[:LONGEST_HEADER]) for (name, value), _ in zip(pairs, range(MOST_HEADERS), strict=False))
