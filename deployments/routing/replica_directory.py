"""The replicas of each version: their addresses, the connections to them, and what routers report to them.

The addresses are learned from the replicas themselves, by a broadcast over Serve's handle: when a version appears in
the table, when a connection is lost, and every few seconds, so that replicas added by autoscaling take their share. The
same broadcast sends the settings of request logs, so that running versions follow a changed configuration. Hosted
versions are asked for together: one call to their host, however many there are.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable, Mapping
from functools import partial

from core.config.model_config import LoggingConfig
from core.errors import ServingError
from core.routing.transport import Endpoint
from core.versions.hosted import node_of_host
from core.versions.record import Failure
from core.versions.run_health import version_problem
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.replica_set import ReplicaSet
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

BROADCAST_TIMEOUT_S = 5.0
REFRESH_EVERY_S = 10.0
REFRESH_SOON_EVERY_S = 2.0
"""For replicas that Serve scales, and for versions that may have recovered."""

RETRY_AFTER_S = 0.5
SAMPLE_LOAD_EVERY_S = 0.1
SAMPLES_PER_REPORT = 10


class ReplicaDirectory:
    """Addresses of and connections to the replicas of the versions in the table; `replicas` has them by application."""

    def __init__(self, node: str, handles: HandleTransport) -> None:
        self.replicas: dict[str, ReplicaSet] = {}
        self._node = node
        self._handles = handles
        self._refreshed_s: dict[str, float] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._logs: Mapping[str, tuple[LoggingConfig, ...]] = {}
        self._sent_logs: dict[str, tuple[LoggingConfig, ...]] = {}
        self._hosts: Mapping[str, str] = {}
        self._asked_hosts: set[str] = set()
        self.failing: Mapping[str, Failure] = {}
        """The applications in which every run fails."""

    def log_requests(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> None:
        """Take over what each application logs, and send it to those that have other settings.

        Every broadcast for addresses sends it, so that a replica which starts later gets it too.
        """
        self._logs = logs
        for app in self._sent_logs:
            if not self._has_logs(app):
                self.refresh_soon(app)

    def _has_logs(self, app: str) -> bool:
        return self._sent_logs.get(app, ()) == self._logs.get(app, ())

    def follow_hosts(self, hosts: Mapping[str, str]) -> None:
        """Take over which host each hosted version is in; one that moved is looked for at once."""
        before, self._hosts = self._hosts, hosts
        for app in self.replicas:
            if before.get(app) != hosts.get(app):
                self.refresh_soon(app)

    async def connect(self, apps: Iterable[str]) -> None:
        """Connect to applications of a new table; returns when each was tried once."""
        new = frozenset(apps) - frozenset(self.replicas)
        for app in new:
            self.replicas[app] = ReplicaSet(self._node)
        await asyncio.gather(*(self.refresh_soon(app) for app in new))

    async def keep_only(self, apps: Iterable[str]) -> None:
        """Let go of applications that left the table; calls in flight on them still get their answers."""
        for app in frozenset(self.replicas) - frozenset(apps):
            self.replicas.pop(app).retire()
            self._refreshed_s.pop(app, None)
            self._sent_logs.pop(app, None)
            self._note_health(app, None)
            await self._handles.forget(app)
        for host in self._asked_hosts - frozenset(self._hosts.values()):
            self._asked_hosts.discard(host)
            await self._handles.forget(host)

    def runs_by(self) -> dict[str, str]:
        """Return what calls the runs in the connected replicas, by application; several are joined."""
        kinds = {app: {one.runs_by for one in replicas.endpoints} for app, replicas in self.replicas.items()}
        return {app: ", ".join(sorted(filter(None, some))) for app, some in kinds.items()}

    async def follow_load(self) -> None:
        """Report the number of open calls to replicas that Serve scales, and look for new ones; never ends."""
        while True:
            await self._sample_load()
            for connection in self._scaled():
                connection.report_load()
            self.refresh_due()

    async def _sample_load(self) -> None:
        """Count open calls ten times before each report; without scaled replicas, only wait as long."""
        samples = SAMPLES_PER_REPORT if self._scaled() else 1
        for _ in range(samples):
            await asyncio.sleep(SAMPLE_LOAD_EVERY_S * SAMPLES_PER_REPORT / samples)
            for connection in self._scaled():
                connection.sample_load()

    def _scaled(self) -> list[DirectConnection]:
        return [connection for replicas in self.replicas.values() for connection in replicas.scaled]

    def refresh_due(self) -> None:
        """Refresh addresses where connections are missing or the addresses are old."""
        now_s = time.monotonic()
        for app, replicas in self.replicas.items():
            age_s = now_s - self._refreshed_s.get(app, 0.0)
            if age_s > self._refresh_every_s(app, replicas):
                self.refresh_soon(app)

    def refresh_soon(self, app: str) -> asyncio.Task[None]:
        """Refresh the addresses of an application, or of its whole host, unless that is under way; returns the task."""
        asked = self._hosts.get(app, app)
        running = self._refreshing.get(asked)
        if running is None or running.done():  # one that has just ended knows nothing of what was connected since
            # The callbacks of the connections that it opens run in its context for ever: it must not be a request's.
            running = asyncio.get_running_loop().create_task(self._refresh(asked), context=contextvars.Context())
            self._refreshing[asked] = running
            running.add_done_callback(partial(self._refreshed, asked))
        return running

    def _refreshed(self, asked: str, ended: asyncio.Task[None]) -> None:
        if self._refreshing.get(asked) is ended:
            del self._refreshing[asked]

    async def _refresh(self, asked: str) -> None:
        """Ask an application or a host for addresses; while there is no answer, the known connections stay.

        Versions that appeared in a host meanwhile are not in its answer, so it is asked again for them.
        """
        logs = {app: self._logs.get(app, ()) for app in self._asked_with(asked)}
        try:
            found = await asyncio.wait_for(self._endpoints(asked, logs), BROADCAST_TIMEOUT_S)
        except (*SERVE_FAILURES, ServingError) as error:
            log.info("endpoints_unknown app=%s error=%r", asked, brief(error))
            found = None
        await asyncio.gather(
            *(self._take(app, logs[app], None if found is None else found.get(app, ())) for app in logs)
        )
        if found is not None and self._asked_with(asked) - logs.keys():
            await self._refresh(asked)

    def _asked_with(self, asked: str) -> frozenset[str]:
        """Return the applications in the table whose addresses an application or a host knows."""
        return frozenset(app for app in self.replicas if self._hosts.get(app, app) == asked)

    async def _endpoints(
        self, asked: str, logs: Mapping[str, tuple[LoggingConfig, ...]]
    ) -> Mapping[str, Iterable[Endpoint]]:
        if not node_of_host(asked):
            asking = self._handles.handle(asked).broadcast("endpoint", logs.get(asked, ()))
            own: list[Endpoint] = await asking.results_async()
            return {asked: own}
        self._asked_hosts.add(asked)
        hosted: Mapping[str, Endpoint] = await self._handles.host(asked).endpoints.remote(logs)
        return {app: (one,) for app, one in hosted.items()}

    async def _take(self, app: str, logs: tuple[LoggingConfig, ...], endpoints: Iterable[Endpoint] | None) -> None:
        """Connect to where an application was found to listen; None is no answer."""
        replicas = self.replicas.get(app)
        if replicas is None:
            return
        if endpoints is not None:
            self._sent_logs[app] = logs
            self._note_health(app, version_problem(one.health for one in endpoints))
        self._refreshed_s[app] = time.monotonic()
        await replicas.update(replicas.endpoints if endpoints is None else endpoints)
        if self.replicas.get(app) is not replicas:
            replicas.retire()

    def _note_health(self, app: str, problem: Failure | None) -> None:
        """Keep what is wrong with an application; the mapping is replaced, because reports hold it."""
        others = {other: one for other, one in self.failing.items() if other != app}
        self.failing = others if problem is None else {**others, app: problem}

    def _refresh_every_s(self, app: str, replicas: ReplicaSet) -> float:
        if replicas.is_degraded or not self._has_logs(app):
            return RETRY_AFTER_S
        return REFRESH_SOON_EVERY_S if replicas.scaled or app in self.failing else REFRESH_EVERY_S
