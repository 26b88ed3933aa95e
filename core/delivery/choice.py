"""Which version gets a request: by chance, or by a key that the request carries, always the same for the same key.

Of a key, a bucket is made: the first 8 bytes of BLAKE2b(salt, key), a number in network order, modulo `WHOLE`. Shares
are laid from bucket 0 upwards, those of the last version first, so that the first version (stable) gets what is left. A
version whose share rises keeps its keys, and takes more from the first one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from core.delivery.split import WHOLE, Weights

HASHED_BYTES: Final = 8

ATTEMPTS_BEFORE: Final = b"grpc-previous-rpc-attempts"
"""How many tries of a gRPC client's retry policy came before this one (gRFC A6)."""
ENVOY_ATTEMPT: Final = b"x-envoy-attempt-count"
"""Which try of an Envoy proxy this is, from 1."""
LONGEST_COUNT: Final = 9
"""Digits; a longer number was not made by such a client."""


def key_hash(salt: bytes, key: bytes) -> int:
    """Return the number of a key, of 64 bits: equal in all routers, and for other salts another one."""
    return int.from_bytes(blake2b(salt + key).digest()[:HASHED_BYTES], "big")


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of requests, ready to be looked up: `versions`, the first one last, and the bounds between them.

    A version has the buckets below its bound that no version before it has; the last version has the others.
    """

    versions: tuple[int, ...]
    bounds: tuple[int, ...]

    def version_at(self, bucket: float) -> int:
        """Return the version of a bucket, which is at least 0 and less than `WHOLE`."""
        return self.versions[bisect_right(self.bounds, bucket)]


def shares_of(weights: Weights, routed: Container[int], fallback: int) -> Shares:
    """Return the shares of the versions that are `routed`; what others would get stays with the first version.

    `fallback` stands for the first version where that one is not routed.
    """
    first = weights[0][0]
    others = [(version, weight) for version, weight in reversed(weights[1:]) if weight and version in routed]
    bounds, bound = [], 0
    for _, weight in others:
        bound = min(bound + weight, WHOLE)
        bounds.append(bound)
    return Shares((*(version for version, _ in others), first if first in routed else fallback), tuple(bounds))


def is_first_attempt(headers: Mapping[bytes, bytes]) -> bool:
    """Whether no try of the same request came before, as far as its headers (names in lower case) say."""
    before, attempt = headers.get(ATTEMPTS_BEFORE), headers.get(ENVOY_ATTEMPT)
    if before is None and attempt is None:
        return True
    return _count(before, 0) <= 0 and _count(attempt, 1) <= 1


def _count(value: bytes | None, otherwise: int) -> int:
    is_number = value is not None and value.isdigit() and len(value) <= LONGEST_COUNT
    return int(value) if is_number and value is not None else otherwise


class KeysSeen:
    """The keys of a window of time: the first request of each key is judged, and stands for the others.

    A user whose requests all fail would otherwise count as many failures. The time is an argument, in seconds of a
    clock that never goes back. Above `MOST_KEYS` no further keys are judged in a window, of whatever version.
    """

    __slots__ = ("_ends_s", "_last", "_seen")

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._ends_s = 0.0
        self._last: int | None = None

    def is_first(self, number: int, now_s: float) -> bool:
        """Whether the key of this number comes for the first time in the present window; notes it."""
        if now_s >= self._ends_s:
            self._seen.clear()
            self._ends_s = now_s + KEY_WINDOW_S
        if number in self._seen or len(self._seen) >= MOST_KEYS:
            self._last = None
            return False
        self._seen.add(number)
        self._last = number
        return True

    def pass_over(self) -> None:
        """Take note of a request without a key: none would be taken back with it."""
        self._last = None

    def take_back(self) -> None:
        """Forget the key that came last: its request comes again in another way."""
        if self._last is not None:
            self._seen.discard(self._last)
            self._last = None


KEY_WINDOW_S: Final = 15.0
"""Length of a window, as long as the analysis of a canary waits between two looks by default."""
MOST_KEYS: Final = 100_000
"""Some 10 MB."""
