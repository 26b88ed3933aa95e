"""Determines the versions that are submitted together with the router, so that they need not wait for the watcher.

The launcher runs the watcher's first ticks against a host that only collects applications: the real watcher then finds
them as if a predecessor had submitted them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ray import serve

from core.config.model_config import ModelResources
from core.config.server_settings import ServerSettings
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.config.configured_models import ConfiguredModels
from deployments.storage.version_source import VersionSource
from deployments.system.clock import SystemClock
from deployments.versions.reconciler import Reconciler
from deployments.versions.serve_host import RayServeHost, version_target


class _Collector:
    """A host on which nothing runs yet; collects the applications to be submitted."""

    def __init__(self) -> None:
        self.targets: list[serve.RunTarget] = []

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return what was collected, as if it were loading."""
        del moving
        return {one.name: AppObservation(Condition.DEPLOYING) for one in self.targets}

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Collect the application of a version."""
        self.targets.append(version_target(spec, resources))

    def delete(self, app: str) -> None:
        """Nothing is there to be deleted."""

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """No router runs."""
        del table
        return []

    def tables(self) -> list[RoutingTable]:
        """No router runs."""
        return []

    def full_disk(self) -> str:
        """Assume that there is room: the watcher looks."""
        return ""

    def cpus(self) -> int:
        """Count the CPUs of the cluster."""
        return RayServeHost().cpus()


def first_loads(settings: ServerSettings) -> list[serve.RunTarget]:
    """Return the applications of the versions that the watcher would load first, as many as may load at a time."""
    collector = _Collector()
    watch = Reconciler(settings, collector, VersionSource(), ConfiguredModels(settings), SystemClock())
    collected = -1
    while len(collector.targets) > collected:
        collected = len(collector.targets)
        watch.tick()
    return collector.targets
