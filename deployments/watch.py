"""The watcher's tick: list, decide, act, publish. Blocking and single-threaded; the Watcher deployment calls it.

Nothing that is kept here is lost with the process: records are rebuilt from Serve's status, listings from storage,
the generation from what routers say. A tick that is cut short at any point is completed by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Protocol

from core.config import BatchingParameters, ModelConfig
from core.config_text import model_configs, models_from_message, to_text
from core.errors import Code, ConfigError, Problem, ServingError
from core.lifecycle import State
from core.protos import model_config_pb2
from core.reconcile import (
    Load,
    LoadLimits,
    RouterReport,
    Unload,
    World,
    apply,
    deletable,
    failed,
    next_actions,
    observe,
    routing_table,
    unneeded_apps,
)
from core.routing import RoutingTable
from core.servable import ServableId, app_name
from core.server_settings import ServerSettings
from core.source import Source
from core.version_record import Failure, VersionRecord
from deployments.listings import NEVER, Listings
from deployments.model_server import ServableSpec
from deployments.rollout_log import RolloutLog
from deployments.serve_host import ServeHost

log = logging.getLogger(__name__)

BUSY_TICK_S = 0.1
"""Pause between ticks while something is being loaded or unloaded."""

ROUTER_FORGOTTEN_AFTER_S = 15.0
"""A router that has not pulled for so long, and answers no broadcast, is gone."""


class ModelList(Protocol):
    """Where the configured models come from."""

    def models(self) -> tuple[ModelConfig, ...]:
        """Read the configuration anew; raises ConfigError with all mistakes."""

    def joined(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Add what the YAML file says to models that a reload request lists."""

    def batching(self) -> BatchingParameters | None:
        """Read the parameters for all models; None without batching, or with parameters beside each version."""

    def session_config(self) -> bytes:
        """Give the serialized session options of every model server."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a router said when it last pulled the table."""

    report: RouterReport
    at_s: float


