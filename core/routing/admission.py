"""Decides whether a request is let in: a rate with a burst, and a bound of the requests in work.

Both belong to whatever is limited: a model, or who calls it. The time is an argument, in seconds of a clock that never
goes back. A request that is let in counts as in work until `ended`; one that is refused leaves nothing behind, so that
a refusal costs a few operations however many come.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

BURST_S: Final = 1.0
"""A rate may be used up at once for so long: clients that send a second's worth of requests together keep the rate."""

IN_FLIGHT_RETRY_S: Final = 1.0
"""When to try again where too many requests are in work: nobody knows when one of them ends."""

LONGEST_RETRY_S: Final = 3600.0
"""Nobody is told to come back later than that: the limit may be another one by then."""

LEAST_RATE: Final = 1e-9
"""The lowest part of a rate that is one: no division makes a limit disappear."""

ROUNDING: Final = 1e-9
"""What is missing for a whole request after many sums of parts of it."""


class Limit(enum.StrEnum):
    """What a refused request met; the value is its name in metrics and on the status page."""

    RATE = "rate"
    IN_FLIGHT = "in_flight"


class Refusal(NamedTuple):
    """Why a request is not let in, and in how many seconds it may be sent again; more than 0."""

    limit: Limit
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """How much may come in; 0 does not limit."""

    max_requests_per_second: float = 0.0
    """Requests a second on average; a second's worth may come at once."""

    max_in_flight: int = 0
    """Requests in work at the same time."""

    def __bool__(self) -> bool:
        return bool(self.max_requests_per_second or self.max_in_flight)

    def share(self, count: int) -> TrafficLimits:
        """Return the part of one of `count` routers, which do not ask each other: each lets in its part of the whole.

        A bound of requests in work is rounded up, so that each lets one in.
        """
        count, rate = max(1, count), self.max_requests_per_second
        return TrafficLimits(rate and max(rate / count, LEAST_RATE), -(-self.max_in_flight // count))


class TokenBucket:
    """A rate in requests a second: each request takes a token, which come back at this rate up to the burst.

    It begins full. The burst is a second's worth, and at least one.
    """

    __slots__ = ("_burst", "_rate", "_seen_s", "_tokens")

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate = rate
        self._burst = self._tokens = max(1.0, rate * BURST_S)
        self._seen_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until there is a token, an hour at most; 0 when there is one."""
        elapsed_s = now_s - self._seen_s
        if elapsed_s > 0:
            self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
            self._seen_s = now_s
        missing = 1.0 - self._tokens
        return 0.0 if missing <= ROUNDING else min(missing / self._rate, LONGEST_RETRY_S)

    def take(self) -> None:
        """Take a token that `wait_s` has found."""
        self._tokens -= 1.0

    def change(self, rate: float, now_s: float) -> None:
        """Go on with another rate; what was saved stays, as far as the new burst has room for it."""
        self.wait_s(now_s)
        self._rate, self._burst = rate, max(1.0, rate * BURST_S)
        self._tokens = min(self._tokens, self._burst)


class Admission:
    """Lets requests in, or refuses them, by the limits of one model or one caller."""

    __slots__ = ("_bucket", "in_flight", "limits")

    def __init__(self, limits: TrafficLimits, now_s: float, in_flight: int = 0) -> None:
        self.limits = limits
        self.in_flight = in_flight
        """Requests that were let in and have not ended."""
        rate = limits.max_requests_per_second
        self._bucket = TokenBucket(rate, now_s) if rate else None

    def refusal(self, now_s: float) -> Refusal | None:
        """Return why a request would be refused now, without letting it in; None where it would be let in."""
        most = self.limits.max_in_flight
        if most and self.in_flight >= most:
            return Refusal(Limit.IN_FLIGHT, IN_FLIGHT_RETRY_S)
        if self._bucket is None:
            return None
        wait_s = self._bucket.wait_s(now_s)
        return Refusal(Limit.RATE, wait_s) if wait_s else None

    def admit(self, now_s: float) -> Refusal | None:
        """Let a request in, which counts until `ended`; otherwise return why not, and nothing has happened."""
        refused = self.refusal(now_s)
        if refused is None:
            self.in_flight += 1
            if self._bucket is not None:
                self._bucket.take()
        return refused

    def ended(self) -> None:
        """Count a request that was let in as no longer in work."""
        self.in_flight -= 1

    def change(self, limits: TrafficLimits, now_s: float) -> None:
        """Go on with other limits; requests in work stay counted, also where fewer are allowed now."""
        if limits == self.limits:
            return
        rate = limits.max_requests_per_second
        if not rate:
            self._bucket = None
        elif self._bucket is None:
            self._bucket = TokenBucket(rate, now_s)
        else:
            self._bucket.change(rate, now_s)
        self.limits = limits


def limit_text(limit: float) -> str:
    """Return a limit for people, with all of its digits where it is whole."""
    return str(int(limit)) if float(limit).is_integer() else f"{limit:.15g}"
