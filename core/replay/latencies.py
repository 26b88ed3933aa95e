"""Latencies of many calls in a bounded space: buckets that are two percent wide."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_GROWTH: Final = math.log(1.02)
_SHORTEST_S: Final = 1e-6


class Latencies:
    """Counts calls by how long they took."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._sum_s = 0.0
        self.count = 0
        self.longest_s = 0.0

    def add(self, took_s: float) -> None:
        """Count a call."""
        self._buckets[math.ceil(math.log(max(took_s, _SHORTEST_S) / _SHORTEST_S) / _GROWTH)] += 1
        self._sum_s += took_s
        self.count += 1
        self.longest_s = max(self.longest_s, took_s)

    @property
    def mean_s(self) -> float | None:
        """The mean; None without calls."""
        return self._sum_s / self.count if self.count else None

    def quantile_s(self, share: float) -> float | None:
        """Return the latency that a share of the calls did not exceed, two percent at most too long; None without."""
        wanted, seen = share * self.count, 0
        for edge_s, count in self.steps():
            seen += count
            if seen >= wanted:
                return edge_s
        return None

    def steps(self) -> list[tuple[float, int]]:
        """Return latencies with the number of calls that took as long, shortest first."""
        return [
            (min(_SHORTEST_S * math.exp(bucket * _GROWTH), self.longest_s), count)
            for bucket, count in sorted(self._buckets.items())
        ]
