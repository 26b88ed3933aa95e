"""Determines the versions that are submitted together with the router, so that they need not wait for the watcher.

The launcher runs the watcher's first ticks against a host that only collects applications: the real watcher then finds
them as if a predecessor had submitted them. Of hosted versions it collects the hosts, which the watcher then fills.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from ray import serve

from core.config.model_config import ModelResources
from core.config.server_settings import LogSettings, ServerSettings
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.storage.store_errors import StorageFailed
from core.versions.hosted import node_of_host
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.config.configured_models import ConfiguredModels
from deployments.delivery.record_files import RecordsToRead
from deployments.delivery.rollout_lines import SilentLines
from deployments.delivery.rollouts import Rollouts, RolloutTools
from deployments.delivery.state_folder import state_folder
from deployments.hosting.hosted_versions import HostedVersions
from deployments.storage.version_source import VersionSource
from deployments.system.clock import SystemClock
from deployments.versions.placing_host import PlacingHost
from deployments.versions.reconciler import Reconciler
from deployments.versions.serve_host import RayServeHost, version_target
from deployments.versions.version_hosts import alive_nodes, host_target

log = logging.getLogger(__name__)


class _Collector:
    """A host on which nothing runs yet; collects the applications to be submitted."""

    def __init__(self) -> None:
        self.targets: list[serve.RunTarget] = []

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the versions that were collected, as if they were loading."""
        del moving
        names = (one.name for one in self.targets if not node_of_host(one.name))
        return {name: AppObservation(Condition.DEPLOYING) for name in names}

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

    def hold(self, apps: Collection[str]) -> None:
        """No replica runs."""

    def cpus(self) -> int:
        """Count the CPUs of the cluster."""
        return RayServeHost().cpus()


class _CollectedHosts:
    """Hosts that do not run yet either, and answer that they have no versions."""

    def __init__(self, targets: list[serve.RunTarget], logs: LogSettings) -> None:
        self._targets = targets
        self._logs = logs

    def nodes(self) -> Mapping[str, float]:
        """Return the nodes that are alive by id, with the CPUs that Ray has of each."""
        return alive_nodes()

    def conditions(self) -> dict[str, tuple[Condition, str]]:
        """No host runs."""
        return {}

    def start(self, node: str) -> None:
        """Collect the host application of a node."""
        self._targets.append(host_target(node, self._logs))

    def stop(self, node: str) -> None:
        """Nothing is there to be deleted."""

    def ask(self, node: str, method: str, *arguments: Any) -> Future[Any]:
        """Answer at once, without versions."""
        del node, method, arguments
        answer: Future[Any] = Future()
        answer.set_result({})
        return answer


def first_loads(settings: ServerSettings) -> list[serve.RunTarget]:
    """Return the applications of the versions that the watcher would load first, as many as may load at a time.

    Which these are, the state folder says; while it is away, there are none.
    """
    collector = _Collector()
    clock = SystemClock()
    hosted = HostedVersions(_CollectedHosts(collector.targets, settings.logs), clock, lambda _: None)
    models, state_dir = ConfiguredModels(settings), settings.source.state_dir
    records = RecordsToRead(state_folder(state_dir)) if state_dir else None
    known = Rollouts(RolloutTools(records, lines=SilentLines()))
    watch = Reconciler(settings, PlacingHost(collector, hosted), VersionSource(), models, clock, rollouts=known)
    collected = -1
    while len(collector.targets) > collected:
        collected = len(collector.targets)
        try:
            watch.tick()
        except StorageFailed as error:
            log.info("first_loads_unknown error=%s", error)
            return []
    return collector.targets
