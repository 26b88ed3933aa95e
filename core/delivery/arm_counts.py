"""What routers count for each arm of a division, and report to the watcher."""

from __future__ import annotations

import enum
from bisect import bisect_left
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from core.errors import Code

LATENCY_EDGES_S: Final = tuple(0.0001 * 1.2**step for step in range(76))
"""Upper edges of the buckets of latencies in seconds, from 0.1 ms to 87 s; one more bucket is without an edge."""


def bucket_of(took_s: float) -> int:
    """Return the bucket of a latency."""
    return bisect_left(LATENCY_EDGES_S, took_s)


class CallOutcome(enum.StrEnum):
    """How a divided request has ended; the value is its name in metrics.

    LOST is a try whose connection ended, and that was repeated elsewhere: the request counts again with its end.
    """

    OK = "ok"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"
    CANCELLED = "cancelled"
    LOST = "lost"


_OF_CLIENT: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
    }
)
UNANSWERED: Final = frozenset({Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE})
"""Codes of requests that got no answer in time; they count as slow, too."""


def outcome_of(code: Code) -> CallOutcome:
    """Return whose fault it is that a version answered with this code.

    What a client did wrong counts for itself, because a version with other inputs gets requests that do not fit. All
    else is the server's fault, also a CANCELLED that no caller asked for.
    """
    if code is Code.OK:
        return CallOutcome.OK
    return CallOutcome.CLIENT_ERROR if code in _OF_CLIENT else CallOutcome.SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests, those that failed by whose fault, and all by latency.

    `latency` has a bucket for each of `LATENCY_EDGES_S`, and one more. A call that timed out or lost its connection is
    a server error, and in the last bucket; one whose caller gave up is no error, and in the bucket of the time that it
    had lasted. Trailing zeros may be left out.
    """

    requests: int = 0
    server_errors: int = 0
    client_errors: int = 0
    latency: tuple[int, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return self._with(other, 1)

    def __sub__(self, other: Tally) -> Tally:
        return self._with(other, -1)

    def _with(self, other: Tally, sign: int) -> Tally:
        return Tally(
            self.requests + sign * other.requests,
            self.server_errors + sign * other.server_errors,
            self.client_errors + sign * other.client_errors,
            tuple(one + sign * two for one, two in zip_longest(self.latency, other.latency, fillvalue=0)),
        )

    def slower_than(self, edge: int) -> int:
        """Return how many requests took longer than the upper edge of a bucket."""
        return sum(self.latency[edge + 1 :])


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Cumulated counts of one router for one arm.

    `shown` has every request as its caller saw it. `judged` has what the analysis looks at: of requests without a label
    the first attempts, with sticky traffic one for each key and window; a try that was lost and repeated elsewhere is
    a server error there. Of the first requests of a version its latencies and time-outs are not judged, so that there
    may be fewer latencies than requests.
    """

    shown: Tally = Tally()
    judged: Tally = Tally()

    def __add__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(self.shown + other.shown, self.judged + other.judged)

    def __sub__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(self.shown - other.shown, self.judged - other.judged)
