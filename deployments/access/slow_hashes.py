"""Verifies tokens against Argon2, which takes tens of milliseconds and megabytes: one at a time, beside the event loop.

Few may wait, so a flood of tokens that nobody has makes callers wait whose tokens were not verified yet, and who come
again later. Those whose tokens were verified are not touched: that is remembered by `core.access.token_book`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from core.access.token_hashes import TokenHash
from core.errors import LimitReached

MOST_WAITING = 16
BUSY = "Too many tokens are being verified; try again in a second."
AGAIN_AFTER_S = 1.0


class SlowHashes:
    """The queue of tokens to be verified; used on one event loop."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "verifies-tokens")
        self._waiting: dict[tuple[bytes, tuple[TokenHash, ...]], asyncio.Future[TokenHash | None]] = {}

    async def fitting(self, token: bytes, hashes: tuple[TokenHash, ...]) -> TokenHash | None:
        """Return the hash that fits a token; None where none does. Raises LimitReached where too many wait.

        A caller that goes leaves its token in the queue: the work that it has begun must stay counted.
        """
        key = token, hashes
        begun = self._waiting.get(key)
        if begun is None:
            if len(self._waiting) >= MOST_WAITING:
                raise LimitReached(BUSY, AGAIN_AFTER_S)
            begun = asyncio.get_running_loop().run_in_executor(self._worker, _fitting, token, hashes)
            self._waiting[key] = begun
            begun.add_done_callback(lambda _: self._waiting.pop(key))
        return await asyncio.shield(begun)


def _fitting(token: bytes, hashes: Iterable[TokenHash]) -> TokenHash | None:
    return next((one for one in hashes if _fits(token, one.argon2)), None)


def _fits(token: bytes, argon2: str) -> bool:
    from argon2 import PasswordHasher  # noqa: PLC0415 - a router without such hashes does without the library
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

    try:
        return PasswordHasher().verify(argon2, token)
    except (VerificationError, InvalidHashError):
        return False
