"""What the arms of each division did since somebody last asked, out of the cumulated counts that routers report.

Counts are kept by epoch, and an epoch has one set of shares: a window never spans two weights.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from core.delivery.analysis import ArmWindow
from core.delivery.arm_counts import ArmCounts
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins
from core.delivery.split import ArmKey
from core.routing.router_report import RouterReport

MOST_ROUTERS = 1024
"""Routers whose last counts are kept; those that were heard of longest ago are forgotten first."""

MOST_FIRST = 1000
"""Values of first answers that are kept of an output."""

OutputKey = tuple[str, str, str]
"""An application, its replica, and an output."""


class Counts(Protocol):
    """Cumulated counts of any kind."""

    def __sub__(self: C, other: C) -> C: ...
    def __add__(self: C, other: C) -> C: ...


C = TypeVar("C", bound=Counts)


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


class CountedWindows:
    """Collects reports, on any thread, and hands out windows.

    A difference is taken whenever a router reports, so that nothing is lost with a router but what it had not reported.
    Epochs in `adopted` were begun by a former watcher: what a router counted of them before its first report here was
    seen by that one already, and is left out.
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
        """Begin with a division that a former watcher made, as with all of its model before."""
        with self._lock:
            self._adopted[model] = max(epoch, self._adopted.get(model, epoch))

    def take(self, report: RouterReport) -> None:
        """Add what a router has counted since its last report."""
        if not (report.arms or report.mirrors or report.outputs):
            return
        with self._lock:
            before = self._routers.pop(report.router, None)
            known = before or _OfRouter()
            for key, arm in report.arms.items():
                self._add(self._arms, key, arm, known.arms.get(key), is_first=before is None)
            for key, mirrored in report.mirrors.items():
                self._add(self._mirrors, key, mirrored, known.mirrors.get(key), is_first=before is None)
            for output, bins in report.outputs.items():
                self._add_outputs(output, bins)
            self._routers[report.router] = _OfRouter(report.arms, report.mirrors)
            while len(self._routers) > MOST_ROUTERS:
                del self._routers[next(iter(self._routers))]

    def _add(self, sums: dict[ArmKey, C], key: ArmKey, now: C, before: C | None, *, is_first: bool) -> None:
        """Add a difference; counts that fell are those of a router that began anew under its old name."""
        if before is None and is_first and key.epoch <= self._adopted.get(key.model, -1):
            return
        fell = before is not None and _requests(now) < _requests(before)
        gain = now if before is None or fell else now - before
        sums[key] = sums[key] + gain if key in sums else gain

    def _add_outputs(self, key: OutputKey, now: OutputBins) -> None:
        """Add what a replica counted; each router reports it, and one that is late brings nothing new."""
        before = self._outputs_seen.get(key, OutputBins())
        if sum(now.counts.values()) < sum(before.counts.values()):
            return
        self._outputs_seen[key] = now
        known = self._outputs.get(key, OutputBins())
        gained = {one: count - before.counts.get(one, 0) for one, count in now.counts.items()}
        counts = {one: known.counts.get(one, 0) + gained.get(one, 0) for one in {*known.counts, *gained}}
        self._outputs[key] = replace(now, counts=counts)

    def window(self, divided: DividedRequests) -> ArmWindow:
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
            )
            self._forget_sums(divided.model)
            self._outputs = {
                key: one
                for key, one in self._outputs.items()
                if key[0] not in {divided.stable_app, divided.canary_app}
            }
        return window

    def _outputs_of(self, app: str) -> dict[str, OutputBins]:
        """Return what all replicas of an application counted, by output."""
        found: dict[str, OutputBins] = {}
        for (name, _, output), bins in self._outputs.items():
            if name == app:
                known = found.get(output, OutputBins())
                counts = {
                    one: known.counts.get(one, 0) + bins.counts.get(one, 0) for one in {*known.counts, *bins.counts}
                }
                found[output] = OutputBins(counts, (*known.first, *bins.first)[:MOST_FIRST])
        return found

    def _forget_sums(self, model: str) -> None:
        for key in [key for key in self._arms if key.model == model]:
            del self._arms[key]
        for key in [key for key in self._mirrors if key.model == model]:
            del self._mirrors[key]

    def shown(self, model: str, epoch: int) -> Mapping[int, ArmCounts]:
        """Return what all known routers counted of a division since they began, by version: for people to see."""
        found: dict[int, ArmCounts] = {}
        with self._lock:
            for known in self._routers.values():
                for key, counts in known.arms.items():
                    if (key.model, key.epoch) == (model, epoch):
                        found[key.version] = found.get(key.version, ArmCounts()) + counts
        return found

    def forget(self, model: str) -> None:
        """Forget a model whose requests are no longer counted."""
        with self._lock:
            self._forget_sums(model)
            self._adopted.pop(model, None)


def _requests(counts: object) -> int:
    """Return a number that only rises while a router runs."""
    if isinstance(counts, ArmCounts):
        return counts.shown.requests
    assert isinstance(counts, MirrorCounts)
    return counts.compared + counts.dropped
