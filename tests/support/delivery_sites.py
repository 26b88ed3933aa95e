"""A watcher in a world in memory whose model has a rollout plan, with requests for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace

from core.config.model_config import ModelConfig
from core.delivery.arm_counts import Tally
from core.delivery.plan import Analysis, DeliverySettings, RolloutPlan, RolloutStep
from core.delivery.rollout_record import RolloutPhase, RolloutRecord
from core.delivery.split import WHOLE
from core.rollouts.orders import OrderVerb, RolloutOrder
from deployments.delivery.gates import Gates
from deployments.delivery.notices import Notices
from deployments.delivery.record_files import RecordFiles
from deployments.delivery.rollout_lines import RolloutLines
from deployments.delivery.rollouts import OrderOutcome, Rollouts, RolloutTools
from deployments.delivery.signature_watch import Signatures, SignatureWatch
from deployments.delivery.state_folder import StateFolder
from deployments.versions.reconciler import FIRST_DELETE_AFTER_S, Reconciler
from tests.support.sites import M, Site

PLAN = RolloutPlan(
    steps=(RolloutStep(weight=1_000, bake_s=60.0), RolloutStep(weight=5_000, bake_s=60.0)),
    analysis=Analysis(interval_s=15.0, initial_delay_s=0.0, min_requests=100),
    rollback_window_s=600.0,
)
PLANNED = replace(M, delivery=DeliverySettings(plan=PLAN))
LATENCY = (0, 0, 0, 1)
"""Every request is in the same bucket."""


class DeliverySite(Site):
    """A site whose versions get requests, and whose rollouts have tools of the test."""

    def __init__(
        self,
        versions=(7,),
        *,
        config: ModelConfig = PLANNED,
        folder: StateFolder | None = None,
        ask_gate: Callable[[str], str] = lambda _: "200",
        send: Callable[[str, bytes, Mapping[str, str]], str] = lambda *_: "200",
        signatures: Signatures | None = None,
    ) -> None:
        self.folder = folder
        self.ask_gate, self.send, self.signatures = ask_gate, send, signatures
        self.error_rates: dict[int, float] = {}
        super().__init__(versions, configs=(config,))

    def restart(self) -> None:
        """Replace the watcher by a fresh one."""
        tools = RolloutTools(
            RecordFiles(self.folder) if self.folder is not None else None,
            Gates(self.ask_gate),
            RolloutLines(Notices(self.send, lambda _: None)),
            SignatureWatch(self.signatures),
        )
        rollouts = Rollouts(tools)
        self.watch = Reconciler(self.settings, self.host, self.source, self.model_list, self.clock, rollouts=rollouts)
        self.clock.advance(FIRST_DELETE_AFTER_S)

    @property
    def record(self) -> RolloutRecord:
        """What the watcher knows of the rollout."""
        return self.watch.rollouts.record("m")

    @property
    def weights(self) -> dict[int, int]:
        """The shares that the router divides by; those of a model that is not divided are empty."""
        model = self.router.table.models.get("m")
        return dict(model.division.weights) if model is not None and model.division is not None else {}

    @property
    def loaded(self) -> set[int]:
        """The versions that run."""
        return {int(app.rpartition(":")[2]) for app in self.host.running}

    def pass_time(self, seconds: float, requests_per_s: float = 100.0) -> None:
        """Let ticks turn, a second each, while requests come."""
        for _ in range(int(seconds)):
            self.serve(requests_per_s)
            self.watch.pulled(self.router.report())
            self.tick(1.0)
            self.host.progress()

    def serve(self, requests: float) -> None:
        """Let requests come, divided as the router's table says; a share of them fails."""
        self.router.count("m", {one: self._tally(one, requests * share / WHOLE) for one, share in self.weights.items()})

    def _tally(self, version: int, requests: float) -> Tally:
        count = round(requests)
        return Tally(
            count, round(count * self.error_rates.get(version, 0.0)), latency=tuple(count * one for one in LATENCY)
        )

    def order(self, verb: OrderVerb, **more) -> Future[OrderOutcome]:
        """Give an order, and let one tick take it."""
        answer = self.watch.rollouts.order("m", RolloutOrder(verb, **more))
        self.tick()
        return answer

    def reach(self, phase: RolloutPhase, within_s: float = 600.0) -> None:
        """Let time pass until the rollout is in a phase."""
        for _ in range(int(within_s)):
            if self.record.phase is phase:
                return
            self.pass_time(1.0)
        raise AssertionError(f"{phase} was not reached: {self.record}")

    def begin(self, version: int = 8) -> None:
        """Settle with the versions that are there, and let a new one come until it has its first share."""
        self.settle()
        self.source.write("/m", version)
        self.reach(RolloutPhase.STEP)
        self.pass_time(2.0)
