"""Both ways to a version behind one interface: the direct transport, and Serve's handle where that is not (yet) up.

Chooses a replica, sends, and repeats once; the addresses come from `deployments.routing.replica_directory`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.errors import Code, ServingError
from core.routing.table import Route
from core.routing.transport import Answer, Call, Method, OpenCall, Waiting
from core.telemetry.metric_names import FORWARDED_REQUESTS, REPEATED_REQUESTS
from core.telemetry.metrics import Counter
from core.versions.record import Failure
from deployments.routing.awaited_call import call_over
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.replica_directory import ReplicaDirectory
from deployments.routing.replica_set import ReplicaSet
from deployments.telemetry.process_metrics import METRICS


class VersionTransport:
    """Direct connections where they exist, the handle otherwise; the handle for all calls if not `calls_directly`.

    Implements `core.routing.transport.Transport`. Metrics of model servers come over direct connections in any case.
    """

    def __init__(self, directory: ReplicaDirectory, handles: HandleTransport, *, calls_directly: bool = True) -> None:
        self._directory = directory
        self._handles = handles
        self._callable: Mapping[str, ReplicaSet] = directory.replicas if calls_directly else {}
        self._direct: dict[str, Counter] = {}

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call at once where a direct connection takes it."""
        replicas = self._callable.get(route.app)
        connection = None if replicas is None else replicas.choose()
        if connection is None or not connection.takes_calls:
            return None
        model = route.servable.name
        (self._direct.get(model) or self._new_direct(model)).add()
        return connection.begin(call, waiting)

    def begin_copy(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a copy, which is not counted; None where no connection for copies takes it now, or the version has gone.

        `waiting` gets its report, ConnectionLost or DeadlineExceeded.
        """
        replicas = self._callable.get(route.app)
        connection = None if replicas is None else replicas.choose_for_copy()
        return connection.begin(call, waiting) if connection is not None and connection.takes_calls else None

    async def call(self, route: Route, call: Call) -> Answer:
        """Deliver a call over a connection that must be waited for, or over the handle where there is none.

        Raises ConnectionLost, Unavailable and DeadlineExceeded.
        """
        connection = self._chosen(route)
        if connection is None:
            return await self._over_handle(route, call)
        model = route.servable.name
        (self._direct.get(model) or self._new_direct(model)).add()
        return await call_over(connection, call, model)

    async def repeat(self, route: Route, call: Call) -> Answer:
        """Deliver a call once more whose connection was lost; no lost connection is chosen again.

        Raises Unavailable and DeadlineExceeded.
        """
        self._directory.refresh_soon(route.app)
        METRICS.count(REPEATED_REQUESTS, route.servable.name)
        connection = self._chosen(route)
        if connection is None:
            return await self._over_handle(route, call)
        return await call_over(connection, call, route.servable.name)

    def _chosen(self, route: Route) -> DirectConnection | None:
        replicas = self._callable.get(route.app)
        return None if replicas is None else replicas.choose()

    async def _over_handle(self, route: Route, call: Call) -> Answer:
        METRICS.count(FORWARDED_REQUESTS, route.servable.name, "handle")
        return await self._handles.call(route, call)

    def _new_direct(self, model: str) -> Counter:
        return self._direct.setdefault(model, METRICS.counter(FORWARDED_REQUESTS, model, "direct"))

    def failing(self) -> Mapping[str, Failure]:
        """Return the applications in which every run fails, as their replicas report it."""
        return self._directory.failing

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Ask all model servers for their metrics; returns the answers of those that answer in time."""
        connections = [one for replicas in self._directory.replicas.values() for one in replicas.usable]
        call = Call(Method.METRICS, b"", timeout_s)
        answers = await asyncio.gather(*(_report(one, call, timeout_s) for one in connections))
        return [answer for answer in answers if answer is not None]

    async def observations(self, app: str, order: bytes, timeout_s: float) -> Mapping[str, bytes]:
        """Ask all model servers of an application what they counted of their outputs; returns answers by replica."""
        replicas = self._directory.replicas.get(app)
        connections = () if replicas is None else replicas.usable
        call = Call(Method.OBSERVE, order, timeout_s)
        answers = await asyncio.gather(*(_report(one, call, timeout_s) for one in connections))
        asked = zip(connections, answers, strict=True)
        return {one.endpoint.replica: answer for one, answer in asked if answer is not None}


async def _report(connection: DirectConnection, call: Call, timeout_s: float) -> bytes | None:
    try:
        answer = await asyncio.wait_for(call_over(connection, call), timeout_s)
    except (ServingError, TimeoutError):
        return None
    return bytes(answer.body) if answer.code is Code.OK else None
