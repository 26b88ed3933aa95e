"""How a process that answers requests uses what they share: the interpreter, the garbage collector, the heap."""

from __future__ import annotations

import ctypes
import gc
import sys

SHORTEST_TURN_S = 0.0005
"""How long one thread may go on while another wants to run Python too.

Python's own 5 ms are paid several times by each tiny request that is answered while another thread reads a large body.
"""

COLLECT_AFTER = (10_000, 50, 20)
"""Garbage in cycles is rare here, but a large body becomes millions of objects, which would be looked at ten times."""

LARGEST_FROM_HEAP = 8 * 1024 * 1024
"""Memory up to this size comes from the heap, where it is found again; fresh pages cost more than copying does."""

KEPT_ON_HEAP = 24 * 1024 * 1024
"""So much freed memory is kept for the next request: enough for all copies of an image."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings (malloc.h)."""


def settle() -> None:
    """Call this once a process has loaded what it keeps for ever."""
    sys.setswitchinterval(SHORTEST_TURN_S)
    gc.set_threshold(*COLLECT_AFTER)
    keep_freed_memory()
    gc.collect()
    gc.freeze()


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next request; False where it has no such setting.

    Half of the processor time of an image as JSON was spent on pages that were given back and asked for again.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(_MMAP_THRESHOLD, LARGEST_FROM_HEAP)) and bool(set_option(_TRIM_THRESHOLD, KEPT_ON_HEAP))