class Watch:
    """All that the watcher knows, and the tick that changes it."""

    def __init__(
        self,
        settings: ServerSettings,
        host: ServeHost,
        source: Source,
        model_list: ModelList,
        now_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._host = host
        self._model_list = model_list
        self._now_s = now_s
        self._models: tuple[ModelConfig, ...] | None = None
        self._listed: tuple[ModelConfig, ...] | None = None
        self._config_due_s = 0.0
        self._listings = Listings(source, settings.polling.file_system_poll_wait_s)
        self._records: dict[ServableId, VersionRecord] = {}
        self._pulls: dict[str, Pulled] = {}
        self._adopted = False
        self._steps = RolloutLog()
        self._reloads: SimpleQueue[tuple[ModelConfig, ...]] = SimpleQueue()
        self._config_text = ""
        self.table = RoutingTable(generation=0)
        self.config_problems: tuple[Problem, ...] = ()

    def tick(self) -> float:
        """Look at the world once and take the next steps; gives the seconds until the next tick is worth it."""
        now_s = self._now_s()
        self._adopt_table()
        self._read_config(now_s)
        self._take_reloads()
        if self._models is None:
            return self._idle_s(now_s)
        self._listings.refresh(self._models, now_s)
        world = self._look(self._models, now_s)
        records = observe(self._records, world, self._limits)
        self._steps.follow(records)
        self._records = records
        for action in next_actions(records, world, self._limits):
            self._perform(action, now_s)
        self._steps.follow(self._records)
        self._publish(world)
        busy = self._delete_unneeded(world)
        return BUSY_TICK_S if busy or self._is_moving() else self._idle_s(now_s)

    def _look(self, models: tuple[ModelConfig, ...], now_s: float) -> World:
        seen = self._listings
        return World(now_s, models, seen.by_model, seen.waiting, frozenset(seen.unsure), self._host.observe())

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
        for table in self._host.tables():
            if table.generation > self.table.generation:
                self.table = table
        self._config_text = self.table.config_text
        if self._config_text:
            self._models = self._model_list.joined(model_configs(self._config_text))
        self._adopted = True

    def _read_config(self, now_s: float) -> None:
        """Read the list of models when it is due; a broken one changes nothing, nor does one that is as it was.

        So what a reload request brought stays until somebody changes the file.
        """
        if self._models is not None and now_s < self._config_due_s:
            return
        self._config_due_s = self._next_config_s(now_s)
        try:
            listed = self._model_list.models()
        except ConfigError as error:
            if error.problems != self.config_problems:
                log.warning("config_refused problems=%s", str(error))
            self.config_problems = error.problems
            return
        self.config_problems = ()
        if self._models is None or (listed != self._listed and self._listed is not None):
            self._models = listed
            self._config_text = ""
        self._listed = listed

    def _next_config_s(self, now_s: float) -> float:
        poll_s = self._settings.source.model_config_file_poll_wait_s
        return now_s + poll_s if poll_s > 0 else NEVER

    def request_reload(self, config: model_config_pb2.ModelServerConfig) -> frozenset[str]:
        """Check a new list of models and let the next tick take it; gives the names that it adds.

        Called from another thread than the ticks'. Raises ConfigError with all mistakes; then nothing changes.
        """
        models = self._model_list.joined(
            models_from_message(config, relative_path_root=self._settings.source.relative_path_root)
        )
        self._reloads.put(models)
        return frozenset(one.name for one in models) - {one.name for one in self._models or ()}

    def _take_reloads(self) -> None:
        while not self._reloads.empty():
            self._models = self._reloads.get()
            self._config_text = to_text(self._models)

    def _perform(self, action: Load | Unload, now_s: float) -> None:
        """Carry out an action; when Serve does not answer, it is known by the next look whether it was carried out."""
        self._records = apply(self._records, action, now_s)
        if isinstance(action, Load):
            self._deploy(action, now_s)

    def _deploy(self, action: Load, now_s: float) -> None:
        """Submit a version; one that is refused is a version that failed, and no matter of the others."""
        try:
            self._host.deploy(self._spec(action), self._config_of(action.servable).resources)
        except (ConfigError, TypeError, ValueError) as error:
            record = self._records[action.servable]
            failure = Failure(Code.INVALID_ARGUMENT, f"The deployment was refused: {error}")
            self._records = {**self._records, action.servable: failed(record, failure, now_s, self._limits)}

    def _spec(self, action: Load) -> ServableSpec:
        config = self._config_of(action.servable)
        return ServableSpec(
            action.servable,
            action.path,
            self._settings,
            config,
            config.batching or self._model_list.batching(),
            self._model_list.session_config(),
        )

    def _config_of(self, servable: ServableId) -> ModelConfig:
        return next(config for config in self._models or () if config.name == servable.name)

    def _publish(self, world: World) -> None:
        """Give routers a new generation when anything they could notice has changed, or one of them is ahead of us."""
        before = replace(self.table, config_text=self._config_text)
        table = routing_table(self._records, world, self._listings.problems, before)
        pulled = max((one.report.generation for one in tuple(self._pulls.values())), default=0)
        if table == self.table and pulled <= table.generation:
            return
        self.table = replace(table, generation=max(table.generation, pulled) + 1)
        self._confirm()

    def _confirm(self) -> list[RouterReport] | None:
        """Broadcast the table; None when some router did not answer. A router ahead of us makes us go past it."""
        try:
            reports = self._with_pulls(self._host.publish(self.table))
        except ServingError as error:
            log.warning("table_not_confirmed generation=%d error=%s", self.table.generation, error)
            return None
        ahead = max((report.generation for report in reports), default=0)
        if ahead > self.table.generation:
            self.table = replace(self.table, generation=ahead + 1)
            return self._confirm()
        return reports

    def _with_pulls(self, reports: Iterable[RouterReport]) -> list[RouterReport]:
        """Add routers that pulled lately but do not take broadcasts yet, because they are still starting."""
        answered = {report.router: report for report in reports}
        now_s = self._now_s()
        for router, pulled in tuple(self._pulls.items()):
            if now_s - pulled.at_s > ROUTER_FORGOTTEN_AFTER_S:
                del self._pulls[router]
            else:
                answered.setdefault(router, pulled.report)
        return list(answered.values())

    def pulled(self, report: RouterReport) -> RoutingTable:
        """Give the table to a router that asks for it, and remember what it uses."""
        self._pulls[report.router] = Pulled(report, self._now_s())
        return self.table

    def _delete_unneeded(self, world: World) -> bool:
        """Delete applications that no router can call any more; tells whether some are still waited for."""
        unneeded = unneeded_apps(self._records, world)
        if not unneeded:
            return False
        reports = self._confirm()
        free = self._overdue(unneeded, world.now_s)
        if reports is not None:
            free |= deletable(unneeded, reports, self.table.generation)
        for app in sorted(free):
            log.info("version_deleted app=%s", app)
            self._host.delete(app)
        return True

    def _overdue(self, apps: frozenset[str], now_s: float) -> frozenset[str]:
        """Name applications whose drain time is up: they end although someone may still be waiting."""
        late = {
            app_name(servable)
            for servable, one in self._records.items()
            if one.state is State.UNLOADING and now_s - one.since_s > self._drain_timeout_s(servable)
        }
        return apps & late

    def _drain_timeout_s(self, servable: ServableId) -> float:
        for config in self._models or ():
            if config.name == servable.name:
                return config.resources.drain_timeout_s
        return self._settings.front_door.drain_timeout_s

    def _is_moving(self) -> bool:
        moving = {State.LOADING, State.UNLOADING}
        return any(
            one.state in moving or (one.state is State.START and one.aspired and not one.failed_attempts)
            for one in self._records.values()
        )

    def _idle_s(self, now_s: float) -> float:
        """Sleep until storage, the configuration or a retry is due, but look at Serve at least once a second."""
        due = [self._listings.due_s, self._config_due_s, now_s + 1.0]
        due += [one.retry_at_s for one in self._records.values() if one.state is State.START and one.aspired]
        return max(BUSY_TICK_S, min(due) - now_s)
