"""Counts the values of some outputs by bins while somebody asks for them: of each answer, that of its first row.

A row of several numbers stands for its largest column, as that of a classifier does; texts are cut. Nothing is counted,
and nothing costs anything, unless a router has asked within the last minute.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final

import numpy as np

from core.delivery.output_counts import MOST_SAMPLES, Binning, OutputBins, OutputOrder, outputs_to_json
from core.errors import Code, ServingError
from core.evidence.binned_values import Value, bin_of_value
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.routing.transport import Answer

log = logging.getLogger(__name__)

KEPT_FOR_S: Final = 60.0
"""So long after the last question outputs are still counted."""

LONGEST_TEXT: Final = 64
"""Characters of a text by which it has its bin."""

OnOutputs = Callable[[RunPlan, Sequence[np.ndarray]], None]


class OutputObserver:
    """Counts the outputs of one version; `switch` is given what is to be called with each answer's outputs, or None."""

    def __init__(
        self,
        served: ServedModel,
        switch: Callable[[OnOutputs | None], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._served = served
        self._switch = switch
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = Lock()
        self._rollout = ""
        self._asked_s = -math.inf
        self._series: dict[str, _Series] = {}
        self._places: dict[tuple[str, tuple[str, ...]], tuple[tuple[_Series, int], ...]] = {}
        self._has_failed = False

    def answer(self, raw: bytes) -> Answer:
        """Answer a router's order with what was counted so far, and go on counting."""
        try:
            order = OutputOrder.of_json(raw)
        except ServingError as error:
            return Answer.of(error)
        return Answer(Code.OK, outputs_to_json(self._follow(order)))

    def _follow(self, order: OutputOrder) -> Mapping[str, OutputBins]:
        """Count what an order wants; bins that are known stay known to those who have not heard of them yet."""
        with self._lock:
            now_s = self._clock()
            if order.rollout != self._rollout or now_s - self._asked_s > KEPT_FOR_S:
                self._series = {}
            self._rollout, self._asked_s = order.rollout, now_s
            run = int(1000 * self._wall_clock())
            kept = {name: one for name, one in self._series.items() if name in order.outputs}
            for name, binning in order.outputs.items():
                known = kept.get(name)
                if known is None or (binning.is_known and binning != known.binning):
                    kept[name] = _Series(binning, run if known is None else max(run, known.run + 1))
            self._series = kept
            self._places = {}
            self._switch(self.observe if kept else None)
            return {name: one.bins() for name, one in kept.items()}

    def observe(self, plan: RunPlan, outputs: Sequence[np.ndarray]) -> None:
        """Count the outputs of an answer, in the thread that made it; never raises."""
        try:
            with self._lock:
                if self._clock() - self._asked_s > KEPT_FOR_S:
                    self._switch(None)
                    return
                kind = (plan.signature, plan.fetches)
                places = self._places.get(kind)
                if places is None:
                    places = self._places[kind] = self._found(plan)
                for series, place in places:
                    series.count(outputs[place])
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                log.exception("output_not_counted model=%s version=%d", self._served.name, self._served.version)

    def _found(self, plan: RunPlan) -> tuple[tuple[_Series, int], ...]:
        """Return the observed outputs among those of a plan, with their places."""
        signature = self._served.signatures.get(plan.signature)
        declared = {} if signature is None else signature.outputs
        return tuple(
            (series, plan.fetches.index(declared[name].tensor))
            for name, series in self._series.items()
            if name in declared and declared[name].tensor in plan.fetches
        )


class _Series:
    """The values of one output: the first ones, or how many fell into each bin."""

    def __init__(self, binning: Binning, run: int) -> None:
        self.binning = binning
        self.run = run
        self._counts: Counter[int] = Counter()
        self._first: list[Value] = []

    def count(self, output: np.ndarray) -> None:
        value = observed_value(output)
        if value is None:
            return
        if self.binning.is_known:
            self._counts[bin_of_value(value, self.binning.edges, self.binning.values)] += 1
        elif len(self._first) < MOST_SAMPLES:
            self._first.append(value)

    def bins(self) -> OutputBins:
        return OutputBins({str(number): count for number, count in self._counts.items()}, tuple(self._first), self.run)


def observed_value(output: np.ndarray) -> Value | None:
    """Return the value that stands for an answer: that of its first row; None for one without values.

    A single number is itself, a row of several floating-point numbers its largest column, and of others the first one
    stands for all. A row with NaN is NaN.
    """
    if not output.size:
        return None
    row = output.reshape(len(output), -1)[0] if output.ndim else output.reshape(1)
    first = row[0]
    if isinstance(first, bytes | str):
        text = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)
        return text[:LONGEST_TEXT]
    if row.dtype.kind in "biu":
        return int(first)
    if row.dtype.kind == "c":
        return None
    numbers = row.astype(np.float64) if row.dtype.kind != "f" else row
    if len(row) == 1:
        return float(numbers[0])
    largest = int(np.argmax(numbers))
    return math.nan if np.isnan(numbers[largest]) else largest
