"""An open REST port whose versions answer from memory, and probes of it by bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.rest.connection_limits import ConnectionLimits
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.telemetry.metrics import Metrics
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port
from tests.support.doors.door_sites import DoorSite
from tests.support.doors.raw_http import HOST, RawConnection
from tests.support.fakes import FakeTransport

ONE_VERSION = RoutingTable(
    1,
    {"m": ModelRoutes({1: Route.of(ServableId("m", 1))}, {}, (VersionStatus(1, State.AVAILABLE),))},
    settled=True,
)


class RestSite(DoorSite):
    """The REST port of a router that serves one model, `m`."""

    def connect(self, timeout_s: float = 60.0) -> RawConnection:
        return RawConnection(self.port, timeout_s)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that reached a version."""
        return [bytes(call.body) for _, call in self.transport.calls]

    @property
    def connections(self) -> list:
        """The protocols of all open connections."""
        return list(self.door._server.server_state.connections)


@contextmanager
def rest_site(answer: Answer | None = None, limits: ConnectionLimits | None = None) -> Iterator[RestSite]:
    """Open a REST port with a budget of connections."""
    loop = LoopThread("rest-site")
    transport, metrics = FakeTransport(answer), Metrics()
    router = RequestRouter("r", transport, metrics)
    router.apply(ONE_VERSION)
    port = free_port()
    budget = HttpLimits() if limits is None else HttpLimits(connection=limits)
    door = HttpDoor(HttpAddress(HOST, port), HttpApi(router, budget, "t"), "t")
    loop.run(door.open()).result(60)
    yield RestSite(port, transport, router, door, metrics, loop)
    loop.run(door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)


@dataclass(frozen=True)
class HttpProbe:
    """Bytes, and the statuses that a section of an RFC wants for them; `ends` where the connection must end then."""

    section: str
    what: str
    content: bytes
    statuses: tuple[int, ...]
    method: str = "POST"

    @property
    def ends(self) -> bool:
        """Whether the connection ends: bytes behind a head that was refused mean nothing."""
        return self.statuses[-1] not in {200, 404} or b"HTTP/1.0" in self.content

    def __str__(self) -> str:
        return f"{self.section} {self.what}"
