"""What the arms of each division did since somebody last asked, out of the cumulated counts that routers report.

Counts are kept by epoch, and an epoch has one set of shares: a window never spans two weights.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.delivery.analysis import ArmWindow
from core.delivery.arm_counts import ArmCounts
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins
from core.delivery.split import ArmKey
from core.routing.router_report import RouterReport

MOST_ROUTERS = 1024
"""Routers whose last counts are kept; those that were heard of longest ago are forgotten first."""

MOST_OUTPUTS = 4096
"""Outputs of replicas whose last counts are kept; every rollout has other replicas."""

OutputKey = tuple[str, str, str]
"""An application, its replica, and an output."""


C = TypeVar("C", ArmCounts, MirrorCounts)


@dataclass(frozen=True, slots=True)
class DividedRequests:
    """The arms of one division: its model and epoch, stable and canary with the names of their applications."""

    model: str
    epoch: int
    stable: int
    canary: int
    stable_app: str = ""
    canary_app: str = ""


@dataclass(slots=True)
class _OfRouter:
    """What a router reported last."""

    arms: Mapping[ArmKey, ArmCounts] = field(default_factory=dict)
    mirrors: Mapping[ArmKey, MirrorCounts] = field(default_factory=dict)
    number: int = 0


class CountedWindows:
    """Collects reports, on any thread, and hands out windows.

    A difference is taken whenever a router reports, so that nothing is lost with a router but what it had not reported.
    What a router counted of an adopted division before its first report here was seen by a former watcher already, and
    is left out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._adopted: dict[str, int] = {}
        self._routers: dict[str, _OfRouter] = {}
        self._arms: dict[ArmKey, ArmCounts] = {}
        self._mirrors: dict[ArmKey, MirrorCounts] = {}
        self._outputs_seen: dict[OutputKey, OutputBins] = {}
        self._outputs: dict[OutputKey, OutputBins] = {}

    def adopt(self, model: str, epoch: int) -> None:
        """Begin with a division that a former watcher made, as with all of its model before.

        A router that reported before is known with what it had counted then, of which nothing counts here.
        """
        with self._lock:
            self._adopted[model] = max(epoch, self._adopted.get(model, epoch))
            self._forget_sums(model, epoch)

    def take(self, report: RouterReport) -> None:
        """Add what a router has counted since its last report; one that was overtaken by a later one is left out.

        An answer to a broadcast is taken when all routers have answered, and some may have pulled since.
        """
        with self._lock:
            before = self._routers.get(report.router)
            if before is not None and report.number and report.number < before.number:
                return
            self._routers.pop(report.router, None)
            known = before or _OfRouter()
            for key, arm in report.arms.items():
                self._add(self._arms, key, arm, known.arms.get(key), is_first=before is None)
            for key, mirrored in report.mirrors.items():
                self._add(self._mirrors, key, mirrored, known.mirrors.get(key), is_first=before is None)
            for output, bins in report.outputs.items():
                self._add_outputs(output, bins)
            self._routers[report.router] = _OfRouter(report.arms, report.mirrors, report.number)
            while len(self._routers) > MOST_ROUTERS:
                del self._routers[next(iter(self._routers))]

    def _add(self, sums: dict[ArmKey, C], key: ArmKey, now: C, before: C | None, *, is_first: bool) -> None:
        """Add a difference; counts that fell are those of a router that began anew under its old name."""
        if before is None and is_first and key.epoch <= self._adopted.get(key.model, -1):
            return
        fell = before is not None and _total(now) < _total(before)
        gain = now if before is None or fell else now - before
        sums[key] = sums[key] + gain if key in sums else gain

    def _add_outputs(self, key: OutputKey, now: OutputBins) -> None:
        """Add what a replica counted; each router reports it, and one that is late brings nothing new.

        What it had counted when it was first heard of is left out: a former watcher may have seen it.
        """
        gain = now.since(self._outputs_seen.get(key, now))
        if gain is None:
            return
        self._outputs_seen.pop(key, None)
        self._outputs_seen[key] = replace(now, first=())
        while len(self._outputs_seen) > MOST_OUTPUTS:
            oldest = next(iter(self._outputs_seen))
            del self._outputs_seen[oldest]
            self._outputs.pop(oldest, None)
        gained = self._outputs.get(key, OutputBins()) + gain
        self._outputs[key] = replace(gained, first=now.first)

    def window(self, divided: DividedRequests, lasted_s: float) -> ArmWindow:
        """Return what the arms did since the last window of the model, and forget it and what is older."""
        with self._lock:
            stable = self._arms.get(ArmKey(divided.model, divided.epoch, divided.stable), ArmCounts()).judged
            canary = self._arms.get(ArmKey(divided.model, divided.epoch, divided.canary), ArmCounts()).judged
            mirror = self._mirrors.get(ArmKey(divided.model, divided.epoch, divided.canary))
            window = ArmWindow(
                stable,
                canary,
                canary.requests / max(1, stable.requests + canary.requests),
                mirror,
                self._outputs_of(divided.stable_app),
                self._outputs_of(divided.canary_app),
                lasted_s,
            )
            self._forget_sums(divided.model, math.inf)
            for key in [key for key in self._outputs if key[0] in {divided.stable_app, divided.canary_app}]:
                del self._outputs[key]
        return window

    def _outputs_of(self, app: str) -> dict[str, OutputBins]:
        """Return what all replicas of an application counted, by output."""
        found: dict[str, OutputBins] = {}
        for (name, _, output), bins in self._outputs.items():
            if name == app:
                found[output] = found.get(output, OutputBins()) + bins
        return found

    def _forget_sums(self, model: str, newest: float) -> None:
        """Forget what was counted of a model's divisions up to an epoch."""
        for key in [key for key in self._arms if key.model == model and key.epoch <= newest]:
            del self._arms[key]
        for key in [key for key in self._mirrors if key.model == model and key.epoch <= newest]:
            del self._mirrors[key]

    def arms(self, model: str, epoch: int) -> Mapping[int, ArmCounts]:
        """Return what all known routers counted of a division since they began, by version: for people to see."""
        with self._lock:
            return _by_version(model, epoch, [one.arms for one in self._routers.values()])

    def mirrors(self, model: str, epoch: int) -> Mapping[int, MirrorCounts]:
        """Return the same of the copies."""
        with self._lock:
            return _by_version(model, epoch, [one.mirrors for one in self._routers.values()])

    def forget(self, model: str) -> None:
        """Forget a model whose requests are no longer counted."""
        with self._lock:
            self._forget_sums(model, math.inf)
            self._adopted.pop(model, None)


def _by_version(model: str, epoch: int, routers: Iterable[Mapping[ArmKey, C]]) -> Mapping[int, C]:
    found: dict[int, C] = {}
    for counts in routers:
        for key, one in counts.items():
            if (key.model, key.epoch) == (model, epoch):
                found[key.version] = found[key.version] + one if key.version in found else one
    return found


def _total(counts: ArmCounts | MirrorCounts) -> int:
    """Return a number that only rises while a router runs."""
    return counts.shown.requests if isinstance(counts, ArmCounts) else counts.compared + counts.dropped
