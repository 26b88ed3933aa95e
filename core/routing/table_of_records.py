"""The routing table that follows from the watcher's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.config.model_config import ModelConfig
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.storage.version_listing import Judged
from core.versions.history import VersionHistory, history_of
from core.versions.lifecycle import State
from core.versions.record import VersionRecord
from core.versions.world import Records, World

UNKNOWN = ModelRoutes(configured=False)


def routing_table(records: Records, world: World, before: RoutingTable) -> RoutingTable:
    """Return the table that follows from the records, under the generation of the one before.

    The table is settled once every configured model has an available or failed version or nothing to load; it never
    becomes unsettled again.
    """
    configs = {config.name: config for config in world.models}
    streams: dict[str, list[VersionRecord]] = {name: [] for name in configs}
    for servable in sorted(records, reverse=True):
        streams.setdefault(servable.name, []).append(records[servable])
    models = {
        name: _model_routes(configs.get(name), stream, world, before.models.get(name, UNKNOWN))
        for name, stream in streams.items()
    }
    settled = before.settled or all(_is_settled(streams[name], world.storage_of(name)) for name in configs)
    return replace(before, models=models, settled=settled)


def _model_routes(
    config: ModelConfig | None, stream: list[VersionRecord], world: World, before: ModelRoutes
) -> ModelRoutes:
    answering = [one.servable for one in stream if one.state is State.AVAILABLE]
    routes = {one.version: before.routes.get(one.version) or Route.of(one) for one in answering}
    statuses = tuple(one.status() for one in stream)
    histories = _histories(stream, before, world)
    if config is None:
        return ModelRoutes(routes, statuses=statuses, histories=histories, configured=False)
    storage = world.storage_of(config.name)
    return ModelRoutes(
        routes=routes,
        labels=dict(config.labels),
        statuses=statuses,
        problem=storage.problem,
        ignored=dict(storage.listing.ignored) if storage.listing is not None else {},
        waiting=dict(storage.waiting),
        held=_held(config.labels, routes, before),
        histories=histories,
        base_path=config.base_path,
        policy=config.policy,
        rollout=config.resources.rollout,
        logging=config.logging,
    )


def _histories(stream: Iterable[VersionRecord], before: ModelRoutes, world: World) -> Mapping[int, VersionHistory]:
    known = before.histories
    return {one.servable.version: history_of(one, known.get(one.servable.version), world.moment) for one in stream}


def _held(labels: Mapping[str, int], routes: Mapping[int, Route], before: ModelRoutes) -> Mapping[str, int]:
    """Return the labels that move to a version which does not answer yet, with the version that they still name.

    So requests by that label are answered while the new version loads.
    """
    named = ((label, before.version_of(label)) for label, version in labels.items() if version not in routes)
    return {label: version for label, version in named if version is not None and version in routes}


def _is_settled(stream: list[VersionRecord], storage: Judged) -> bool:
    if any(one.state is State.AVAILABLE or one.failure is not None for one in stream):
        return True
    listed = storage.listing is not None and not storage.is_unsure
    nothing_to_load = listed and not any(one.aspired for one in stream)
    return nothing_to_load or bool(storage.problem)
