"""Verifies tokens against Argon2, which takes tens of milliseconds and megabytes: one at a time, beside the event loop.

Tokens that nobody has cannot keep others out for long: few may wait, and what was verified once is known from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from core.access.token_hashes import TokenHash
from core.errors import ResourceExhausted

MOST_WAITING = 16
BUSY = "Too many tokens are being verified; try again."


class SlowHashes:
    """The queue of tokens to be verified; used on one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def fitting(self, token: bytes, hashes: Iterable[TokenHash]) -> TokenHash | None:
        """Return the hash that fits a token; None where none does. Raises ResourceExhausted where too many wait."""
        if self._waiting >= MOST_WAITING:
            raise ResourceExhausted(BUSY)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(_fitting, token, tuple(hashes))
        finally:
            self._waiting -= 1


def _fitting(token: bytes, hashes: Iterable[TokenHash]) -> TokenHash | None:
    return next((one for one in hashes if _fits(token, one.argon2)), None)


def _fits(token: bytes, argon2: str) -> bool:
    from argon2 import PasswordHasher  # noqa: PLC0415 - brings cffi, which few routers need
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - likewise

    try:
        return PasswordHasher().verify(argon2, token)
    except (VerificationError, InvalidHashError):
        return False
