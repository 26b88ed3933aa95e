"""How many replicas a load needs: the rule behind Ray Serve's autoscaling, over both transports.

Calls of the direct transport are counted by the routers and reported to the replicas, which count those over Serve's
handles themselves and report the sum to Serve. What waits in a handle for a replica is Serve's to count, and load, too.

Serve's own figure of calls at replicas is not used: it has the questions of routers to replicas, such as where they
listen. On a busy machine these take long enough to be seen, and replicas that start because of them are asked next.
"""

from __future__ import annotations

from collections.abc import Iterable


def wanted_replicas(waiting_calls: float, open_calls: Iterable[float], target_per_replica: float) -> float:
    """Return the number of replicas, not rounded, that holds `target_per_replica` open calls on each.

    `waiting_calls` is the average number of calls that wait in all handles, `open_calls` that of those which each
    replica answers. Serve applies its factors, delays and bounds to the result.
    """
    return (waiting_calls + sum(open_calls)) / target_per_replica


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
