"""The routing table that follows from the watcher's records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from core.config.model_config import ModelConfig
from core.rollouts.holding import division_of
from core.routing.admission import TrafficLimits
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.storage.version_listing import Judged
from core.versions.history import VersionHistory, history_of
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import VersionRecord
from core.versions.servable import ServableId
from core.versions.world import Records, World

UNKNOWN = ModelRoutes(configured=False)


WITHDRAWN_WITHIN_S = 20.0
"""How long a version that is unloaded stays in the table at most, until every router shows it as UNLOADING.

Longer than a router pulls no table before it counts as gone.
"""


def routing_table(records: Records, world: World, before: RoutingTable, *, is_confirmed: bool = True) -> RoutingTable:
    """Return the table that follows from the records, under the generation of the one before.

    `is_confirmed` says that every router uses the table before. States lag behind routes when a version comes, and lead
    when it goes: whichever router is asked, a version that it shows as AVAILABLE is answered by all of them. The table
    is settled once every configured model has an available or failed version or nothing to load; it never becomes
    unsettled again.
    """
    configs = {config.name: config for config in world.models}
    streams: dict[str, list[VersionRecord]] = {name: [] for name in configs}
    for servable in sorted(records, reverse=True):
        streams.setdefault(servable.name, []).append(records[servable])
    models = {
        name: _model_routes(
            configs.get(name), stream, world, _Published(before.models.get(name, UNKNOWN), is_confirmed)
        )
        for name, stream in streams.items()
    }
    settled = before.settled or all(
        _is_settled(streams[name], models[name], world.storage_of(name)) for name in configs
    )
    is_complete = before.settled and not before.awaited
    awaited = (
        () if is_complete else (one for name in configs for one in _awaited(name, models[name], world.storage_of(name)))
    )
    return replace(before, models=models, settled=settled, awaited=frozenset(awaited))


@dataclass(frozen=True, slots=True)
class _Published:
    """A model as the table before has it, and whether every router uses that table."""

    model: ModelRoutes
    is_confirmed: bool

    def is_routed(self, record: VersionRecord, now_s: float) -> bool:
        """Whether a version belongs into the next table: one that goes stays until every router shows that it goes."""
        if record.state is not State.UNLOADING:
            return record.state is State.AVAILABLE
        version = record.servable.version
        is_shown = self.is_confirmed and self._state(version) is State.UNLOADING
        is_late = now_s - record.since_s > WITHDRAWN_WITHIN_S
        return version in self.model.routes and not is_shown and not is_late

    def status(self, record: VersionRecord) -> VersionStatus:
        """Return the status to show: one that comes is LOADING until every router has a table that leads to it."""
        status = record.status()
        if status.state is not State.AVAILABLE or self._state(status.version) is State.AVAILABLE:
            return status
        is_known = self.is_confirmed and status.version in self.model.routes
        return status if is_known else replace(status, state=State.LOADING)

    def _state(self, version: int) -> State | None:
        return next((one.state for one in self.model.statuses if one.version == version), None)


def _model_routes(
    config: ModelConfig | None, stream: list[VersionRecord], world: World, published: _Published
) -> ModelRoutes:
    before = published.model
    answering = [one.servable for one in stream if published.is_routed(one, world.now_s)]
    routes = {one.version: _route(one, before, world) for one in answering}
    statuses = tuple(_status(published.status(one), one, world) for one in stream)
    histories = _histories(stream, before, world)
    if config is None:
        return ModelRoutes(routes, statuses=statuses, histories=histories, configured=False)
    storage, delivered = world.storage_of(config.name), world.delivered_of(config.name)
    labels = {**config.labels, **delivered.record.labels}
    return ModelRoutes(
        routes=routes,
        labels=labels,
        statuses=statuses,
        problem=storage.problem,
        ignored=dict(storage.listing.ignored) if storage.listing is not None else {},
        waiting=dict(storage.waiting),
        held=_held(labels, routes, before),
        histories=histories,
        base_path=config.base_path,
        policy=config.policy,
        rollout=config.resources.rollout,
        logging=config.logging,
        limits=TrafficLimits(config.resources.max_requests_per_second, config.resources.max_in_flight),
        division=division_of(delivered.record, frozenset(routes)),
        delivery=delivered.record,
        plan=delivered.plan,
        signature_changes=delivered.signature_changes,
    )


def _route(servable: ServableId, before: ModelRoutes, world: World) -> Route:
    """Return the route of a version: a hosted one may have moved, because its node was lost."""
    known, seen = before.routes.get(servable.version), world.apps.get(servable)
    if known is not None and (seen is None or known.host == seen.host):
        return known
    return Route.of(servable, "" if seen is None else seen.host)


def _status(status: VersionStatus, record: VersionRecord, world: World) -> VersionStatus:
    """Return the public status; a version that answers with errors only is AVAILABLE, with its error."""
    failing = world.failing.get(record.servable)
    if failing is None or status.state is not State.AVAILABLE:
        return status
    return replace(status, code=failing.code, message=failing.message)


def _histories(stream: Iterable[VersionRecord], before: ModelRoutes, world: World) -> Mapping[int, VersionHistory]:
    known = before.histories
    return {one.servable.version: history_of(one, known.get(one.servable.version), world.moment) for one in stream}


def _held(labels: Mapping[str, int], routes: Mapping[int, Route], before: ModelRoutes) -> Mapping[str, int]:
    """Return the labels that move to a version which does not answer yet, with the version that they still name.

    So requests by that label are answered while the new version loads.
    """
    named = ((label, before.version_of(label)) for label, version in labels.items() if version not in routes)
    return {label: version for label, version in named if version is not None and version in routes}


def _awaited(name: str, model: ModelRoutes, storage: Judged) -> Iterator[ServableId]:
    """Yield the versions that readiness waits for, also those that only a second look at storage can judge."""
    unsure = model.named & storage.waiting.keys() if storage.is_unsure else frozenset()
    yield from (ServableId(name, version) for version in model.awaited | (unsure - model.histories.keys()))


def _is_settled(stream: list[VersionRecord], model: ModelRoutes, storage: Judged) -> bool:
    if model.is_available or any(one.failure is not None for one in stream):
        return True
    listed = storage.listing is not None and not storage.is_unsure
    nothing_to_load = listed and not any(one.aspired for one in stream)
    return nothing_to_load or bool(storage.problem)
