"""Finds the client that a token belongs to: at once for SHA-256, and for Argon2 where it was verified before."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.access.rules import AccessClient, AccessRules
from core.access.token_hashes import TokenHash, keyed, sha256_of

MOST_VERIFIED: Final = 10_000
"""Tokens of which is remembered whether an Argon2 hash fits them."""

NOT_VALID: Final = "The token is not valid."
EXPIRED: Final = "The token has expired."


@dataclass(frozen=True, slots=True)
class FoundToken:
    """The client that a token belongs to, or the problem with it; `unverified` are slow hashes that must be tried."""

    client: AccessClient | None = None
    problem: str = ""
    unverified: tuple[TokenHash, ...] = ()


class TokenBook:
    """The tokens of some rules; made anew with them. `key` is secret, and lives as long as the process."""

    def __init__(self, rules: AccessRules, key: bytes) -> None:
        self._key = key
        owned = [(one, client) for client in rules.clients for one in client.tokens]
        self._quick = {keyed(one.sha256, key): (one, client) for one, client in owned if one.sha256}
        self._slow = {one: client for one, client in owned if one.argon2}
        self._tried: OrderedDict[bytes, TokenHash | None] = OrderedDict()

    def find(self, token: bytes, wall_s: float) -> FoundToken:
        """Return whose token this is, as far as that is known without a slow hash."""
        digest = sha256_of(token)
        quick = self._quick.get(keyed(digest, self._key))
        if quick is not None and hmac.compare_digest(quick[0].sha256, digest):
            return _found(*quick, wall_s)
        valid = tuple(self._valid(wall_s))
        tried = keyed(token, self._key)
        if tried not in self._tried:
            return FoundToken(None, NOT_VALID, valid)
        self._tried.move_to_end(tried)
        fit = self._tried[tried]
        return FoundToken(None, NOT_VALID) if fit is None else _found(fit, self._slow[fit], wall_s)

    def _valid(self, wall_s: float) -> Iterator[TokenHash]:
        return (one for one in self._slow if one.is_valid_at(wall_s))

    def note(self, token: bytes, fit: TokenHash | None) -> None:
        """Remember which of the slow hashes fits a token, or that none does."""
        self._tried[keyed(token, self._key)] = fit
        while len(self._tried) > MOST_VERIFIED:
            self._tried.popitem(last=False)


def _found(one: TokenHash, client: AccessClient, wall_s: float) -> FoundToken:
    return FoundToken(client) if one.is_valid_at(wall_s) else FoundToken(None, EXPIRED)
