"""What routers learn of each other and of the watcher over Serve's handles: tables, and a token of the cluster."""

from __future__ import annotations

import asyncio
import hashlib
import logging

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

PULL_TIMEOUT_S = 10.0
SIBLINGS_TIMEOUT_S = 2.0


class ServeTables:
    """Tables of the watcher and of other routers, over Serve's handles."""

    def __init__(self, watcher: DeploymentHandle, siblings: DeploymentHandle) -> None:
        self._watcher = watcher
        self._siblings = siblings

    async def pull(self, report: RouterReport) -> RoutingTable | None:
        """Report to the watcher and return its table; None when it does not answer."""
        try:
            table: RoutingTable = await asyncio.wait_for(self._watcher.table.remote(report), PULL_TIMEOUT_S)
        except SERVE_FAILURES as error:
            log.info("table_not_pulled error=%r", brief(error))
            return None
        return table

    async def of_siblings(self) -> list[RoutingTable]:
        """Return the tables of the routers that run already; none when they cannot be asked."""
        try:
            work = self._siblings.broadcast("table").results_async()
            tables: list[RoutingTable] = await asyncio.wait_for(work, SIBLINGS_TIMEOUT_S)
        except SERVE_FAILURES as error:
            log.info("no_other_router error=%r", brief(error))
            return []
        return tables


def sibling_routers() -> DeploymentHandle:
    """Return a handle of the routers, of which this process is one."""
    replica = serve.get_replica_context()
    return DeploymentHandle(replica.deployment, replica.app_name)


def cluster_token() -> str:
    """Return a name of this Ray cluster, by which sibling routers recognise each other behind a shared port.

    It is shown to everyone, so it does not contain the address of the cluster.
    """
    address: str = ray.get_runtime_context().gcs_address
    return hashlib.sha256(address.encode()).hexdigest()
