"""How many replicas a load needs: the rule behind Ray Serve's autoscaling, over both transports.

Serve counts the calls over its handles. Those of the direct transport are counted by the routers, reported to the
replicas, and reported by them to Serve; the two together are the load.
"""

from __future__ import annotations

from collections.abc import Iterable


def wanted_replicas(handle_calls: float, direct_calls: Iterable[float], target_per_replica: float) -> float:
    """Return the number of replicas, not rounded, that holds `target_per_replica` open calls on each.

    `handle_calls` is the average number of calls open on all handles, `direct_calls` that on each replica's direct
    transport. Serve applies its factors, delays and bounds to the result.
    """
    return (handle_calls + sum(direct_calls)) / target_per_replica


class AverageLoad:
    """The average of the open calls of one connection, sampled between two reports."""

    __slots__ = ("_samples", "_sum")

    def __init__(self) -> None:
        self._sum = 0
        self._samples = 0

    def sample(self, open_calls: int) -> None:
        """Add one sample."""
        self._sum += open_calls
        self._samples += 1

    def take_thousandths(self) -> int:
        """Return the average since the last call of this in thousandths of a call, and start again."""
        average = self._sum * 1000 // self._samples if self._samples else 0
        self._sum = self._samples = 0
        return average
