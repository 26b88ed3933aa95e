"""What routers count of compared copies, and report to the watcher."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Final

from core.delivery.pair_report import OutputPair, PairReport, PairResult

L2_DECADES: Final = tuple(range(-9, 2))
"""Exponents of ten: upper edges of the buckets of relative distances, 1e-9 to 10; one more bucket has no edge."""
L2_EDGES: Final = tuple(10.0**one for one in L2_DECADES)

MOST_OUTPUTS: Final = 256
"""Outputs that are counted one by one: SessionRun may ask for every tensor of a graph."""


@dataclass(frozen=True, slots=True)
class OutputCounts:
    """Pairs of answers that differ in an output, and how far they are apart.

    Pairs that are equal in it are not among them: `MirrorCounts.pairs` says of how many these are. `flips`: pairs in
    which a row's largest column differs. `outside`: pairs with elements outside of the tolerance. `l2`: pairs by
    relative distance, a bucket for each of `L2_DECADES` and one more. `largest`: the largest absolute difference seen.
    `not_finite`: pairs with elements of which one is not finite. `flipped_rows` and `lost_top5` are sums: rows whose
    largest column differs, and the mean share of a row's five largest columns that the copy does not have.
    """

    pairs: int = 0
    flips: int = 0
    outside: int = 0
    l2: tuple[int, ...] = ()
    largest: float = 0.0
    not_finite: int = 0
    flipped_rows: int = 0
    lost_top5: float = 0.0

    @classmethod
    def of(cls, pair: OutputPair) -> OutputCounts:
        """Return the counts of one pair."""
        bucket = bisect_left(L2_EDGES, pair.relative_l2)
        return cls(
            1,
            int(pair.flipped_rows > 0),
            int(pair.outside > 0),
            (*(0,) * bucket, 1),
            pair.largest,
            int(pair.not_finite > 0),
            pair.flipped_rows,
            pair.lost_top5,
        )

    def plus(self, other: OutputCounts, sign: int = 1) -> OutputCounts:
        """Return the sum, or with a sign of -1 the difference (in which `largest` is that of the newer counts)."""
        return OutputCounts(
            self.pairs + sign * other.pairs,
            self.flips + sign * other.flips,
            self.outside + sign * other.outside,
            tuple(one + sign * two for one, two in zip_longest(self.l2, other.l2, fillvalue=0)),
            max(self.largest, other.largest) if sign > 0 else self.largest,
            self.not_finite + sign * other.not_finite,
            self.flipped_rows + sign * other.flipped_rows,
            self.lost_top5 + sign * other.lost_top5,
        )


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

    @property
    def pairs(self) -> int:
        """Copies of which both answers have the same outputs: what the counts of each output are a part of."""
        return self.identical + self.within + self.outside

    def plus(self, pair: PairReport) -> MirrorCounts:
        """Return the counts with one more copy."""
        match pair.result:
            case PairResult.IDENTICAL:
                return replace(self, identical=self.identical + 1)
            case PairResult.DROPPED:
                return replace(self, dropped=self.dropped + 1)
            case PairResult.STRUCTURAL:
                return replace(self, structural=self.structural + 1, reason=pair.reason)
            case PairResult.FAILED:
                return replace(self, failed=self.failed + 1)
            case PairResult.WITHIN:
                return replace(self, within=self.within + 1, outputs=self._outputs_with(pair))
            case PairResult.OUTSIDE:
                return replace(self, outside=self.outside + 1, outputs=self._outputs_with(pair))

    def _outputs_with(self, pair: PairReport) -> Mapping[str, OutputCounts]:
        outputs = dict(self.outputs)
        for name, one in pair.outputs.items():
            before = outputs.get(name)
            if before is not None:
                outputs[name] = before.plus(OutputCounts.of(one))
            elif len(outputs) < MOST_OUTPUTS:
                outputs[name] = OutputCounts.of(one)
        return outputs

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
