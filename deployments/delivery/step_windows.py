"""Hands each rollout the counts of its arms whenever an interval of its analysis is over, and shows them to people."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.delivery.analysis import ArmWindow
from core.delivery.arm_counts import Tally
from core.delivery.plan import Analysis
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import Division
from core.delivery_status.divided_traffic import DividedTraffic
from core.routing.router_report import RouterReport
from core.versions.servable import ServableId, app_name
from deployments.delivery.counted_windows import CountedWindows, DividedRequests

SAMPLED_EVERY_S = 5.0
RECENT_S = 60.0
"""People see rates of so many last seconds."""

INTERVAL_S = Analysis().interval_s


@dataclass(slots=True)
class _Divided:
    """One division whose requests are counted: since when, until when its last window was, and samples for people."""

    epoch: int
    window_s: float
    samples: deque[tuple[float, Mapping[int, Tally]]] = field(default_factory=deque)


class StepWindows:
    """The windows of all models; reports and questions of people may come from any thread."""

    def __init__(self) -> None:
        self._counted = CountedWindows()
        self._divided: dict[str, _Divided] = {}
        self._lock = threading.Lock()

    def take(self, report: RouterReport) -> None:
        """Add what a router has counted since its last report."""
        self._counted.take(report)

    def adopt(self, model: str, epoch: int) -> None:
        """Continue with a division that a former watcher made: what routers counted of it until now was seen."""
        self._counted.adopt(model, epoch)

    def forget(self, model: str) -> None:
        """Forget a model whose requests are not counted any more."""
        with self._lock:
            if self._divided.pop(model, None) is not None:
                self._counted.forget(model)

    def due(self, model: str, record: RolloutRecord, epoch_in_force: int, now_s: float) -> ArmWindow | None:
        """Return the window that is over now, if one is: since the last one, or since every router has the division."""
        division = record.division
        if division is None or not division.is_counted:
            self.forget(model)
            return None
        if division.epoch != epoch_in_force:
            return None
        known = self._divided.get(model)
        if known is None or known.epoch != division.epoch:
            with self._lock:
                self._divided[model] = _Divided(division.epoch, now_s)
            return None
        self._sample(model, known, now_s)
        lasted_s = now_s - known.window_s
        if not record.canary or lasted_s < (record.plan.analysis.interval_s if record.plan is not None else INTERVAL_S):
            return None
        known.window_s = now_s
        return self._counted.window(_arms(model, record, division), lasted_s)

    def _sample(self, model: str, known: _Divided, now_s: float) -> None:
        """Keep what was counted until now, so that rates of the last seconds can be shown."""
        with self._lock:
            if known.samples and now_s - known.samples[-1][0] < SAMPLED_EVERY_S:
                return
            known.samples.append((now_s, self._tallies(model, known.epoch)))
            while now_s - known.samples[0][0] > RECENT_S:
                known.samples.popleft()

    def _tallies(self, model: str, epoch: int) -> Mapping[int, Tally]:
        return {version: one.shown for version, one in self._counted.arms(model, epoch).items()}

    def divided(self, now_s: float) -> Mapping[str, DividedTraffic]:
        """Return what routers counted of each divided model, for people."""
        with self._lock:
            return {model: self._shown(model, known, now_s) for model, known in self._divided.items()}

    def _shown(self, model: str, known: _Divided, now_s: float) -> DividedTraffic:
        arms = self._tallies(model, known.epoch)
        began_s, before = known.samples[0] if known.samples else (now_s, arms)
        recent = {version: one - before.get(version, Tally()) for version, one in arms.items()}
        return DividedTraffic(arms, recent, now_s - began_s, self._counted.mirrors(model, known.epoch))


def _arms(model: str, record: RolloutRecord, division: Division) -> DividedRequests:
    stable, canary = ServableId(model, record.stable), ServableId(model, record.canary)
    return DividedRequests(model, division.epoch, record.stable, record.canary, app_name(stable), app_name(canary))
