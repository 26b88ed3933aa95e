"""A gRPC door with real model servers behind it in one process: everything on a call's way but Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from core.errors import ServingError
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import LOOPBACK, Answer, Call, ConnectionLost, Endpoint, OpenCall, Waiting
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.grpc.services import Answering
from deployments.inference.direct_server import DirectServer
from deployments.inference.execution import Execution
from deployments.oip.grpc_service import OipService
from deployments.oip.server_facts import ServerFacts
from deployments.routing.awaited_call import call_over
from deployments.routing.replica_set import ReplicaSet
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port
from tests.support.loaded_models import loaded

TOKEN = b"0123456789abcdef"
T = TypeVar("T")


class DirectTransport:
    """Calls over direct connections only; implements `core.routing.transport.Transport`."""

    def __init__(self) -> None:
        self.replicas: dict[str, ReplicaSet] = {}
        self.failures: list[ServingError] = []

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call at once, unless failures are prepared."""
        connection = None if self.failures else self.replicas[route.app].choose()
        return connection.begin(call, waiting) if connection and connection.takes_calls else None

    async def call(self, route: Route, call: Call) -> Answer:
        """Call the only replica, once all prepared failures were raised."""
        if self.failures:
            raise self.failures.pop()
        connection = self.replicas[route.app].choose()
        assert connection is not None
        return await call_over(connection, call, route.servable.name)

    async def repeat(self, route: Route, call: Call) -> Answer:
        """There is nowhere else to go."""
        raise ConnectionLost(f"The replica was lost for {call.method.name} of {route.servable}")

    def failing(self) -> Mapping[str, Failure]:
        """Nobody reports a version that fails."""
        return {}


class GrpcStack:
    """Serves test models on a free port; a context manager. Models are given as name: version or versions."""

    def __init__(
        self,
        models: Path,
        names: Mapping[str, int | tuple[int, ...]],
        *,
        threads: int = 2,
        most_calls: int = 0,
        more: Mapping[str, Answering] = MappingProxyType({}),
        **address: Any,
    ) -> None:
        self._loop = LoopThread("grpc-stack")
        self._servers: list[DirectServer] = []
        self.transport = DirectTransport()
        versions = {name: (given,) if isinstance(given, int) else given for name, given in names.items()}
        servables = [ServableId(name, number) for name, numbers in versions.items() for number in numbers]
        self._executions = {one: Execution(loaded(models, one.name, one.version), threads) for one in servables}
        self.executions = {one.name: execution for one, execution in self._executions.items()}
        self.table = RoutingTable(1, {name: _routes(name, numbers) for name, numbers in versions.items()}, settled=True)
        self.router = RequestRouter("router", self.transport)
        self.router.apply(self.table)
        self.facts = ServerFacts(self.router, lambda: False)
        others = (OipService(self.facts, more).service(),)
        self.api = GrpcApi(self.router, "token", _no_reload, session_run=True, most_calls=most_calls, others=others)
        given = {"host": LOOPBACK, "port": free_port(), **address}
        self.port: int = given["port"]
        self.door = GrpcDoor(GrpcAddress(**given), self.api, "token")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop of the door and wait for it."""
        return self._loop.run(work).result(60)

    async def _open(self) -> None:
        for servable, execution in self._executions.items():
            server = DirectServer(execution, TOKEN)
            port, has_loopback = await server.open(LOOPBACK)
            self._servers.append(server)
            replicas = self.transport.replicas[Route.of(servable).app] = ReplicaSet("node")
            await replicas.update([Endpoint(LOOPBACK, port, TOKEN, "replica", "node", has_loopback)])
        await self.door.open()
        self.door.health.open(self.table)

    async def _close(self) -> None:
        await self.door.drain(60.0)
        for replicas in self.transport.replicas.values():
            replicas.retire()
        await asyncio.gather(*(server.drain(60.0) for server in self._servers))
        for execution in self._executions.values():
            execution.close()

    def __enter__(self) -> Self:
        self.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._close())
        self._loop.stop()
        self._loop.join(60)


def _routes(name: str, versions: Iterable[int]) -> ModelRoutes:
    """Route to some versions; the label `stable` is that of the first, `pending` that of one that does not answer."""
    newest_first = sorted(versions, reverse=True)
    routes = {version: Route.of(ServableId(name, version)) for version in newest_first}
    labels = {"stable": newest_first[-1], "pending": newest_first[0] + 1}
    return ModelRoutes(routes, labels, tuple(VersionStatus(version, State.AVAILABLE) for version in newest_first))


async def _no_reload(raw: bytes) -> bytes:
    return raw
