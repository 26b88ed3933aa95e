"""The rules of RFC 9113 for header fields: what makes a request, or its trailers, malformed.

Rules that concern one field alone are decided once for each field of a connection: clients repeat most of them in every
call, and a set answers for all fields of a call at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

Field = tuple[bytes, bytes]
Fields = tuple[Field, ...]

METHOD: Final = b":method"
SCHEME: Final = b":scheme"
PATH: Final = b":path"
AUTHORITY: Final = b":authority"
PSEUDO: Final = frozenset({METHOD, SCHEME, PATH, AUTHORITY})
REQUIRED: Final = frozenset({METHOD, SCHEME, PATH})
OF_CONNECT: Final = {METHOD, AUTHORITY}
CONTENT_LENGTH: Final = b"content-length"

NAME: Final = re.compile(rb"[!-9;-@\[-~]+")
"""Visible ASCII without capitals and without the colon (8.2.1)."""
VALUE: Final = re.compile(rb"(?:[^\0\r\n \t](?:[^\0\r\n]*[^\0\r\n \t])?)?")
"""No NUL, CR, LF; no blank at either end (8.2.1)."""
LENGTH: Final = re.compile(rb"[0-9]{1,18}")
FORBIDDEN: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Fields of HTTP/1.1 about the connection (8.2.2)."""
DEFAULT_PORTS: Final[Mapping[bytes, bytes]] = {b"http": b":80", b"https": b":443"}

MOST_KNOWN_FIELDS: Final = 256
LONGEST_KNOWN_FIELD_BYTES: Final = 256


def is_sound(name: bytes, value: bytes) -> bool:
    """Whether a request may have this field, as far as the field alone can tell (RFC 9113, 8.2.1, 8.2.2, 8.3)."""
    if not VALUE.fullmatch(value):
        return False
    if name in PSEUDO:
        return bool(value) or name == AUTHORITY
    if not NAME.fullmatch(name) or name in FORBIDDEN:
        return False
    if name == b"te":
        return value.lower() == b"trailers"
    return name != CONTENT_LENGTH or LENGTH.fullmatch(value) is not None


class SoundFields:
    """The fields of one connection that were found sound; bounded, because the peer chooses them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[Field] = set()

    def include(self, fields: Fields) -> bool:
        """Whether all of these fields are sound."""
        return self._known.issuperset(fields) or self._learn(fields)

    def _learn(self, fields: Fields) -> bool:
        # Each once: a block of a few bytes can repeat a long field of the table very often.
        for field in set(fields) - self._known:
            if not is_sound(*field):
                return False
            if len(field[0]) + len(field[1]) <= LONGEST_KNOWN_FIELD_BYTES:
                if len(self._known) >= MOST_KNOWN_FIELDS:
                    self._known.clear()
                self._known.add(field)
        return True


def is_request(names: list[bytes], given: Mapping[bytes, bytes]) -> bool:
    """Whether sound fields make a request: pseudo-header fields first, once, and all that it needs (8.3, 8.5).

    `names` are those of all fields in their order, `given` the first value of each.
    """
    pseudo = PSEUDO & given.keys()
    count = len(pseudo)
    if pseudo != set(names[:count]) or not PSEUDO.isdisjoint(names[count:]):
        return False
    if given.get(METHOD) == b"CONNECT":
        return pseudo == OF_CONNECT
    return pseudo >= REQUIRED and _is_path(given) and (b"host" not in given or _is_one_host(given))


def _is_path(given: Mapping[bytes, bytes]) -> bool:
    """Whether a path is one: absolute, or the asterisk of OPTIONS (8.3.1)."""
    path = given[PATH]
    if path.startswith(b"/") or given[SCHEME].lower() not in DEFAULT_PORTS:
        return True
    return path == b"*" and given[METHOD] == b"OPTIONS"


def _is_one_host(given: Mapping[bytes, bytes]) -> bool:
    """Whether the field host, if both are given, names what `:authority` names (8.3.1)."""
    port = DEFAULT_PORTS.get(given[SCHEME].lower(), b"")
    host, authority = (given.get(name, b"").lower().removesuffix(port) for name in (b"host", AUTHORITY))
    return AUTHORITY not in given or host == authority


def content_length(fields: Iterable[Field]) -> int | None:
    """Return the announced length of a request's body; -1 where fields contradict each other (RFC 9110, 8.6)."""
    lengths = {int(value) for name, value in fields if name == CONTENT_LENGTH}
    if len(lengths) > 1:
        return -1
    return lengths.pop() if lengths else None
