"""What the watcher's tick saw, as the state machine of rollouts wants to know it of each model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from core.config.model_config import ModelConfig
from core.config.version_policy import PolicyFailed
from core.delivery.rollout_record import RolloutRecord
from core.rollouts.sight import ModelSight
from core.routing.table import ModelRoutes, RoutingTable
from core.storage.version_listing import Judged, VersionListing
from core.versions.lifecycle import State
from core.versions.record import GIVEN_UP
from core.versions.servable import ServableId, app_name
from core.versions.world import ABSENT, AppObservation, Condition, Records

NOWHERE = ModelRoutes(configured=False)


@dataclass(frozen=True, slots=True)
class TickLook:
    """What one tick of the watcher has seen.

    `table` is the newest one, `in_force` the newest that every router used at one moment. `apps` are by name.
    """

    models: tuple[ModelConfig, ...]
    storage: Mapping[str, Judged]
    apps: Mapping[str, AppObservation]
    records: Records
    table: RoutingTable
    in_force: RoutingTable
    now_s: float
    wall_s: float

    def routes(self, model: str) -> ModelRoutes:
        """Return a model as the newest table has it."""
        return self.table.models.get(model, NOWHERE)


@dataclass(slots=True)
class _Known:
    """What is remembered of one model between two looks."""

    looked_s: float
    answered_s: dict[int, float] = field(default_factory=dict)
    counted: frozenset[int] = frozenset()
    running: dict[int, int] = field(default_factory=dict)
    listing: VersionListing | None = None
    fingerprints: Mapping[int, str] = field(default_factory=dict)


class ModelSights:
    """Remembers of each model what a look is compared with."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def sight(self, config: ModelConfig, record: RolloutRecord, look: TickLook) -> ModelSight:
        """Return what is seen of a model; windows, gates and signatures are left out."""
        name = config.name
        known = self._known.setdefault(name, _Known(look.now_s))
        elapsed_s, known.looked_s = look.now_s - known.looked_s, look.now_s
        available = look.routes(name).available
        stored = _stored(look.storage.get(name), available, known)
        chosen = _chosen(config, stored)
        division = look.in_force.models.get(name, NOWHERE).division
        return ModelSight(
            name,
            look.wall_s,
            elapsed_s,
            is_listed=stored is not None and chosen is not None,
            stored=stored or {},
            chosen=chosen or frozenset(),
            available=available,
            failed=dict(_failed(name, look)),
            gone_s=_gone_s(config, known, look),
            restarts=_restarts(config, record.canary, known, look),
            epoch_in_force=division.epoch if division is not None else -1,
            labels=config.labels,
        )

    def forget(self, model: str) -> None:
        """Forget a model that is no longer configured."""
        self._known.pop(model, None)


def _stored(storage: Judged | None, available: frozenset[int], known: _Known) -> Mapping[int, str] | None:
    """Return the complete versions with their fingerprints, which are long to make; None while storage is unknown.

    One that answers is complete, even if somebody writes there again.
    """
    if storage is None or storage.listing is None or storage.is_unsure:
        return None
    if storage.listing is not known.listing:
        known.listing = storage.listing
        known.fingerprints = {number: one.fingerprint for number, one in storage.listing.versions.items()}
    found = known.fingerprints
    return {number: one for number, one in found.items() if number not in storage.waiting or number in available}


def _chosen(config: ModelConfig, stored: Mapping[int, str] | None) -> frozenset[int] | None:
    """Return what the policy chooses of what is stored; None where it fails."""
    if stored is None:
        return None
    try:
        return config.policy.select(frozenset(stored))
    except PolicyFailed:
        return None


def _failed(name: str, look: TickLook) -> Iterator[tuple[int, str]]:
    """Yield the versions that could not be loaded for good, with the error."""
    for version in look.routes(name).histories:
        record = look.records.get(ServableId(name, version))
        failure = record.failure if record is not None and record.state is State.END else None
        if failure is not None and failure != GIVEN_UP:
            yield version, f"{failure.code.name}: {failure.message}"


def _gone_s(config: ModelConfig, known: _Known, look: TickLook) -> dict[int, float]:
    """Return for how long each version that has answered does not; those that nobody speaks of are forgotten.

    One whose replicas have all died is still AVAILABLE while Serve starts others.
    """
    routes = look.routes(config.name)
    replicas = {one: _app(config, one, look).replicas for one in routes.available}
    may_have_none = config.resources.autoscaling is not None and not config.resources.autoscaling.min_replicas
    known.counted = frozenset(one for one, count in replicas.items() if count or one in known.counted)
    answering = {one for one, count in replicas.items() if count or may_have_none or one not in known.counted}
    answered = {**known.answered_s, **dict.fromkeys(answering, look.now_s)}
    known.answered_s = {version: at_s for version, at_s in answered.items() if version in routes.histories}
    return {version: look.now_s - at_s for version, at_s in known.answered_s.items() if version not in answering}


def _app(config: ModelConfig, version: int, look: TickLook) -> AppObservation:
    return look.apps.get(app_name(ServableId(config.name, version)), ABSENT)


def _restarts(config: ModelConfig, canary: int, known: _Known, look: TickLook) -> int:
    """Return how many replicas of the canary died: fewer run than before, of a model that is not scaled by its load."""
    app = _app(config, canary, look)
    runs = max(app.replicas, 1) if app.condition is Condition.RUNNING else 0
    ran = known.running.get(canary, 0)
    known.running = {canary: runs}
    is_scaled = config.resources.autoscaling is not None and bool(runs)
    return 0 if is_scaled or app.condition is Condition.DELETING else max(0, ran - runs)
