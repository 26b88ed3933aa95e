"""What replicas count of their outputs where a plan judges drift, and routers report to the watcher.

A router sends an order as JSON, with the outputs and their bins; a replica answers with what it has counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from core.errors import InvalidArgument

MOST_SAMPLES: Final = 1000
"""Values of stable's first answers, of which bins are made."""


@dataclass(frozen=True, slots=True)
class Binning:
    """The bins of one output: between edges for numbers, or one for each of some values and one for all others.

    Without either no bins are known yet, and the first answers are wanted. Values are texts, of numbers too.
    """

    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether there are bins."""
        return bool(self.edges or self.values)


@dataclass(frozen=True, slots=True)
class OutputOrder:
    """The outputs that a replica has to count, with their bins; `rollout` tells the orders of rollouts apart."""

    rollout: str
    outputs: Mapping[str, Binning]

    def to_json(self) -> bytes:
        """Return the order as a router sends it."""
        outputs = {name: {"edges": one.edges, "values": one.values} for name, one in self.outputs.items()}
        return json.dumps({"rollout": self.rollout, "outputs": outputs}).encode()

    @classmethod
    def of_json(cls, raw: bytes) -> OutputOrder:
        """Return the order that came; raises InvalidArgument for what is none."""
        try:
            order = json.loads(raw)
            outputs = {
                str(name): Binning(tuple(map(float, one["edges"])), tuple(map(str, one["values"])))
                for name, one in order["outputs"].items()
            }
            return cls(str(order["rollout"]), outputs)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise InvalidArgument(f"This is no order to count outputs: {error!r}") from error


@dataclass(frozen=True, slots=True)
class OutputBins:
    """Cumulated answers of one replica for one output, by bin; `first` are values of the first answers.

    Bins are what the watcher asked for (`Binning`), by their number as text; before it asked, `first` samples up to
    `MOST_SAMPLES` values, of which it makes them. `run` rises whenever the replica begins to count anew.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    first: tuple[float | int | str, ...] = ()
    run: int = 0

    def __add__(self, other: OutputBins) -> OutputBins:
        """Return the sum of two replicas' counts."""
        return OutputBins(self._counts_with(other, 1), (self.first + other.first)[:MOST_SAMPLES])

    def __sub__(self, other: OutputBins) -> OutputBins:
        """Return what one replica counted since it said `other`; `first` are those of now."""
        return OutputBins(self._counts_with(other, -1), self.first, self.run)

    def since(self, before: OutputBins) -> OutputBins | None:
        """Return what the replica counted since an earlier report; None if this one is the older of both.

        Every router reports what it last heard of the replica, so that reports may come in another order.
        """
        if self.run != before.run:
            return self if self.run > before.run else None
        return None if sum(self.counts.values()) < sum(before.counts.values()) else self - before

    def _counts_with(self, other: OutputBins, sign: int) -> dict[str, int]:
        names = dict.fromkeys((*self.counts, *other.counts))
        return {one: self.counts.get(one, 0) + sign * other.counts.get(one, 0) for one in names}


def outputs_to_json(outputs: Mapping[str, OutputBins]) -> bytes:
    """Return what a replica has counted, by output, as it answers."""
    found = {name: {"counts": one.counts, "first": one.first, "run": one.run} for name, one in outputs.items()}
    return json.dumps(found).encode()


def outputs_of_json(raw: bytes) -> dict[str, OutputBins]:
    """Return what a replica has counted, by output; empty for what is not such an answer."""
    try:
        return {str(name): _bins(one) for name, one in json.loads(raw).items()}
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        return {}


def _bins(found: Mapping[str, Any]) -> OutputBins:
    first = tuple(one for one in found["first"] if isinstance(one, float | int | str))[:MOST_SAMPLES]
    return OutputBins({str(name): int(count) for name, count in found["counts"].items()}, first, int(found["run"]))
