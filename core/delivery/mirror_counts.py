"""What routers count of compared copies, and report to the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from types import MappingProxyType
from typing import Final

L2_DECADES: Final = tuple(range(-9, 2))
"""Exponents of ten: upper edges of the buckets of relative distances, 1e-9 to 10; one more bucket has no edge."""


@dataclass(frozen=True, slots=True)
class OutputCounts:
    """Pairs of answers that both have an output, and how far they are apart.

    `flips`: pairs in which a row's largest column differs. `outside`: pairs with elements outside of the tolerance.
    `l2`: pairs by relative distance, a bucket for each of `L2_DECADES` and one more. `largest`: the largest absolute
    difference seen.
    """

    pairs: int = 0
    flips: int = 0
    outside: int = 0
    l2: tuple[int, ...] = ()
    largest: float = 0.0

    def plus(self, other: OutputCounts, sign: int = 1) -> OutputCounts:
        """Return the sum, or with a sign of -1 the difference (in which `largest` is that of the newer counts)."""
        return OutputCounts(
            self.pairs + sign * other.pairs,
            self.flips + sign * other.flips,
            self.outside + sign * other.outside,
            tuple(one + sign * two for one, two in zip_longest(self.l2, other.l2, fillvalue=0)),
            max(self.largest, other.largest) if sign > 0 else self.largest,
        )


NO_OUTPUTS: Final[Mapping[str, OutputCounts]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MirrorCounts:
    """Cumulated counts of one router for the copies to one version under one division.

    A copy is `identical`, `within` or `outside` the tolerance, `structural` (other outputs, types or shapes), or
    `failed` (the copy alone got an error); `dropped` ones found no place. `reason` is of the last structural one.
    """

    identical: int = 0
    within: int = 0
    outside: int = 0
    structural: int = 0
    failed: int = 0
    dropped: int = 0
    outputs: Mapping[str, OutputCounts] = field(default_factory=dict)
    reason: str = ""

    @property
    def compared(self) -> int:
        """Copies that were compared, with whatever result."""
        return self.identical + self.within + self.outside + self.structural + self.failed

    def __add__(self, other: MirrorCounts) -> MirrorCounts:
        return self._with(other, 1)

    def __sub__(self, other: MirrorCounts) -> MirrorCounts:
        return self._with(other, -1)

    def _with(self, other: MirrorCounts, sign: int) -> MirrorCounts:
        names = (*self.outputs, *(name for name in other.outputs if name not in self.outputs))
        nothing = OutputCounts()
        return MirrorCounts(
            self.identical + sign * other.identical,
            self.within + sign * other.within,
            self.outside + sign * other.outside,
            self.structural + sign * other.structural,
            self.failed + sign * other.failed,
            self.dropped + sign * other.dropped,
            {one: self.outputs.get(one, nothing).plus(other.outputs.get(one, nothing), sign) for one in names},
            self.reason or other.reason,
        )
