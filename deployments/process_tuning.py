"""How a process that answers requests shares its one interpreter between threads, and when it looks for garbage."""

from __future__ import annotations

import gc
import sys

SHORTEST_TURN_S = 0.0005
"""How long one thread may go on while another wants to run Python too.

Python's own 5 ms are paid several times by each tiny request that is answered while another thread reads a large body.
"""

COLLECT_AFTER = (10_000, 50, 20)
"""Garbage in cycles is rare here, but a large body becomes millions of objects, which would be looked at ten times."""


def settle() -> None:
    """Call this once a process has loaded what it keeps for ever."""
    sys.setswitchinterval(SHORTEST_TURN_S)
    gc.set_threshold(*COLLECT_AFTER)
    gc.collect()
    gc.freeze()
