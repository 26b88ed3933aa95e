"""Tunes a process that answers requests: thread switches, garbage collection, the heap."""

from __future__ import annotations

import ctypes
import gc
import sys

SHORTEST_TURN_S = 0.0005
"""Time after which a thread releases the interpreter to a waiting one.

Python's own 5 ms are paid several times by each tiny request that is answered while another thread reads a large body.
"""

COLLECT_AFTER = (10_000, 50, 20)
"""Cyclic garbage is rare here, but a large body becomes millions of objects, which would be examined ten times."""

LARGEST_FROM_HEAP = 8 * 1024 * 1024
"""Memory up to this size is allocated from the heap and reused, because fresh pages cost more than copying."""

KEPT_ON_HEAP = 24 * 1024 * 1024
"""Freed memory that is kept for the next request: enough for all copies of an image."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings (malloc.h)."""


def settle() -> None:
    """Exclude all present objects from garbage collection; called after a process has loaded what it keeps."""
    sys.setswitchinterval(SHORTEST_TURN_S)
    gc.set_threshold(*COLLECT_AFTER)
    keep_freed_memory()
    gc.collect()
    gc.freeze()


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next request; False where it has no such setting.

    Without it, half of the CPU time for an image as JSON is spent on pages that are released and allocated again.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(_MMAP_THRESHOLD, LARGEST_FROM_HEAP)) and bool(set_option(_TRIM_THRESHOLD, KEPT_ON_HEAP))
