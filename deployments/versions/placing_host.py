"""Serve as the watcher uses it, with hosted versions among those that have an application of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from core.config.model_config import ModelResources
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.storage.version_listing import local_path
from core.versions.hosted import is_hosted
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation
from deployments.hosting.hosted_versions import HostedVersions
from deployments.runtime.signature_file import is_light_version
from deployments.versions.serve_host import ServeHost


class PlacingHost:
    """Decides for each load where its process comes from; from then on a version stays what it is until it ends."""

    def __init__(self, own: ServeHost, hosted: HostedVersions) -> None:
        self._own = own
        self._hosted = hosted
        self._own_apps: Mapping[str, AppObservation] = {}

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the versions by application name, hosted ones with their host."""
        moving_own = None if moving is None else [app for app in moving if not self._hosted.has(app)]
        own = self._own_apps = self._own.observe(moving_own)
        return {**self._hosted.observe(own), **own}

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Submit the application of a version, or let a host load it; raises ConfigError for what no host can load."""
        hosts_light = spec.settings.cluster.host_light_versions
        if is_hosted(resources, spec.path, hosts_light=hosts_light, is_light=_is_light):
            self._hosted.load(spec)
        else:
            self._own.deploy(spec, resources)

    def delete(self, app: str) -> None:
        """Delete an application, or let a host unload the version of that name; returns at once."""
        if app not in self._own_apps and self._hosted.has(app):
            self._hosted.unload(app)
        else:
            self._own.delete(app)

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """Send a table to every router and return their reports; raises Unavailable when one does not answer."""
        return self._own.publish(table)

    def tables(self) -> list[RoutingTable]:
        """Return the tables that routers use at present; the newest says what a former watcher's hosts have."""
        tables = self._own.tables()
        self._hosted.recall(max(tables, key=lambda one: one.generation).hosts if tables else {})
        return tables

    def hold(self, apps: Collection[str]) -> None:
        """Tell the replicas of these applications to stay; hosted ones have one each, which stays anyway."""
        self._own.hold([app for app in apps if not self._hosted.has(app)])

    def cpus(self) -> int:
        """Count the CPUs of the cluster."""
        return self._own.cpus()

    def full_disk(self) -> str:
        """Return that no process can start on this node because its disk is full; empty while there is room."""
        return self._own.full_disk()


def _is_light(path: str) -> bool:
    return is_light_version(Path(local_path(path)))
