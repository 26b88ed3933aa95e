"""Which calls that came together are worked on together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST_IN_GROUP: Final = 16
"""More calls gain hardly anything: what a group saves is shared by all of them."""

LONGEST_GROUP_S: Final = 0.001
"""The answers of a group leave together, so the first one waits for the work on all."""


def group_size(expected_s: Iterable[float]) -> int:
    """Return how many of the first calls make a group, by what each is expected to take; one at least, if any."""
    size, total_s = 0, 0.0
    for one_s in expected_s:
        total_s += one_s
        if size and (total_s > LONGEST_GROUP_S or size == MOST_IN_GROUP):
            break
        size += 1
    return size
