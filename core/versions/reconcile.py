"""One tick of the watcher, decided: what the world shows becomes records, records become actions and a table.

Everything here is level-based: the same world gives the same answer, and carrying out an action twice changes
nothing. The walk is `observe` (records follow the world), `next_actions` (what to load and unload) and `deletable`
(which applications nobody can call any more); `core.routing.table_of_records` makes the table of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from core.config.model_config import ModelConfig
from core.versions.history import recalled
from core.versions.lifecycle import State
from core.versions.load_report import failure_in
from core.versions.record import GIVEN_UP, Event, Failure, VersionRecord
from core.versions.rollout import RolloutVerb, VersionSnapshot, next_action
from core.versions.servable import ServableId, app_name
from core.versions.world import ABSENT, AppObservation, Condition, Load, LoadLimits, Records, Unload, World

ENDED_VERSIONS_KEPT_S = 3600.0
"""How long an ended version stays in GetModelStatus after nobody wants it any more."""


ADOPTED: Mapping[Condition, State] = MappingProxyType(
    {
        Condition.RUNNING: State.AVAILABLE,
        Condition.DEPLOYING: State.LOADING,
        Condition.DELETING: State.UNLOADING,
    }
)
"""The state of a version that a new watcher finds, by the condition of its application; the others begin anew."""


def observe(records: Records, world: World, limits: LoadLimits) -> dict[ServableId, VersionRecord]:
    """Let the records follow the world: new versions, new wishes, and what became of the applications."""
    followed: dict[ServableId, VersionRecord | None] = {}
    wishes = {config.name: _wish(config, records, world) for config in world.models}
    for servable in _all_servables(records, wishes, world):
        wish = wishes.get(servable.name)
        record = records.get(servable)
        app = world.apps.get(app_name(servable), ABSENT)
        wanted = wish is not None and servable.version in wish.aspired
        if record is None:
            record = _first_seen(servable, app, world, limits, wanted=wanted)
        record = _follow_directory(replace(record, aspired=wanted), world)
        followed[servable] = _forget_or_keep(_follow_app(record, app, world.now_s, limits), world)
    return {servable: record for servable, record in followed.items() if record is not None}


@dataclass(frozen=True, slots=True)
class _Wish:
    aspired: frozenset[int]


def _wish(config: ModelConfig, records: Records, world: World) -> _Wish:
    """Return the aspired versions; while storage shows none that could be loaded, what is there stays wanted."""
    alive = _left_behind(config.name, records, world) | {
        one.servable.version
        for one in records.values()
        if one.servable.name == config.name and one.state in {State.LOADING, State.AVAILABLE}
    }
    listing = world.listings.get(config.name)
    if listing is None:
        return _Wish(alive)
    if config.name in world.unsure and (wished := _wished_before(config.name, world)):
        return _Wish(alive | wished)
    present = frozenset(listing.versions)
    unfinished = frozenset(world.waiting.get(config.name, {}))
    aspired = config.policy.select((present - unfinished) | (present & alive))
    only_unfinished = not aspired and config.policy.select(present)
    return _Wish(alive if only_unfinished else aspired)


def _wished_before(name: str, world: World) -> frozenset[int]:
    """Name the versions that a former watcher wanted; what it knew counts until a second look shows more."""
    known = (servable.version for servable, one in world.remembered.items() if servable.name == name and one.aspired)
    return frozenset(known)


def _left_behind(name: str, records: Records, world: World) -> frozenset[int]:
    """Name the versions that run or load without a record: a former watcher deployed them."""
    prefix = app_name(ServableId(name, 0)).rpartition(":")[0]
    versions = (
        app.rpartition(":")[2]
        for app, seen in world.apps.items()
        if app.rpartition(":")[0] == prefix and seen.condition in {Condition.RUNNING, Condition.DEPLOYING}
    )
    numbers = frozenset(int(version) for version in versions if version.isdecimal())
    return numbers - {servable.version for servable in records if servable.name == name}


def _all_servables(records: Records, wishes: Mapping[str, _Wish], world: World) -> list[ServableId]:
    known = set(records) | set(world.remembered)
    for name, wish in wishes.items():
        known.update(ServableId(name, version) for version in wish.aspired)
        known.update(ServableId(name, version) for version in _left_behind(name, records, world))
    return sorted(known)


def _first_seen(
    servable: ServableId, app: AppObservation, world: World, limits: LoadLimits, *, wanted: bool
) -> VersionRecord:
    """Adopt what a former watcher left behind: a running version is not loaded again."""
    listing = world.listings.get(servable.name)
    state = ADOPTED.get(app.condition, State.START)
    directory = listing.versions.get(servable.version) if listing is not None else None
    since_s = world.moment.steady_of(app.deployed_s) if state is State.LOADING and app.deployed_s else world.now_s
    found = VersionRecord(
        servable,
        path=directory.path if directory is not None else "",
        state=state,
        aspired=wanted,
        fingerprint=directory.fingerprint if directory is not None and state is not State.START else "",
        since_s=since_s,
    )
    return recalled(
        found,
        world.remembered.get(servable),
        world.moment,
        has_failed=app.condition is Condition.FAILED,
        longest_retry_s=max(0.0, limits.retry_interval_s),
    )


def _follow_directory(record: VersionRecord, world: World) -> VersionRecord:
    """Take the path of a version that is about to be loaded from the newest listing."""
    listing = world.listings.get(record.servable.name)
    directory = listing.versions.get(record.servable.version) if listing is not None else None
    if directory is None or record.state not in {State.START, State.END}:
        return record
    if record.state is State.START:
        return replace(record, path=directory.path, fingerprint=directory.fingerprint)
    repaired = record.failure is not None and directory.fingerprint != record.fingerprint
    if not (record.aspired and (record.failure is None or record.failure == GIVEN_UP or repaired)):
        return record
    again = replace(record, failure=None, failed_attempts=0, retry_at_s=0.0).after(Event.WANTED_AGAIN, world.now_s)
    return replace(again, path=directory.path, fingerprint=directory.fingerprint)


def _follow_app(record: VersionRecord, app: AppObservation, now_s: float, limits: LoadLimits) -> VersionRecord:
    if record.state is State.START and not record.aspired:
        return replace(record, failure=GIVEN_UP).after(Event.CANCELLED, now_s)
    if record.state is State.LOADING:
        return _follow_loading(record, app, now_s, limits)
    if record.state is State.AVAILABLE and app.condition not in {Condition.RUNNING, Condition.DEPLOYING}:
        return record.after(Event.LOST, now_s)
    if record.state is State.UNLOADING and app.condition is Condition.ABSENT:
        return record.after(Event.GONE, now_s)
    return record


def _follow_loading(record: VersionRecord, app: AppObservation, now_s: float, limits: LoadLimits) -> VersionRecord:
    if app.condition is Condition.RUNNING:
        ready = replace(record, failed_attempts=0, failure=None, load_s=max(0.0, now_s - record.since_s))
        return ready.after(Event.BECAME_READY, now_s)
    if not record.aspired:
        return replace(record, failure=GIVEN_UP).after(Event.CANCELLED, now_s)
    if app.condition is Condition.FAILED:
        return failed(record, failure_in(app.message), now_s, limits)
    if app.condition in {Condition.ABSENT, Condition.DELETING}:
        return record.after(Event.LOST, now_s)
    return record


def failed(record: VersionRecord, failure: Failure, now_s: float, limits: LoadLimits) -> VersionRecord:
    """Return the record of a loading version after an attempt that failed."""
    attempts = record.failed_attempts + 1
    record = replace(record, failed_attempts=attempts, failure=failure)
    if attempts > limits.max_retries:
        return record.after(Event.FAILED, now_s)
    retry_at_s = now_s + max(0.0, limits.retry_interval_s)
    return replace(record.after(Event.WILL_RETRY, now_s), retry_at_s=retry_at_s)


def _forget_or_keep(record: VersionRecord, world: World) -> VersionRecord | None:
    ended = record.state is State.END and not record.aspired
    if ended and world.now_s - record.since_s > ENDED_VERSIONS_KEPT_S:
        return None
    return record


def next_actions(records: Records, world: World, limits: LoadLimits) -> tuple[Load | Unload, ...]:
    """Return at most one action per servable stream; loads are limited over all streams."""
    configs = {config.name: config for config in world.models}
    streams: dict[str, list[VersionRecord]] = {name: [] for name in configs}
    for servable in sorted(records):
        streams.setdefault(servable.name, []).append(records[servable])
    room = limits.max_concurrent - sum(one.state is State.LOADING for one in records.values())
    actions: list[Load | Unload] = []
    for name, stream in streams.items():
        action = _stream_action(configs.get(name), stream, world)
        if isinstance(action, Load):
            if room <= 0:
                continue
            room -= 1
        if action is not None:
            actions.append(action)
    return tuple(actions)


def _stream_action(config: ModelConfig | None, stream: Iterable[VersionRecord], world: World) -> Load | Unload | None:
    stream = list(stream)
    if config is None:
        gone = [one.servable for one in stream if one.state is State.AVAILABLE]
        return Unload(gone[0]) if gone else None
    action = next_action(config.resources.rollout, [_snapshot(one, world) for one in stream])
    if action is None:
        return None
    record = next(one for one in stream if one.servable.version == action.version)
    return Unload(record.servable) if action.verb is RolloutVerb.UNLOAD else Load(record.servable, record.path)


def _snapshot(record: VersionRecord, world: World) -> VersionSnapshot:
    """Show a version whose next attempt must wait as loading, so that others need not wait for it."""
    waits = record.state is State.START and not _can_load(record, world)
    return VersionSnapshot(record.servable.version, State.LOADING if waits else record.state, record.aspired)


def _can_load(record: VersionRecord, world: World) -> bool:
    ended = world.apps.get(app_name(record.servable), ABSENT).condition is Condition.ABSENT
    return bool(record.path) and record.retry_at_s <= world.now_s and ended


def apply(records: Records, action: Load | Unload, now_s: float) -> dict[ServableId, VersionRecord]:
    """Return the records after an action was carried out."""
    event = Event.DEPLOYED if isinstance(action, Load) else Event.WITHDRAWN
    return {**records, action.servable: records[action.servable].after(event, now_s)}


def unneeded_apps(records: Records, world: World) -> frozenset[str]:
    """Name the version applications that no record needs: withdrawn, failed, cancelled, or of nobody's model."""
    needed = {app_name(servable) for servable, one in records.items() if one.state in {State.LOADING, State.AVAILABLE}}
    ending = {app for app, seen in world.apps.items() if seen.condition is Condition.DELETING}
    return frozenset(world.apps) - needed - ending
