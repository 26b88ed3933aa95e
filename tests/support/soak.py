"""How often what is long by nature is repeated: a few times in `make test`, many times in `make soak`."""

from __future__ import annotations

import os

IS_SOAK = os.environ.get("RMS_SOAK") == "1"


def times(short: int, long: int) -> int:
    """Return the number that this run uses."""
    return long if IS_SOAK else short
