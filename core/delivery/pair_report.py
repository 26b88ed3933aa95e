"""What is known of one copy: how its answer differs from the one that the caller got."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


class PairResult(enum.IntEnum):
    """What came of a copy, with its number in messages."""

    IDENTICAL = 0
    WITHIN = 1
    OUTSIDE = 2
    STRUCTURAL = 3
    FAILED = 4
    DROPPED = 5


@dataclass(frozen=True, slots=True)
class OutputPair:
    """How far the values of one output are apart, where they are not equal.

    `relative_l2` is the norm of the difference by that of stable's values, `largest` the largest absolute difference;
    both are of elements that are finite in both answers. `outside` and `not_finite` are shares of elements: outside of
    the tolerance, and finite in one answer only. `flipped_rows`: rows of two and more columns whose largest column
    differs; of texts and integers with one value a row, the rows that are not equal. `lost_top5`: the mean share of a
    row's five largest columns that the copy does not have among its own.
    """

    relative_l2: float = 0.0
    largest: float = 0.0
    outside: float = 0.0
    not_finite: float = 0.0
    flipped_rows: int = 0
    lost_top5: float = 0.0


@dataclass(frozen=True, slots=True)
class PairReport:
    """One compared copy; `outputs` has those that differ, `reason` says why a copy is structural or failed."""

    result: PairResult
    outputs: Mapping[str, OutputPair] = field(default_factory=dict)
    reason: str = ""


IDENTICAL_PAIR: Final = PairReport(PairResult.IDENTICAL)
DROPPED_PAIR: Final = PairReport(PairResult.DROPPED)
