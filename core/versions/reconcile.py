"""The decisions of one tick of the watcher: records follow what was seen, actions follow from the records.

All of it is level-based: the same world gives the same answer, and carrying out an action twice changes nothing. The
walk is `observe` (records follow the world), `next_actions` (what to load and unload), `apply` and `failed` (what
became of an action), and `unneeded_apps` (which applications may go once no router calls them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from core.config.model_config import ModelConfig, Placement
from core.config.version_policy import PolicyFailed
from core.versions.history import recalled
from core.versions.lifecycle import State
from core.versions.load_report import failure_in
from core.versions.record import GIVEN_UP, Event, Failure, VersionRecord
from core.versions.rollout import ESTABLISHED, RolloutVerb, VersionSnapshot, load_rank, next_action
from core.versions.servable import ServableId, app_name
from core.versions.world import ABSENT, AppObservation, Condition, Load, LoadLimits, Records, Unload, World

ENDED_VERSIONS_KEPT_S = 3600.0
"""How long an ended version stays in GetModelStatus after it is no longer aspired."""

NONE: frozenset[int] = frozenset()

ADOPTED: Mapping[Condition, State] = MappingProxyType(
    {
        Condition.RUNNING: State.AVAILABLE,
        Condition.DEPLOYING: State.LOADING,
        Condition.DELETING: State.UNLOADING,
    }
)
"""The state of a version that a new watcher finds, by the condition of its application; all others start again."""


def observe(records: Records, world: World, limits: LoadLimits) -> dict[ServableId, VersionRecord]:
    """Let the records follow the world: new versions, what is aspired, and what became of the applications."""
    followed: dict[ServableId, VersionRecord | None] = {}
    left_behind = _left_behind(records, world)
    aspired = _aspired_by_model(records, left_behind, world)
    for servable in _all_servables(records, aspired, left_behind, world):
        record = records.get(servable)
        app = world.apps.get(servable, ABSENT)
        if record is None:
            record = _first_seen(servable, app, world, limits)
        record = replace(record, aspired=servable.version in aspired.get(servable.name, NONE))
        record = _follow_directory(record, world)
        followed[servable] = _forget_or_keep(_follow_app(record, app, world.now_s, limits), world)
    return {servable: record for servable, record in followed.items() if record is not None}


def _left_behind(records: Records, world: World) -> frozenset[ServableId]:
    """Return the versions that run or load without a record: a former watcher deployed them."""
    return frozenset(
        servable
        for servable, seen in world.apps.items()
        if servable not in records and seen.condition in {Condition.RUNNING, Condition.DEPLOYING}
    )


def _aspired_by_model(records: Records, left_behind: Iterable[ServableId], world: World) -> dict[str, frozenset[int]]:
    alive: dict[str, set[int]] = {config.name: set() for config in world.models}
    loaded = (one.servable for one in records.values() if one.state in {State.LOADING, State.AVAILABLE})
    for servable in (*left_behind, *loaded):
        alive.setdefault(servable.name, set()).add(servable.version)
    return {config.name: _aspired(config, frozenset(alive[config.name]), world) for config in world.models}


def _aspired(config: ModelConfig, alive: frozenset[int], world: World) -> frozenset[int]:
    """Return the aspired versions; while storage shows none that could be loaded, those alive stay aspired.

    They do so, too, when a policy of a package fails. The policy is not offered what a rollout avoids; what that keeps
    is aspired whatever the policy says, as long as it is on storage or alive.
    """
    storage, holding = world.storage_of(config.name), world.delivered_of(config.name).holding
    if storage.listing is None:
        return alive
    if storage.is_unsure and (before := _aspired_before(config.name, world)):
        return alive | before
    present = frozenset(storage.listing.versions)
    try:
        offered = present - holding.avoid
        aspired = config.policy.select((offered - frozenset(storage.waiting)) | (offered & alive))
        only_unfinished = not aspired and config.policy.select(offered)
    except PolicyFailed:
        return alive
    return alive if only_unfinished else aspired | (holding.keep & (present | alive))


def _aspired_before(name: str, world: World) -> frozenset[int]:
    """Return the versions that a former watcher aspired to; they count until a second look shows more."""
    known = (servable.version for servable, one in world.remembered.items() if servable.name == name and one.aspired)
    return frozenset(known)


def _all_servables(
    records: Records, aspired: Mapping[str, frozenset[int]], left_behind: Iterable[ServableId], world: World
) -> list[ServableId]:
    known = set(records) | set(world.remembered)
    known.update(ServableId(name, version) for name, versions in aspired.items() for version in versions)
    known.update(servable for servable in left_behind if servable.name in aspired)
    return sorted(known)


def _first_seen(servable: ServableId, app: AppObservation, world: World, limits: LoadLimits) -> VersionRecord:
    """Adopt what a former watcher left behind: a running version is not loaded again."""
    state = ADOPTED.get(app.condition, State.START)
    directory = world.directory_of(servable)
    since_s = world.moment.steady_of(app.deployed_s) if state is State.LOADING and app.deployed_s else world.now_s
    found = VersionRecord(
        servable,
        path=directory.path if directory is not None else "",
        state=state,
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
    """Take the path of a version that is about to be loaded from the newest listing.

    One that has failed is loaded again when its files have changed, or when somebody retries its rollout.
    """
    directory = world.directory_of(record.servable)
    if directory is None or record.state not in {State.START, State.END}:
        return record
    if record.state is State.START:
        return replace(record, path=directory.path, fingerprint=directory.fingerprint)
    repaired = record.failure is not None and directory.fingerprint != record.fingerprint
    retried = record.servable.version in world.delivered_of(record.servable.name).holding.again
    if not (record.aspired and (record.failure is None or record.failure == GIVEN_UP or repaired or retried)):
        return record
    again = replace(record, failure=None, failed_attempts=0, retry_at_s=0.0).after(Event.ASPIRED_AGAIN, world.now_s)
    return replace(again, path=directory.path, fingerprint=directory.fingerprint)


def _follow_app(record: VersionRecord, app: AppObservation, now_s: float, limits: LoadLimits) -> VersionRecord:
    if record.state is State.START and not record.aspired:
        return replace(record, failure=GIVEN_UP).after(Event.CANCELLED, now_s)
    if record.state is State.START and app.host and app.condition in {Condition.RUNNING, Condition.DEPLOYING}:
        return record.after(Event.DEPLOYED, now_s)  # a host that answered late has it: it is not loaded twice
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
    """Return the record of a loading version after an attempt that failed.

    A permanent failure is not tried again, and one for want of space again and again: it is not the version's.
    """
    attempts = record.failed_attempts + 1
    record = replace(record, failed_attempts=attempts, failure=failure)
    if (attempts > limits.max_retries and not failure.is_about_space) or failure.is_permanent:
        return record.after(Event.FAILED, now_s)
    retry_at_s = now_s + max(0.0, limits.retry_interval_s)
    return replace(record.after(Event.WILL_RETRY, now_s), retry_at_s=retry_at_s)


def _forget_or_keep(record: VersionRecord, world: World) -> VersionRecord | None:
    ended = record.state is State.END and not record.aspired
    if ended and world.now_s - record.since_s > ENDED_VERSIONS_KEPT_S:
        return None
    return record


def next_actions(records: Records, world: World, limits: LoadLimits) -> tuple[Load | Unload, ...]:
    """Return at most one action per servable stream; loads are limited over all streams.

    A version that a host loads takes no room: it waits there for its turn, and the host loads as many as it has CPUs.
    Nor does it need any to be handed to its host, if its model says `hosted`; whether another one is light is looked at
    when it has room. Where not all have room, the models come first of which no version answers or loads.
    """
    configs = {config.name: config for config in world.models}
    streams: dict[str, list[VersionRecord]] = {name: [] for name in configs}
    for servable in sorted(records):
        streams.setdefault(servable.name, []).append(records[servable])
    loading = (one.servable for one in records.values() if one.state is State.LOADING)
    room = limits.max_concurrent - sum(not world.apps.get(one, ABSENT).host for one in loading)
    found = [_stream_action(configs.get(name), stream, world) for name, stream in streams.items()]
    served = {one.servable.name for one in records.values() if one.state in {State.LOADING, State.AVAILABLE}}
    loads = sorted((one for one in found if isinstance(one, Load)), key=lambda one: one.servable.name in served)
    hosted = {one for one in loads if configs[one.servable.name].resources.placement is Placement.HOSTED}
    chosen = hosted.union([one for one in loads if one not in hosted][: max(0, room)])
    return tuple(one for one in found if isinstance(one, Unload) or one in chosen)


def _stream_action(config: ModelConfig | None, stream: Iterable[VersionRecord], world: World) -> Load | Unload | None:
    stream = list(stream)
    if config is None:
        gone = [one.servable for one in stream if one.state is State.AVAILABLE]
        return Unload(gone[0]) if gone else None
    aspired = [one.servable.version for one in stream if one.aspired]
    labels = _ranking_labels(config, world)
    ranks = {version: load_rank(version, labels, aspired) for version in aspired}
    action = next_action(config.resources.rollout, [_snapshot(one, world, ranks) for one in stream])
    if action is None:
        return None
    record = next(one for one in stream if one.servable.version == action.version)
    return Unload(record.servable) if action.verb is RolloutVerb.UNLOAD else Load(record.servable, record.path)


def _ranking_labels(config: ModelConfig, world: World) -> Mapping[str, int]:
    """Return the labels by which versions are loaded in order: what a rollout calls stable has most of the traffic."""
    record = world.delivered_of(config.name).record
    return {**config.labels, **record.labels, ESTABLISHED: record.stable} if record.stable else config.labels


def _snapshot(record: VersionRecord, world: World, ranks: Mapping[int, int]) -> VersionSnapshot:
    """Show a version whose next attempt must wait as loading, so that others need not wait for it."""
    waits = record.state is State.START and not _can_load(record, world)
    version = record.servable.version
    return VersionSnapshot(version, State.LOADING if waits else record.state, record.aspired, ranks.get(version, 0))


def _can_load(record: VersionRecord, world: World) -> bool:
    ended = world.apps.get(record.servable, ABSENT).condition is Condition.ABSENT
    return bool(record.path) and record.retry_at_s <= world.now_s and ended


def apply(records: Records, action: Load | Unload, now_s: float) -> dict[ServableId, VersionRecord]:
    """Return the records after an action was carried out."""
    event = Event.DEPLOYED if isinstance(action, Load) else Event.WITHDRAWN
    return {**records, action.servable: records[action.servable].after(event, now_s)}


def unneeded_apps(records: Records, world: World) -> frozenset[str]:
    """Return the applications that no record needs: withdrawn, failed, cancelled, or of nobody's model."""
    needed = {servable for servable, one in records.items() if one.state in {State.LOADING, State.AVAILABLE}}
    unneeded = {app_name(one) for one, seen in world.apps.items() if one not in needed and not _is_ending(seen)}
    return frozenset(unneeded) | {app for app, seen in world.strays.items() if not _is_ending(seen)}


def _is_ending(app: AppObservation) -> bool:
    return app.condition is Condition.DELETING
