"""gRPC ports on real sockets, with a fake transport behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.telemetry.metrics import Metrics
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.grpc.server import GrpcServer
from deployments.oip.grpc_service import OipService
from deployments.oip.server_facts import ServerFacts
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port
from tests.support.doors.door_sites import DoorSite
from tests.support.fakes import FakeTransport

ROUTES = ModelRoutes({1: Route.of(ServableId("m", 1))}, {"stable": 1}, (VersionStatus(1, State.AVAILABLE),))
TABLE = RoutingTable(1, {"m": ROUTES}, settled=True)


GOOD = Answer(Code.OK, b"answer")


class GrpcSite(DoorSite):
    """An open gRPC port."""

    good = GOOD

    @property
    def counts(self) -> dict:
        """The requests counted, by name and status; none if no call was counted."""
        snapshot = self.metrics.snapshot()
        return dict(snapshot.counters.get(":tensorflow:serving:request_count", {}))

    @property
    def connections(self) -> set:
        server = self.door._server
        assert isinstance(server, GrpcServer)
        return server.connections


GrpcSiteMaker = Callable[..., GrpcSite]


@contextmanager
def grpc_sites() -> Iterator[GrpcSiteMaker]:
    """Yield a function that opens ports; all are closed in the end."""
    loop = LoopThread("grpc-sites")
    doors: list[GrpcDoor] = []

    def made(
        way: str = "short", answer: Answer | Exception | None = None, *, socket_path: str = "", **api: Any
    ) -> GrpcSite:
        transport, metrics = FakeTransport(answer or GOOD), Metrics()
        transport.sends_at_once = way == "short"
        router = RequestRouter("r", transport, metrics)
        router.apply(TABLE)
        port = 0 if socket_path else free_port()
        address = GrpcAddress("127.0.0.1", port, socket_path)
        others = (OipService(ServerFacts(router, lambda: False)).service(),)
        door = GrpcDoor(address, GrpcApi(router, "token", _no_reload, others=others, **api), "token")
        loop.run(_opened(door)).result(60)
        doors.append(door)
        return GrpcSite(port, transport, router, door, metrics, loop)

    yield made
    for door in doors:
        loop.run(door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)


async def _opened(door: GrpcDoor) -> None:
    await door.open()
    door.health.open(TABLE)


async def _no_reload(raw: bytes) -> bytes:
    return raw
