"""The watcher's access to Serve; collects the last metrics of an application before deleting it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from ray.serve.handle import DeploymentHandle

from core.config.model_config import ModelResources
from core.errors import Unavailable
from core.versions.servable import DEPLOYMENT
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.telemetry.collector import Collector
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief
from deployments.versions.serve_host import RayServeHost

log = logging.getLogger(__name__)

LAST_REPORT_TIMEOUT_S = 2.0
ROUTERS_TIMEOUT_S = 0.4
"""How long a page waits for the metrics of other routers; after that it shows those of some seconds ago."""


class CollectingHost(RayServeHost):
    """Gives the collector the reports that no router brings to it."""

    def __init__(self, collector: Collector, load_begins: Callable[[], None]) -> None:
        super().__init__()
        self._collector = collector
        self._load_begins = load_begins
        self._running: frozenset[str] = frozenset()

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the version applications by name: those in `moving` as they are now, or all of them for None."""
        apps = super().observe(moving)
        self._running = frozenset(app for app, one in apps.items() if one.condition is Condition.RUNNING)
        return apps

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Submit the application of a version and return at once."""
        self._load_begins()
        super().deploy(spec, resources)

    def delete(self, app: str) -> None:
        """Delete an application and return at once; a running one is asked for its metrics before."""
        if app in self._running:
            self._collector.take(self._loop.run(self._last_reports(app)).result())
        super().delete(app)

    async def _last_reports(self, app: str) -> list[bytes]:
        handle: DeploymentHandle = DeploymentHandle(DEPLOYMENT, app)
        try:
            reports: list[bytes] = await asyncio.wait_for(
                handle.broadcast("metrics").results_async(), LAST_REPORT_TIMEOUT_S
            )
        except SERVE_FAILURES as error:
            log.info("last_metrics_missed app=%s error=%r", app, brief(error))
            return []
        finally:
            await handle.shutdown_async()
        return reports

    def adopt(self) -> None:
        """Let the collector continue from the copies that routers keep, once; retried until they answer."""
        if self._collector.is_ready:
            return
        try:
            copies: list[bytes | None] = self._ask_routers("kept_metrics")
        except Unavailable as error:
            log.info("metrics_not_adopted error=%s", error)
            return
        self._collector.adopt([copy for copy in copies if copy is not None])

    async def router_reports(self) -> list[bytes]:
        """Return the present metrics of all routers, or nothing if one of them does not answer in time."""
        asked = self._loop.run(self._broadcast("metrics"))
        try:
            reports: list[bytes] = await asyncio.wait_for(asyncio.wrap_future(asked), ROUTERS_TIMEOUT_S)
        except SERVE_FAILURES as error:
            log.info("router_metrics_missed error=%r", brief(error))
            return []
        return reports
