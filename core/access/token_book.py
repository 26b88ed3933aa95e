"""Finds the client that a token belongs to: at once for SHA-256, and for Argon2 where it was verified before."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from core.access.rules import AccessClient, AccessRules
from core.access.token_hashes import TokenHash, keyed, sha256_of

MOST_FITS: Final = 10_000
"""Tokens of which is remembered which Argon2 hash fits them."""
MOST_MISSES: Final = 10_000
"""Tokens of which is remembered that no Argon2 hash fits them; apart, so that these cannot displace good ones."""

NOT_VALID: Final = "The token is not valid."
EXPIRED: Final = "The token has expired."


@dataclass(frozen=True, slots=True)
class FoundToken:
    """The client that a token belongs to, or the problem with it; `unverified` are slow hashes that must be tried."""

    client: AccessClient | None = None
    problem: str = ""
    unverified: tuple[TokenHash, ...] = ()


class TokenBook:
    """The tokens of some rules; made anew with them. `key` is secret, and lives as long as the process.

    What was verified for the rules `before`, with the same key, stays known as far as it holds for the new ones.
    """

    def __init__(self, rules: AccessRules, key: bytes, before: TokenBook | None = None) -> None:
        self._key = key
        owned = [(one, client) for client in rules.clients for one in client.tokens]
        self._quick = {keyed(one.sha256, key): (one, client) for one, client in owned if one.sha256}
        self._slow = {one: client for one, client in owned if one.argon2}
        self._fits: OrderedDict[bytes, TokenHash] = OrderedDict()
        self._misses: OrderedDict[bytes, None] = OrderedDict()
        if before is not None:
            self._continue(before)

    def _continue(self, before: TokenBook) -> None:
        """Take over which hashes fit, and the tokens that none fits where no hash was added and none lives longer."""
        present = {one.argon2: one for one in self._slow}
        for tried, fit in before._fits.items():
            if fit.argon2 in present:
                self._fits[tried] = present[fit.argon2]
        if self._slow.keys() <= before._slow.keys():
            self._misses.update(before._misses)

    def find(self, token: bytes, wall_s: float) -> FoundToken:
        """Return whose token this is, as far as that is known without a slow hash."""
        digest = sha256_of(token)
        quick = self._quick.get(keyed(digest, self._key))
        if quick is not None and hmac.compare_digest(quick[0].sha256, digest):
            return _found(*quick, wall_s)
        valid = tuple(self._valid(wall_s))
        tried = keyed(token, self._key)
        fit = self._fits.get(tried)
        if fit is not None:
            self._fits.move_to_end(tried)
            return _found(fit, self._slow[fit], wall_s)
        if tried not in self._misses:
            return FoundToken(None, NOT_VALID, valid)
        self._misses.move_to_end(tried)
        return FoundToken(None, NOT_VALID)

    def _valid(self, wall_s: float) -> Iterator[TokenHash]:
        return (one for one in self._slow if one.is_valid_at(wall_s))

    def note(self, token: bytes, fit: TokenHash | None) -> None:
        """Remember which of the slow hashes fits a token, or that none does."""
        tried = keyed(token, self._key)
        if fit is None:
            self._misses[tried] = None
        elif fit in self._slow:
            self._fits[tried] = fit
        _shorten(self._fits, MOST_FITS)
        _shorten(self._misses, MOST_MISSES)


def _shorten(remembered: OrderedDict[bytes, Any], most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)


def _found(one: TokenHash, client: AccessClient, wall_s: float) -> FoundToken:
    return FoundToken(client) if one.is_valid_at(wall_s) else FoundToken(None, EXPIRED)
