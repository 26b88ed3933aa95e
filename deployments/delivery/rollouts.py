"""The rollouts of all models as the watcher carries them: advanced by each tick, changed by orders, kept in a folder.

A record takes effect once it is written: with a `--state_dir`, no table follows from a transition that a restart of
everything would forget. What takes traffic from a canary, or holds it, does not wait for a folder that is away.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from types import MappingProxyType

from core.config.model_config import ModelConfig
from core.delivery.plan import NO_DELIVERY
from core.delivery.rollout_record import NO_RECORD, Happening, RolloutPhase, RolloutRecord
from core.delivery_status.divided_traffic import DividedTraffic
from core.errors import NotFound, ServingError, Unavailable
from core.rollouts.holding import holding_of
from core.rollouts.orders import RolloutOrder, ordered
from core.rollouts.progress import advance, awaited_gate, with_look
from core.rollouts.sight import ModelSight
from core.routing.table import RoutingTable
from core.storage.store_errors import StorageFailed
from core.versions.world import Delivered
from deployments.delivery.asked_signatures import AskedSignatures
from deployments.delivery.gates import Gates
from deployments.delivery.held_replicas import HeldReplicas
from deployments.delivery.model_sights import ModelSights, TickLook
from deployments.delivery.record_files import RecordFiles
from deployments.delivery.rollout_lines import RolloutLines
from deployments.delivery.signature_watch import SignatureWatch
from deployments.delivery.state_folder import state_folder
from deployments.delivery.step_windows import StepWindows
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog

PROGRESS_SHOWN_EVERY_S = 5.0
"""How often routers are sent clocks and evidence that changed; transitions are sent at once."""

PROGRESS_WRITTEN_EVERY_S = 15.0
"""How often they are written to the state folder."""

WRITTEN_AGAIN_AFTER_S = 2.0
FOLDER_AWAITED_S = 30.0
"""So long a server that starts waits for its state folder; then it begins without what is there."""

HOLDS_BACK = frozenset({RolloutPhase.IDLE, RolloutPhase.PAUSED, RolloutPhase.ROLLING_BACK})
"""Phases that give a canary no more traffic than before: they begin although they cannot be written."""


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """The record after an order, and what the order has done in a sentence."""

    record: RolloutRecord
    text: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order that waits for the next tick."""

    model: str
    order: RolloutOrder
    answer: Future[OrderOutcome] = field(default_factory=Future)


@dataclass(slots=True)
class _Rollout:
    """One model: the record as it is now, as routers have it, and when it was shown and written."""

    record: RolloutRecord = NO_RECORD
    shown: RolloutRecord = NO_RECORD
    shown_s: float = 0.0
    written: RolloutRecord = NO_RECORD
    written_s: float = 0.0

    def take(self, record: RolloutRecord, now_s: float) -> None:
        """Let a record take effect, which differs by more than clocks."""
        self.record = self.shown = record
        self.shown_s = now_s


@dataclass(slots=True)
class RolloutTools:
    """What a rollout needs of the world around the watcher; tests replace the parts that leave the process."""

    files: RecordFiles | None = None
    gates: Gates = field(default_factory=Gates)
    lines: RolloutLines = field(default_factory=RolloutLines)
    signatures: SignatureWatch = field(default_factory=SignatureWatch)


def rollout_tools(state_dir: str) -> RolloutTools:
    """Return the parts of a real watcher; an empty folder keeps no files."""
    files = RecordFiles(state_folder(state_dir)) if state_dir else None
    return RolloutTools(files, signatures=SignatureWatch(AskedSignatures()))


