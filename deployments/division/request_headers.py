"""The headers of a request, as far as a division asks for them: sticky keys, and how often it was tried before.

Whoever receives a request hands its headers on as they are; they are read only where requests are divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

Fields: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Names in lower case and values of headers, as bytes."""

NO_FIELDS: Final[Fields] = ()

CALL_FIELDS: ContextVar[Fields] = ContextVar("call_fields", default=NO_FIELDS)
"""Those of the gRPC call that this task answers through a handler."""


class MetadataFields:
    """The metadata of a gRPC call as headers, read when they are asked for.

    Texts become the bytes that came: gRPC's library makes them of ASCII, others of Latin-1. Binary values are left out:
    over HTTP and over our own port the same header would have other bytes.
    """

    __slots__ = ("_metadata",)

    def __init__(self, metadata: Callable[[], Iterable[Any] | None]) -> None:
        self._metadata = metadata

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for name, value in self._metadata() or ():
            if isinstance(value, str):
                yield name.encode("latin-1", "replace"), value.encode("latin-1", "replace")


def by_name(fields: Fields) -> dict[bytes, bytes]:
    """Return headers by name; of several with one name the first."""
    return dict(reversed(tuple(fields)))
