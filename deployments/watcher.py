"""The Watcher deployment, with exactly one replica: runs the ticks, and answers routers that pull the table."""

from __future__ import annotations

import asyncio
import threading
import time

from core.admin.status_document import WatcherReport
from core.config.server_settings import ServerSettings
from core.errors import ServingError
from core.exposition.scrape import Scrape
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.telemetry.metric_ledger import Collected, Stamp
from deployments.config.configured_models import ConfiguredModels, followed_files
from deployments.delivery.rollouts import Rollouts, rollout_tools
from deployments.exposition.sums_collector import Exposition, exposition
from deployments.hosting.hosted_versions import HostedVersions
from deployments.storage.folder_events import FolderEvents
from deployments.storage.version_source import VersionSource
from deployments.system.clock import SystemClock
from deployments.telemetry.collector import Collector
from deployments.telemetry.process_logs import audit_into, session_logs
from deployments.telemetry.process_logs import configure as configure_logs
from deployments.telemetry.ray_metrics import RayMetrics
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog
from deployments.telemetry.serve_failures import SERVE_FAILURES
from deployments.versions.collecting_host import CollectingHost
from deployments.versions.config_requests import ConfigRequests
from deployments.versions.placing_host import PlacingHost
from deployments.versions.reconciler import Reconciler
from deployments.versions.rollout_requests import RolloutRequests
from deployments.versions.serve_host import NoRouters
from deployments.versions.version_counts import VersionCounts
from deployments.versions.version_hosts import ServeVersionHosts
from deployments.workers.spare_workers import SpareWorkers

STUCK_AFTER_S = 120.0
PAUSE_AFTER_ERROR_S = 1.0
ROUTERS_START_WITHIN_S = 60.0
"""So long after its own start, it is not a failure that there are no routers: Serve starts the watcher first."""

ROUTERS_AWAITED_EVERY_S = 0.1


class Watcher:
    """The shell around `Reconciler`: one thread runs the ticks, the event loop answers calls."""

    def __init__(self, settings: ServerSettings) -> None:
        configure_logs(settings.logs, "watcher")
        audit_into(session_logs(), settings.logs)
        self._collector = Collector()
        self._writing = asyncio.Lock()
        self._spares = SpareWorkers(settings.cluster.prestarted_workers, SystemClock())
        self._host = CollectingHost(self._collector, self._spares.load_begins)
        self._counts = VersionCounts()
        models = ConfiguredModels(settings, followed_files(settings))
        self._wake = threading.Event()
        self._events = FolderEvents(self._wake.set)
        clock = SystemClock()
        hosted = HostedVersions(ServeVersionHosts(settings.logs), clock, self._collector.take)
        host = PlacingHost(self._host, hosted)
        rollouts = Rollouts(rollout_tools(settings.source.state_dir))
        self._watch = Reconciler(settings, host, VersionSource(), models, clock, events=self._events, rollouts=rollouts)
        self._began_s = self._ticked_s = time.monotonic()
        self._failures = RepeatedFailureLog("tick_failed", "ticks_work_again")
        self._stopping = threading.Event()
        self._crash: BaseException | None = None
        self._orders = RolloutRequests(self._watch, self._wake.set)
        self._requests = ConfigRequests(self._watch, self._wake.set, self._orders)
        self._host.follow(self._wake.set)
        self._ticker = threading.Thread(target=self._run, name="ticks", daemon=True)
        self._ticker.start()
        self._spares.start()
        RayMetrics().start()

    def _run(self) -> None:
        try:
            pause_s = 0.0
            while not self._stopping.is_set():
                self._wake.wait(pause_s)
                self._wake.clear()
                pause_s = self._tick()
                self._ticked_s = time.monotonic()
        except BaseException as error:
            self._crash = error
            raise

    def _tick(self) -> float:
        """Run one tick; failures of Serve or storage are retried by the next."""
        self._host.adopt()
        try:
            pause_s = self._watch.tick()
        except NoRouters as error:
            if time.monotonic() - self._began_s < ROUTERS_START_WITHIN_S:
                return ROUTERS_AWAITED_EVERY_S
            self._failures.failed(time.monotonic(), error)
            return PAUSE_AFTER_ERROR_S
        except (*SERVE_FAILURES, ServingError, OSError) as error:
            self._failures.failed(time.monotonic(), error)
            return PAUSE_AFTER_ERROR_S
        else:
            self._failures.went_well(time.monotonic())
            return pause_s
        finally:
            self._counts.follow(self._watch.table)

    async def table(self, report: RouterReport) -> RoutingTable:
        """Return the present table to a router."""
        return self._watch.pulled(report)

    async def collect(self, router: str, reports: list[bytes], have: Stamp, *, with_page: bool) -> Collected | None:
        """Add the metrics that a router brings, and return the sums over the whole cluster."""
        self._collector.take(reports)
        if self._collector.has_others(router) and with_page:
            self._collector.take(await self._host.router_reports())
        return self._collector.collected(have, with_page=with_page)

    async def expose(self, sums: bytes, scrape: Scrape) -> Exposition:
        """Write sums, which `collect` has just returned, in the format that a scrape asks for."""
        async with self._writing:
            return await asyncio.to_thread(exposition, sums, scrape, 0.0)

    async def reload(self, raw: bytes, by: str) -> bytes | ServingError:
        """Apply a HandleReloadConfigRequest."""
        return await self._requests.reload(raw, by)

    async def get_config(self, raw: bytes, by: str) -> bytes | ServingError:
        """Return the list of models in force."""
        del by
        return await self._requests.get(raw)

    async def change_config(self, raw: bytes, by: str) -> bytes | ServingError:
        """Put another list of models in force."""
        return await self._requests.change(raw, by)

    async def change_rollout(self, raw: bytes, by: str) -> bytes | ServingError:
        """Carry out an order to a model's rollout."""
        return await self._orders.change(raw, by)

    async def report(self) -> WatcherReport:
        """Return the parts of the status that change from second to second."""
        now_s = time.monotonic()
        divided = self._watch.rollouts.divided(now_s)
        return WatcherReport(self._watch.replicas, now_s - self._ticked_s, self._collector.traffic(), divided)

    async def check_health(self) -> None:
        """Raise when the ticks have ended or one hangs; Serve then replaces this replica."""
        if self._crash is not None:
            raise RuntimeError(f"The watcher failed: {self._crash!r}")
        stuck_s = time.monotonic() - self._ticked_s
        if stuck_s > STUCK_AFTER_S:
            raise RuntimeError(f"The last tick of the watcher was {stuck_s:.0f} s ago.")
        await asyncio.sleep(0)

    def __del__(self) -> None:
        stopping = getattr(self, "_stopping", None)
        if stopping is not None:
            stopping.set()
            self._wake.set()
            self._events.close()
            self._spares.stop()
