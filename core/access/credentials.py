"""Finds the token that a request presents, in headers of HTTP or in metadata of gRPC, which are the same here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from core.errors import Unauthenticated

AUTHORIZATION: Final = b"authorization"
API_KEY: Final = b"x-api-key"
_NAMES: Final = frozenset({AUTHORIZATION, API_KEY})
LONGEST_TOKEN_BYTES: Final = 4096
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)")
_TOKEN: Final = re.compile(rb"[!-~]+")
FORWARDED: Final = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-envoy-attempt-count", b"origin"})
"""Headers of proxies, those beside a container too, and of browsers that act for the page of a site."""
FORWARDED_PREFIX: Final = b"x-forwarded-"
"""How further headers of proxies begin, of which each proxy has its own."""


def presented_token(fields: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the token of a request whose header names are in small letters; None where there is none.

    Raises Unauthenticated for more than one, also for the same one twice: which of them a proxy has checked is unknown.
    """
    given = [one for one in fields if one[0] in _NAMES]
    if not given:
        return None
    if len(given) > 1:
        raise Unauthenticated("The request has more than one token; send authorization or x-api-key, once.")
    name, value = given[0]
    found = _BEARER.fullmatch(value.strip(b" \t")) if name == AUTHORIZATION else _TOKEN.fullmatch(value.strip(b" \t"))
    if found is None and name == AUTHORIZATION:
        raise Unauthenticated("The header authorization must be `Bearer TOKEN`.")
    if found is None or len(found[0]) > LONGEST_TOKEN_BYTES:
        raise Unauthenticated(f"A token has 1 to {LONGEST_TOKEN_BYTES} visible ASCII characters.")
    return found[found.re.groups]


def is_forwarded(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request says that it comes from somewhere else than the peer of its connection.

    That such a header is missing proves nothing, and what it says is never believed.
    """
    return any(_is_of_proxy(name) for name, _ in fields)


def _is_of_proxy(name: bytes) -> bool:
    return name in FORWARDED or name.startswith(FORWARDED_PREFIX)


def tells_who_calls(name: bytes) -> bool:
    """Whether a header of this name, in small letters, has to do with who sent a request."""
    return name in _NAMES or _is_of_proxy(name)
