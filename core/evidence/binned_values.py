"""Bins of values, made of the first ones, and how far two distributions over bins are apart."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

Value: TypeAlias = float | int | str

MOST_BINS: Final = 10
"""Bins for numbers, and the most frequent values that have a bin of their own, but one."""

MOSTLY: Final = 0.5
"""Whole numbers are taken for names of classes where the most frequent values have this share of all."""


def binning_of(first: Sequence[Value]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return edges of bins for numbers, or the values that have bins for texts and ids; one of both is empty.

    Numbers are cut at their deciles, so that the bins are about equally full. Numbers that are not finite have no say.
    """
    frequent = Counter(map(str, first)).most_common(MOST_BINS - 1)
    numbers = sorted(one for one in first if not isinstance(one, str) and math.isfinite(one))
    is_whole = all(isinstance(one, int) for one in numbers)
    if not numbers or (is_whole and sum(count for _, count in frequent) >= MOSTLY * len(first)):
        return (), tuple(value for value, _ in frequent)
    deciles = (float(numbers[len(numbers) * one // MOST_BINS]) for one in range(1, MOST_BINS))
    return tuple(dict.fromkeys(deciles)), ()


def bins_in(edges: Sequence[float], values: Sequence[str]) -> int:
    """Return how many bins there are; 0 where none are known."""
    if edges:
        return len(edges) + 2
    return len(values) + 1 if values else 0


def bin_of_value(value: Value, edges: Sequence[float], values: Sequence[str]) -> int:
    """Return the bin of a value: up to an edge, above all of them, and last what is not a number; or that of its text.

    Values without a bin of their own share the last one.
    """
    if not edges:
        text = str(value)
        return values.index(text) if text in values else len(values)
    return len(edges) + 1 if isinstance(value, str) or math.isnan(value) else bisect_left(edges, value)


def bin_name(number: int, edges: Sequence[float], values: Sequence[str]) -> str:
    """Return the words for a bin."""
    if not edges:
        return f"the value {values[number]}" if number < len(values) else "other values"
    if number > len(edges):
        return "values that are not numbers"
    if number == len(edges):
        return f"values above {edges[-1]:.4g}"
    return (
        f"values up to {edges[0]:.4g}" if not number else f"values from {edges[number - 1]:.4g} to {edges[number]:.4g}"
    )


def distance_of(counts: Sequence[int], expected: Sequence[float]) -> float:
    """Return the total variation distance of two distributions with the same sum: 0 for equal ones, 1 for strangers."""
    total = sum(counts)
    return sum(abs(one - other) for one, other in zip(counts, expected, strict=True)) / (2 * total) if total else 0.0


def distance_by_chance(counts: Sequence[int], noise: float) -> float:
    """Return what chance alone adds to the distance at most, on average over many cases; 1 for no counts at all.

    `noise` is the sum of n_c^2 / n_s over the blocks of which the expectation was made: a smaller share of stable is
    known less exactly.
    """
    total = sum(counts)
    return min(1.0, math.sqrt(len(counts) / 4 * (1 / total + noise / total**2))) if total else 1.0
