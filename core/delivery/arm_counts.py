"""What routers count for each arm of a division, and report to the watcher."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

LATENCY_EDGES_S: Final = tuple(0.0001 * 1.2**step for step in range(76))
"""Upper edges of the buckets of latencies in seconds, from 0.1 ms to 87 s; one more bucket is without an edge."""


def bucket_of(took_s: float) -> int:
    """Return the bucket of a latency."""
    return bisect_left(LATENCY_EDGES_S, took_s)


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests, those that failed by whose fault, and all by latency.

    `latency` has a bucket for each of `LATENCY_EDGES_S`, and one more.

    A call that timed out or lost its connection is a server error, and in the last bucket. Trailing zeros of `latency`
    may be left out.
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

    `shown` has every request. `judged` has what the analysis looks at: first attempts, after the first requests of an
    arm, and with sticky traffic one for each key and window.
    """

    shown: Tally = Tally()
    judged: Tally = Tally()

    def __add__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(self.shown + other.shown, self.judged + other.judged)

    def __sub__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(self.shown - other.shown, self.judged - other.judged)
