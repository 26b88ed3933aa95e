"""REST's and gRPC's doors with real model servers behind them in one process: everything on a call's way but Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from core.rest.rights import PlacedPage
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import LOOPBACK, Endpoint
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.direct_server import DirectServer
from deployments.inference.execution import Execution
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.replica_set import ReplicaSet
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port
from tests.support.doors.grpc_stack import TOKEN, DirectTransport

T = TypeVar("T")


class ModelStack:
    """Serves executions of versions on two free ports; a context manager."""

    def __init__(
        self,
        executions: Mapping[ServableId, Execution | BatchedExecution],
        pages: Callable[[RequestRouter], Mapping[str, PlacedPage]] = lambda _: {},
    ) -> None:
        self._loop = LoopThread("model-stack")
        self._executions = executions
        self._servers: list[DirectServer] = []
        self._transport = DirectTransport()
        self._router = RequestRouter("router", self._transport)
        self._table = RoutingTable(1, _models(list(executions)), settled=True)
        self._router.apply(self._table)
        self.grpc_port, self.rest_port = free_port(), free_port()
        facts = ServerFacts(self._router, lambda: False)
        grpc_api = GrpcApi(self._router, "token", _no_reload, others=(OipService(facts).service(),))
        self._grpc = GrpcDoor(GrpcAddress(LOOPBACK, self.grpc_port), grpc_api, "token")
        rest_api = HttpApi(
            self._router, HttpLimits(), "token", pages(self._router), others=(OipRest(facts, HttpLimits()),)
        )
        self._rest = HttpDoor(HttpAddress(LOOPBACK, self.rest_port), rest_api, "token")

    def know(self, models: Mapping[str, ModelRoutes]) -> None:
        """Take a table with further models."""
        self._table = replace(
            self._table, generation=self._table.generation + 1, models={**self._table.models, **models}
        )
        self._run(self._apply())

    def alias(self, name: str) -> ModelRoutes:
        """Return the routes of a served model, for another name."""
        return self._table.models[name]

    async def _apply(self) -> None:
        self._router.apply(self._table)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work).result(60)

    async def _open(self) -> None:
        for servable, execution in self._executions.items():
            server = DirectServer(execution, TOKEN)
            port, has_loopback = await server.open(LOOPBACK)
            self._servers.append(server)
            replicas = self._transport.replicas[Route.of(servable).app] = ReplicaSet("node")
            await replicas.update([Endpoint(LOOPBACK, port, TOKEN, "replica", "node", has_loopback)])
        await self._grpc.open()
        self._grpc.health.open(self._table)
        await self._rest.open()

    async def _close(self) -> None:
        await asyncio.gather(self._grpc.drain(60.0), self._rest.drain(60.0))
        for replicas in self._transport.replicas.values():
            replicas.retire()
        await asyncio.gather(*(server.drain(60.0) for server in self._servers))
        for execution in self._executions.values():
            execution.close()

    def __enter__(self) -> Self:
        self._run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.stop()
        self._loop.join(60)


def _models(servables: list[ServableId]) -> dict[str, ModelRoutes]:
    """Route to all versions of every name."""
    numbers: dict[str, list[int]] = {}
    for one in servables:
        numbers.setdefault(one.name, []).append(one.version)
    return {
        name: ModelRoutes(
            {version: Route.of(ServableId(name, version)) for version in versions},
            {},
            tuple(VersionStatus(version, State.AVAILABLE) for version in sorted(versions, reverse=True)),
        )
        for name, versions in numbers.items()
    }


async def _no_reload(raw: bytes) -> bytes:
    return raw
