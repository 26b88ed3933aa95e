"""Both ways to a version behind one interface: the direct transport, and Serve's handle where that is not (yet) up.

The addresses of replicas are learned from the replicas themselves, by a broadcast over the handle: when a version
appears in the table, when a connection is lost, and every few seconds, so that replicas added by autoscaling take
their share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from core.config.model_config import LoggingConfig
from core.errors import Code, ServingError
from core.routing.table import Route
from core.routing.transport import Answer, Call, ConnectionLost, Endpoint, Method, OpenCall, Waiting
from core.telemetry.metric_names import FORWARDED_REQUESTS, REPEATED_REQUESTS
from core.telemetry.metrics import Counter
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.replica_set import ReplicaSet
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

BROADCAST_TIMEOUT_S = 5.0
REFRESH_EVERY_S = 10.0
REFRESH_SCALED_EVERY_S = 2.0
RETRY_AFTER_S = 0.5
SAMPLE_LOAD_EVERY_S = 0.1
SAMPLES_PER_REPORT = 10


class Repeating(Protocol):
    """What tries a call once more whose connection was lost."""

    async def repeat(self, route: Route, call: Call, lost: DirectConnection) -> Answer:
        """Try it elsewhere; raises Unavailable and DeadlineExceeded."""
        ...


class SentCall:
    """A call on a direct connection."""

    __slots__ = ("_call", "_connection", "_id", "_route", "_transport")

    def __init__(
        self, transport: Repeating, connection: DirectConnection, route: Route, call: Call, waiting: Waiting
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._route = route
        self._call = call
        self._id = connection.begin(call, waiting)

    def withdraw(self) -> None:
        self._connection.withdraw(self._id)

    def expire(self) -> None:
        self._connection.expire(self._id)

    async def repeat(self) -> Answer:
        return await self._transport.repeat(self._route, self._call, self._connection)


class VersionTransport:
    """Direct connections where they exist, the handle otherwise; the handle for all calls if not `calls_directly`.

    What model servers report comes over the direct connections in any case.
    """

    def __init__(self, node: str, *, calls_directly: bool = True) -> None:
        self._node = node
        self._handles = HandleTransport()
        self._replicas: dict[str, ReplicaSet] = {}
        self._callable: Mapping[str, ReplicaSet] = self._replicas if calls_directly else {}
        self._refreshed_s: dict[str, float] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._direct: dict[str, Counter] = {}
        self._logs: Mapping[str, tuple[LoggingConfig, ...]] = {}
        self._told: dict[str, tuple[LoggingConfig, ...]] = {}

    async def call(self, route: Route, call: Call) -> Answer:
        """Deliver a call; a call whose connection breaks is tried once more elsewhere.

        Raises Unavailable and DeadlineExceeded.
        """
        replicas = self._callable.get(route.app)
        first = None if replicas is None else replicas.choose()
        model = route.servable.name
        if replicas is None or first is None:
            return await self._over_handle(route, call)
        try:
            (self._direct.get(model) or self._new_direct(model)).add()
            return await first.call(call, model)
        except ConnectionLost:
            return await self.repeat(route, call, first)

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call at once where a direct connection takes it."""
        replicas = self._callable.get(route.app)
        connection = None if replicas is None else replicas.choose()
        if connection is None or not connection.takes_calls:
            return None
        model = route.servable.name
        (self._direct.get(model) or self._new_direct(model)).add()
        return SentCall(self, connection, route, call, waiting)

    async def repeat(self, route: Route, call: Call, lost: DirectConnection) -> Answer:
        """Try a call once more elsewhere, whose connection was lost before the answer came.

        Raises Unavailable and DeadlineExceeded.
        """
        self._refresh_soon(route.app)
        METRICS.count(REPEATED_REQUESTS, route.servable.name)
        replicas = self._callable.get(route.app)
        second = None if replicas is None else replicas.choose(avoid=lost)
        if second is None:
            return await self._over_handle(route, call)
        return await second.call(call, route.servable.name)

    async def _over_handle(self, route: Route, call: Call) -> Answer:
        METRICS.count(FORWARDED_REQUESTS, route.servable.name, "handle")
        return await self._handles.call(route, call)

    def _new_direct(self, model: str) -> Counter:
        return self._direct.setdefault(model, METRICS.counter(FORWARDED_REQUESTS, model, "direct"))

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Ask all model servers what they have counted; gives the answers of those that answer in time."""
        connections = [one for replicas in self._replicas.values() for one in replicas.usable]
        answers = await asyncio.gather(*(_report(one, timeout_s) for one in connections))
        return [answer for answer in answers if answer is not None]

    def log_requests(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> None:
        """Take over what each application logs, and tell those that were told otherwise.

        Replicas are told whenever they are asked for their address, so that one which starts later knows it too.
        """
        self._logs = logs
        for app in self._told:
            if not self._is_told(app):
                self._refresh_soon(app)

    def _is_told(self, app: str) -> bool:
        return self._told.get(app, ()) == self._logs.get(app, ())

    async def connect(self, apps: Iterable[str]) -> None:
        """Connect to applications of a new table; returns when each was tried once."""
        new = frozenset(apps) - frozenset(self._replicas)
        for app in new:
            self._replicas[app] = ReplicaSet(self._node)
        await asyncio.gather(*(self._refresh_soon(app) for app in new))

    async def keep_only(self, apps: Iterable[str]) -> None:
        """Let go of applications that left the table; calls in flight on them still get their answers."""
        for app in frozenset(self._replicas) - frozenset(apps):
            self._replicas.pop(app).retire()
            self._refreshed_s.pop(app, None)
            self._told.pop(app, None)
            await self._handles.forget(app)

    def refresh_due(self) -> None:
        """Look again for replicas where connections are missing or the last look is old."""
        now_s = time.monotonic()
        for app, replicas in self._replicas.items():
            age_s = now_s - self._refreshed_s.get(app, 0.0)
            if age_s > (_refresh_every_s(replicas) if self._is_told(app) else RETRY_AFTER_S):
                self._refresh_soon(app)

    async def follow_load(self) -> None:
        """Tell replicas that Serve scales how many calls are open on them, and look for their siblings; never ends."""
        while True:
            await self._sample_load()
            for connection in self._scaled():
                connection.report_load()
            self.refresh_due()

    async def _sample_load(self) -> None:
        """Look how many calls are open, ten times before each report; without scaled replicas, only wait as long."""
        looks = SAMPLES_PER_REPORT if self._scaled() else 1
        for _ in range(looks):
            await asyncio.sleep(SAMPLE_LOAD_EVERY_S * SAMPLES_PER_REPORT / looks)
            for connection in self._scaled():
                connection.sample_load()

    def _scaled(self) -> list[DirectConnection]:
        return [connection for replicas in self._replicas.values() for connection in replicas.scaled]

    def _refresh_soon(self, app: str) -> asyncio.Task[None]:
        running = self._refreshing.get(app)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._refresh(app))
            self._refreshing[app] = running
            running.add_done_callback(lambda _: self._refreshing.pop(app, None))
        return running

    async def _refresh(self, app: str) -> None:
        """Learn the addresses anew; while they cannot be told, the known connections stay."""
        logs = self._logs.get(app, ())
        try:
            endpoints: Iterable[Endpoint] | None = await asyncio.wait_for(self._endpoints(app), BROADCAST_TIMEOUT_S)
        except (RayError, RayServeException, TimeoutError, ServingError) as error:
            log.info("endpoints_unknown app=%s error=%r", app, str(error)[:200])
            endpoints = None
        replicas = self._replicas.get(app)
        if replicas is None:
            return
        if endpoints is not None:
            self._told[app] = logs
        self._refreshed_s[app] = time.monotonic()
        await replicas.update(replicas.endpoints if endpoints is None else endpoints)
        if self._replicas.get(app) is not replicas:
            replicas.retire()

    async def _endpoints(self, app: str) -> list[Endpoint]:
        asked = self._handles.handle(app).broadcast("endpoint", self._logs.get(app, ()))
        endpoints: list[Endpoint] = await asked.results_async()
        return endpoints


def _refresh_every_s(replicas: ReplicaSet) -> float:
    if replicas.is_degraded:
        return RETRY_AFTER_S
    return REFRESH_SCALED_EVERY_S if replicas.scaled else REFRESH_EVERY_S


async def _report(connection: DirectConnection, timeout_s: float) -> bytes | None:
    try:
        answer = await asyncio.wait_for(connection.call(Call(Method.METRICS, b"", timeout_s)), timeout_s)
    except (ServingError, TimeoutError):
        return None
    return bytes(answer.body) if answer.code is Code.OK else None
