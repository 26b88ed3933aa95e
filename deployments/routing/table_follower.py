"""Keeps a router's table the newest: from broadcasts of the watcher, from pulls, and at the start from other routers.

A router takes requests only after the watcher knows of it: from then on no table counts as confirmed that this router
does not use. Without an answer of the watcher it serves by the settled table of the routers that run already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from core.config.model_config import LoggingConfig
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from deployments.routing.request_router import RequestRouter

log = logging.getLogger(__name__)

PULL_EVERY_S = 5.0
PULL_COUNTED_EVERY_S = 1.0
"""While requests are divided: what was counted goes to the watcher with each pull."""
PULL_FIRST_EVERY_S = 0.1
WITHOUT_WATCHER_AFTER_S = 15.0
"""After this time a router that starts serves by the table of others although no watcher has answered."""


class Connections(Protocol):
    """The connections to versions that a table needs."""

    def log_requests(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> None:
        """Take over what each application logs."""

    def follow_hosts(self, hosts: Mapping[str, str]) -> None:
        """Take over which versions are hosted, and in which host application."""

    async def connect(self, apps: Iterable[str]) -> None:
        """Connect to applications of a new table; returns when each was tried once."""

    async def keep_only(self, apps: Iterable[str]) -> None:
        """Let go of applications that left the table."""


class TableSource(Protocol):
    """Where a router's tables come from."""

    async def pull(self, report: RouterReport) -> RoutingTable | None:
        """Report to the watcher and return its table; None when it does not answer."""

    async def of_siblings(self) -> list[RoutingTable]:
        """Return the tables of the routers that run already; none when they cannot be asked."""


class TableFollower:
    """The table of one router; `on_change` is called after it was replaced."""

    def __init__(
        self, router: RequestRouter, connections: Connections, source: TableSource, on_change: Callable[[], None]
    ) -> None:
        self._router = router
        self._connections = connections
        self._source = source
        self._on_change = on_change
        self._newest = router.table

    async def take(self, table: RoutingTable) -> RouterReport:
        """Connect to new versions before requests can choose them, then swap the table; returns the table in use.

        An older one that comes while a newer one is connecting may be swapped in before it, but takes nothing from it.
        """
        if table.generation > self._router.table.generation:
            self._prepare_for(table)
            await self._connections.connect(table.apps)
            self._router.apply(table)
            self._prepare_for(self._router.table)
            await self._connections.keep_only(self._router.table.apps | self._newest.apps)
            self._on_change()
        return self._router.report()

    def _prepare_for(self, table: RoutingTable) -> None:
        """Take over hosts and logs of the newest table, which may still be connecting."""
        self._newest = max(table, self._newest, key=lambda one: one.generation)
        self._connections.log_requests(self._newest.logging)
        self._connections.follow_hosts(self._newest.hosts)

    async def take_over(self) -> None:
        """Take the table of routers that run already, which this one may be about to replace.

        The watcher alone cannot say so: one that is replaced at the same time has no table before it has asked routers.
        """
        for table in await self._source.of_siblings():
            await self.take(table)

    async def follow_first(self) -> None:
        """Return when requests may be taken: the table is settled, and the watcher knows that this router uses it."""
        ends_at = asyncio.get_running_loop().time() + WITHOUT_WATCHER_AFTER_S
        while not await self.pull() or not self._router.table.settled:
            if self._router.table.settled and asyncio.get_running_loop().time() > ends_at:
                log.warning("no_watcher_answers generation=%d", self._router.table.generation)
                return
            await asyncio.sleep(PULL_FIRST_EVERY_S)
        await self.pull()

    async def follow(self) -> None:
        """Pull regularly: replaces a broadcast that was lost; never ends."""
        while True:
            await asyncio.sleep(PULL_COUNTED_EVERY_S if self._router.divisions.choosers else PULL_EVERY_S)
            await self.pull()

    async def pull(self) -> bool:
        """Take the watcher's table; returns whether the watcher answered."""
        table = await self._source.pull(self._router.report())
        if table is None:
            return False
        await self.take(table)
        return True
