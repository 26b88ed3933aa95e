"""The watcher's tick: list, decide, act, publish. Blocking and single-threaded; the Watcher deployment calls it.

The state kept here can be rebuilt after a restart: records are rebuilt from Serve's status, listings from storage,
generation, list of models and failed attempts from the tables of the routers. A tick that is cut short at any point is
completed by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from core.config.model_config import ModelConfig, ModelResources
from core.config.server_settings import ServerSettings
from core.config.session_options import with_gpu_share
from core.errors import Code, ConfigError
from core.routing.deletion import deletable
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.routing.table_of_records import routing_table
from core.storage.version_listing import Source
from core.versions.lifecycle import State
from core.versions.reconcile import apply, failed, next_actions, observe, unneeded_apps
from core.versions.record import Failure, VersionRecord
from core.versions.servable import ServableId, app_name, servables_of
from core.versions.servable_spec import ServableSpec
from core.versions.standstill import Seen, Standstill, due_s, moving_apps
from core.versions.world import UNDIVIDED, AppObservation, Load, LoadLimits, Unload, World
from deployments.config.models_in_force import Configuration, InForce, ModelList
from deployments.delivery.held_replicas import resources_of
from deployments.delivery.model_sights import TickLook
from deployments.delivery.rollouts import Rollouts
from deployments.system.clock import Clock
from deployments.versions.disk_watch import DiskWatch
from deployments.versions.listings import Events, Listings
from deployments.versions.published_table import PublishedTable
from deployments.versions.rollout_log import RolloutLog
from deployments.versions.serve_host import ServeHost

log = logging.getLogger(__name__)

BUSY_TICK_S = 0.1
"""Pause between ticks while something is being loaded or unloaded."""

MOST_TABLES_A_TICK = 4
"""Each confirmed table may lead to one that shows more; no version needs more than two of them."""

FIRST_DELETE_AFTER_S = 6.0
"""A new watcher deletes no application with a route before every router, also a starting one, could pull once."""


class Reconciler:
    """The state of the watcher, and the tick that advances it."""

    def __init__(
        self,
        settings: ServerSettings,
        host: ServeHost,
        source: Source,
        model_list: ModelList,
        clock: Clock,
        *,
        events: Events | None = None,
        rollouts: Rollouts | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._model_list = model_list
        self._clock = clock
        self._listings = Listings(source, settings.polling, events=events)
        self._records: dict[ServableId, VersionRecord] = {}
        self._apps: Mapping[str, AppObservation] | None = None  # as seen last; None before the first look
        self._busy = False
        self._standstill: Standstill | None = None
        self.rollouts = rollouts or Rollouts()
        self._published = PublishedTable(host, clock, self.rollouts.windows.take)
        self._adopted = False
        self._steps = RolloutLog()
        self._models: tuple[ModelConfig, ...] = ()
        self._first_delete_s = clock.steady_s() + FIRST_DELETE_AFTER_S
        self._routed: set[str] = set()
        self._unrouted: set[str] = set()
        self._disk = DiskWatch(host.full_disk)
        self.configuration = Configuration(settings.source, model_list)
        self.published_number = 0  # that of the list of models which this table holds
        self.replicas: Mapping[str, int] = {}  # those that run, by application

    @property
    def table(self) -> RoutingTable:
        """The newest table, which every router is sent."""
        return self._published.newest

    @property
    def confirmed(self) -> RoutingTable:
        """The newest table that every router used at one moment."""
        return self._published.confirmed

    def pulled(self, report: RouterReport) -> RoutingTable:
        """Return the table to a router that asks for it, and remember what it uses."""
        return self._published.pulled(report)

    def tick(self) -> float:
        """Observe the world once and take the next steps; returns the seconds until the next tick is due."""
        now_s = self._clock.steady_s()
        self._adopt_table()
        self.configuration.poll(now_s, self.table)
        in_force = self.configuration.in_force()
        if in_force is None:
            self._publish_problems()
            return self._idle_s(now_s)
        self._models = in_force.models
        self._listings.refresh(self._models, now_s, self._clock.wall_s())
        seen = self._look(in_force)
        is_confirmed = self._published.is_confirmed()
        if not (is_confirmed and self._standstill is not None and self._standstill.holds(seen, now_s)):
            self._standstill = None
            has_changed = self._advance(seen, in_force, now_s)
            if is_confirmed and not has_changed:
                self._standstill = Standstill(seen, due_s(self._records, now_s))
        return self._pause_s(now_s)

    def _look(self, in_force: InForce) -> Seen:
        moving = moving_apps(self._records, self._apps) if self._apps is not None else None
        self._apps = apps = self._disk.look(self._host.observe(moving))
        self.replicas = {app: one.replicas for app, one in apps.items()}
        self.rollouts.follow(self._tick_look(apps))
        held = self.rollouts.held(self._models, self._clock.steady_s())
        if held is not None:
            self._host.hold(held)
        return Seen(
            (in_force, self.configuration.published(in_force), self.rollouts.delivered),
            dict(self._listings.by_model),
            apps,
            self._published.failing(),
            self._published.routers(),
        )

    def _tick_look(self, apps: Mapping[str, AppObservation]) -> TickLook:
        in_force = self.table if self._published.is_confirmed() else self.confirmed
        now_s, wall_s = self._clock.steady_s(), self._clock.wall_s()
        return TickLook(self._models, self._listings.by_model, apps, self._records, self.table, in_force, now_s, wall_s)

    def _advance(self, seen: Seen, in_force: InForce, now_s: float) -> bool:
        """Decide and act on what was seen; returns whether anything has changed, or is to be done again."""
        world = self._world(seen, now_s)
        records, table = self._records, self.table
        self._records = observe(records, world, self._limits)
        self._steps.follow(self._records)
        for action in next_actions(self._records, world, self._limits):
            self._perform(action, now_s)
        self._steps.follow(self._records)
        self._publish(world, in_force)
        self._busy = self._delete_unneeded(world)
        return self._busy or self.table is not table or self._records != records

    def _world(self, seen: Seen, now_s: float) -> World:
        if not self._records:
            self._routed.update(seen.apps)
        names = {config.name for config in self._models} | {one.name for one in self._records}
        servables = servables_of(seen.apps, names | self.table.models.keys())
        return World(
            now_s,
            self._models,
            seen.storage,
            {servable: seen.apps[app] for app, servable in servables.items()},
            {app: one for app, one in seen.apps.items() if app not in servables},
            self.table.histories,
            self._clock.wall_s(),
            {servables[app]: one for app, one in seen.failing.items() if app in servables},
            self.rollouts.delivered,
        )

    @property
    def _limits(self) -> LoadLimits:
        loading = self._settings.loading
        return LoadLimits(
            max_retries=loading.max_num_load_retries,
            retry_interval_s=loading.load_retry_interval_s,
            max_concurrent=loading.num_load_threads or self._host.cpus(),
        )

    def _adopt_table(self) -> None:
        """Begin with the newest table that a router holds, so that generations rise over restarts of the watcher."""
        if self._adopted:
            return
        self._published.adopt(self._host.tables(), self._first_delete_s)
        self._routed.update(self.table.apps)
        self.configuration.adopt(self.table.in_force)
        self.rollouts.adopt(self.table, self._clock.steady_s())
        self._steps.adopt(self.table)
        self._adopted = True

    def _perform(self, action: Load | Unload, now_s: float) -> None:
        """Carry out an action; when Serve does not answer, the next tick observes whether it was carried out."""
        self._records = apply(self._records, action, now_s)
        if isinstance(action, Load):
            self._deploy(action, now_s)

    def _deploy(self, action: Load, now_s: float) -> None:
        """Submit a version; one that Serve refuses has failed, and does not affect the others."""
        app = app_name(action.servable)
        if self._disk.problem:
            self._fail(action.servable, Failure(Code.RESOURCE_EXHAUSTED, self._disk.problem), now_s)
            return
        if app not in self._routed:
            self._unrouted.add(app)
        try:
            self._host.deploy(self._spec(action), self._resources_of(action.servable))
        except (ConfigError, TypeError, ValueError) as error:
            failure = Failure(Code.INVALID_ARGUMENT, f"The deployment was refused: {error}")
            self._fail(action.servable, failure, now_s)

    def _fail(self, servable: ServableId, failure: Failure, now_s: float) -> None:
        record = failed(self._records[servable], failure, now_s, self._limits)
        self._records = {**self._records, servable: record}

    def _spec(self, action: Load) -> ServableSpec:
        config = self._config_of(action.servable)
        session_config = with_gpu_share(self._model_list.session_config(), config.resources.num_gpus)
        return ServableSpec(
            action.servable,
            action.path,
            self._settings,
            config,
            config.batching or self._model_list.batching(),
            session_config,
            self._records[action.servable].fingerprint,
        )

    def _resources_of(self, servable: ServableId) -> ModelResources:
        delivered = self.rollouts.delivered.get(servable.name, UNDIVIDED)
        return resources_of(self._config_of(servable), servable.version, delivered)

    def _config_of(self, servable: ServableId) -> ModelConfig:
        return next(config for config in self._models if config.name == servable.name)

    def _publish(self, world: World, in_force: InForce) -> None:
        """Publish a new generation when the table has changed, or when a router is ahead.

        What every router has confirmed may change what is shown of it, which is another table.
        """
        self._published.broadcast_again()
        for _ in range(MOST_TABLES_A_TICK):
            table = replace(
                routing_table(self._records, world, self.table, is_confirmed=self._published.is_confirmed()),
                in_force=self.configuration.published(in_force),
                started_s=self.table.started_s or world.wall_s,
                routers=self._published.routers(),
            )
            self._routed |= table.apps
            self._unrouted -= table.apps
            if not self._published.put(table):
                break
        if self._published.is_confirmed():
            self._published.note_confirmed()
            self._steps.follow_labels(self.confirmed)
            self.published_number = in_force.number

    def _publish_problems(self) -> None:
        """Show why the files could not be read after a restart; what a former watcher published stays."""
        in_force = replace(self.table.in_force, problems=self.configuration.problems)
        if self.table.generation and in_force != self.table.in_force:
            self._published.put(replace(self.table, in_force=in_force))

    def _delete_unneeded(self, world: World) -> bool:
        """Delete applications that no router can call any more; returns whether any were unneeded."""
        unneeded = unneeded_apps(self._records, world) - self.table.apps
        if not unneeded:
            return False
        never_routed = unneeded & self._unrouted
        for app in sorted(never_routed | self._released(unneeded - never_routed, world)):
            log.info("version_deleted app=%s", app)
            self._host.delete(app)
            self._unrouted.discard(app)
        return True

    def _released(self, apps: frozenset[str], world: World) -> frozenset[str]:
        """Return those that no router uses any more, or whose drain time is up."""
        if not apps or world.now_s < self._first_delete_s:
            return frozenset()
        reports = self._published.confirm()
        confirmed = deletable(apps, reports, self.table.generation) if reports is not None else frozenset()
        self._routed -= confirmed
        return confirmed | self._overdue(apps, world.now_s)

    def _overdue(self, apps: frozenset[str], now_s: float) -> frozenset[str]:
        """Return applications whose drain time is up: they end although calls may still be in flight."""
        late = {
            app_name(servable)
            for servable, one in self._records.items()
            if one.state is State.UNLOADING and now_s - one.since_s > self._drain_timeout_s(servable)
        }
        return apps & late

    def _drain_timeout_s(self, servable: ServableId) -> float:
        for config in self._models:
            if config.name == servable.name:
                return config.resources.drain_timeout_s
        return self._settings.front_door.drain_timeout_s

    def _pause_s(self, now_s: float) -> float:
        is_settled = not self._busy and not self._is_moving() and self._published.is_confirmed()
        return self._idle_s(now_s) if is_settled else BUSY_TICK_S

    def _is_moving(self) -> bool:
        moving = {State.LOADING, State.UNLOADING}
        return any(
            one.state in moving or (one.state is State.START and one.aspired and not one.failed_attempts)
            for one in self._records.values()
        )

    def _idle_s(self, now_s: float) -> float:
        """Return the seconds until storage, the configuration or a retry is due; at most one, to observe Serve."""
        due = [self._listings.due_s, self.configuration.due_s, now_s + 1.0]
        due += [one.retry_at_s for one in self._records.values() if one.state is State.START and one.aspired]
        return max(BUSY_TICK_S, min(due) - now_s)