class Rollouts:
    """All rollouts; `follow` belongs to the thread of the ticks, orders and reads may come from any."""

    def __init__(self, tools: RolloutTools | None = None) -> None:
        self._tools = tools or RolloutTools()
        self._owner = uuid.uuid4().hex
        self._rollouts: dict[str, _Rollout] = {}
        self._sights = ModelSights()
        self._held = HeldReplicas()
        self._orders: SimpleQueue[_Asked] = SimpleQueue()
        self._models: tuple[ModelConfig, ...] | None = None
        self._concerned: tuple[ModelConfig, ...] = ()
        self._met: set[str] = set()
        self._failures = RepeatedFailureLog("rollout_state_not_written", "rollout_state_written_again")
        self._try_again_s = 0.0
        self._began_s: float | None = None
        self.windows = StepWindows()
        self.delivered: Mapping[str, Delivered] = MappingProxyType({})

    def adopt(self, table: RoutingTable, now_s: float) -> None:
        """Continue with the records in a table of a former watcher, and look which files there are.

        At the very first start nothing is decided before the folder has answered, for some time: it alone says which
        version is stable. Raises StorageFailed meanwhile.
        """
        if self._began_s is None:
            self._began_s = now_s
        if self._tools.files is not None:
            try:
                self._tools.files.look()
            except StorageFailed as error:
                if not table.generation and now_s - self._began_s < FOLDER_AWAITED_S:
                    raise
                self._failures.failed(now_s, error)
        for name, model in table.models.items():
            if model.delivery != NO_RECORD:
                self._adopt(name, model.delivery)
        self._tools.signatures.adopt(table)

    def _adopt(self, name: str, record: RolloutRecord) -> None:
        self._rollouts[name] = _Rollout(record, record)
        self.windows.adopt(name, record.epoch)

    def record(self, model: str) -> RolloutRecord:
        """Return the record of a model as it is now."""
        known = self._rollouts.get(model)
        return known.record if known is not None else NO_RECORD

    def order(self, model: str, order: RolloutOrder) -> Future[OrderOutcome]:
        """Hand an order to the next tick; the answer comes when the record has changed, before routers have it.

        It is a ServingError for an order that is refused.
        """
        asked = _Asked(model, order)
        self._orders.put(asked)
        return asked.answer

    def held(self, models: tuple[ModelConfig, ...], now_s: float) -> frozenset[str] | None:
        """Return the applications that are to be told now to keep their replicas; None while nothing is due."""
        return self._held.due(models, self.delivered, now_s)

    def divided(self, now_s: float) -> Mapping[str, DividedTraffic]:
        """Return what routers counted of each divided model, for people."""
        return self.windows.divided(now_s)

    def follow(self, look: TickLook) -> Mapping[str, Delivered]:
        """Advance every rollout by what a tick has seen; returns what the versions and the table have to follow."""
        asked = tuple(self._taken_orders())
        if look.models is not self._models:
            self._take_models(look)
        sights = {one.name: self._advance(one, look) for one in self._with_ordered(look, asked)}
        for one in asked:
            self._obey(one, look, sights)
        self._write_late(look.now_s)
        changes = self._tools.signatures.follow(look)
        self.delivered = self._followed(look, sights, changes)
        return self.delivered

    def _take_models(self, look: TickLook) -> None:
        """Take over another list of models: read the files of new ones, and forget those that are gone."""
        self._models = look.models
        names = {one.name for one in look.models}
        for gone in (self._rollouts.keys() | self._met) - names:
            self._forget(gone, look.now_s)
        for new in names - self._met:
            self._read(new, look.now_s)
        self._met = names
        self._find_concerned()

    def _find_concerned(self) -> None:
        models = self._models or ()
        self._concerned = tuple(one for one in models if one.delivery != NO_DELIVERY or one.name in self._rollouts)

    def _read(self, name: str, now_s: float) -> None:
        """Take the record in a model's file, unless that in the table is newer."""
        if self._tools.files is None:
            return
        try:
            record = self._tools.files.record(name)
        except StorageFailed as error:
            self._failures.failed(now_s, error)
            return
        if record is not None and record.generation >= self.record(name).generation:
            self._adopt(name, record)
            self._rollouts[name].written = record

    def _forget(self, name: str, now_s: float) -> None:
        self._rollouts.pop(name, None)
        self._sights.forget(name)
        self.windows.forget(name)
        self._tools.gates.forget(name)
        if self._tools.files is not None:
            try:
                self._tools.files.remove(name)
            except StorageFailed as error:
                self._failures.failed(now_s, error)

    def _taken_orders(self) -> Iterable[_Asked]:
        while True:
            try:
                yield self._orders.get_nowait()
            except Empty:
                return

    def _with_ordered(self, look: TickLook, asked: Iterable[_Asked]) -> tuple[ModelConfig, ...]:
        """Return the models to look at: those with a rollout or shares, and those that get an order."""
        names = {one.model for one in asked} - {one.name for one in self._concerned}
        return (*self._concerned, *(one for one in look.models if one.name in names))

    def _advance(self, config: ModelConfig, look: TickLook) -> ModelSight:
        name = config.name
        before = self.record(name)
        sight = self._completed(config, before, self._sights.sight(config, before, look), look)
        after, happenings = advance(before, sight, config.delivery)
        if not self._take(name, after, happenings, look.now_s):
            # the window was handed out once: without it nothing could be proved against the canary meanwhile
            self._rollouts[name].record = with_look(before, sight)
        return sight

    def _completed(self, config: ModelConfig, record: RolloutRecord, sight: ModelSight, look: TickLook) -> ModelSight:
        """Add what is asked in the background: counts, gates and signatures."""
        gate = awaited_gate(record)
        is_open = bool(gate) and self._tools.gates.is_open(
            config.name, f"{record.rollout} {record.step}", gate, look.now_s
        )
        if not gate:
            self._tools.gates.forget(config.name)
        signatures, arms = self._tools.signatures, (config.name, record.stable, record.canary)
        return replace(
            sight,
            window=self.windows.due(config.name, record, sight.epoch_in_force, look.now_s),
            signature_problems=signatures.problems(*arms, look),
            outputs=signatures.outputs(*arms),
            is_gate_open=True if is_open else None,
        )

    def _take(self, name: str, after: RolloutRecord, happenings: tuple[Happening, ...], now_s: float) -> bool:
        """Let a record take effect, if it may; returns whether it has."""
        before = self.record(name)
        if after == before:
            return True
        if name not in self._rollouts:
            self._rollouts[name] = _Rollout()
            self._find_concerned()
        rollout = self._rollouts[name]
        if after.generation == before.generation:
            rollout.record = after
            if after.analysis != rollout.shown.analysis or now_s - rollout.shown_s >= PROGRESS_SHOWN_EVERY_S:
                rollout.take(after, now_s)
            return True
        owned = replace(after, owner=self._owner)
        stays = (after.phase, after.step) == (before.phase, before.step)  # with no more than was written
        if not self._is_written(name, owned, now_s) and not (stays or after.phase in HOLDS_BACK):
            return False
        rollout.take(owned, now_s)
        self._tools.lines.tell(name, owned, happenings)
        return True

    def _is_written(self, name: str, record: RolloutRecord, now_s: float) -> bool:
        """Write a record to the state folder, if there is one; whether a restart of everything would find it."""
        if self._tools.files is None:
            return True
        if now_s < self._try_again_s:
            return False
        try:
            self._tools.files.write(name, record)
        except StorageFailed as error:
            self._try_again_s = now_s + WRITTEN_AGAIN_AFTER_S
            self._failures.failed(now_s, error)
            return False
        self._failures.went_well(now_s)
        rollout = self._rollouts[name]
        rollout.written, rollout.written_s = record, now_s
        return True

    def _write_late(self, now_s: float) -> None:
        """Write what could not be written when it began, at once, and clocks and evidence now and then."""
        if self._tools.files is None:
            return
        for name, rollout in self._rollouts.items():
            is_late = rollout.shown.generation != rollout.written.generation
            is_due = rollout.record != rollout.written and now_s - rollout.written_s >= PROGRESS_WRITTEN_EVERY_S
            if is_late or is_due:
                self._is_written(name, rollout.record, now_s)

    def _obey(self, asked: _Asked, look: TickLook, sights: Mapping[str, ModelSight]) -> None:
        """Carry out an order, and answer it; one whose sender does not wait any more is not carried out."""
        if not asked.answer.set_running_or_notify_cancel():
            return
        try:
            asked.answer.set_result(self._outcome(asked, look, sights))
        except ServingError as error:
            asked.answer.set_exception(error)

    def _outcome(self, asked: _Asked, look: TickLook, sights: Mapping[str, ModelSight]) -> OrderOutcome:
        config = next((one for one in look.models if one.name == asked.model), None)
        if config is None:
            raise NotFound(f"There is no model {asked.model}.")
        before = self.record(config.name)
        after, happenings = ordered(before, asked.order, sights[config.name], config.delivery)
        if not self._take(config.name, after, happenings, look.now_s):
            raise Unavailable("The order was not carried out: the state folder cannot be written to; try again.")
        text = " ".join(one.text for one in happenings)
        return OrderOutcome(self.record(config.name), text or "There is nothing to change.")

    def _followed(
        self, look: TickLook, sights: Mapping[str, ModelSight], changes: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Delivered]:
        """Return what follows from the records; models without anything are left out."""
        configs = {one.name: one for one in look.models} if sights or changes else {}
        found: dict[str, Delivered] = {}
        for name in (*sights, *(one for one in changes if one not in sights)):
            rollout, settings = self._rollouts.get(name), configs[name].delivery
            if rollout is None or name not in sights:
                found[name] = Delivered(plan=settings.plan, signature_changes=changes.get(name, ()))
                continue
            found[name] = Delivered(
                holding_of(rollout.record, sights[name], settings),
                rollout.shown,
                (rollout.shown.plan if rollout.shown.canary else None) or settings.plan,
                changes.get(name, ()),
            )
        return found
