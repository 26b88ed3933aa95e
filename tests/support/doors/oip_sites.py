"""An open REST port with version 2 on it, whose versions answer from memory: of models in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.errors import Code
from core.oip.path import Operation
from core.oip.rest_body import ALL_JSON, footer
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.telemetry.metrics import Metrics
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.oip.rest_api import Handler, OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import Reply, free_port
from tests.support.doors.door_sites import DoorSite
from tests.support.doors.raw_http import HOST, RawConnection
from tests.support.fakes import FakeTransport

JSON_ANSWER = b'{"model_name":"m","model_version":"2","outputs":[]}'
GOOD = Answer(Code.OK, JSON_ANSWER + footer(ALL_JSON))


def with_tensors(json: bytes, raw: bytes) -> Answer:
    """Return a model server's answer with raw tensors."""
    return Answer(Code.OK, json + raw + footer(len(json)))


def model_of(*versions: int, labels: Mapping[str, int] | None = None, **states: State) -> ModelRoutes:
    """Make a model of which these versions answer, and further ones `v3=State.LOADING` do not."""
    known = dict.fromkeys(versions, State.AVAILABLE) | {int(key[1:]): one for key, one in states.items()}
    statuses = tuple(VersionStatus(number, known[number]) for number in sorted(known, reverse=True))
    return ModelRoutes({one: Route.of(ServableId("m", one)) for one in versions}, dict(labels or {}), statuses)


TABLE = RoutingTable(
    1,
    {
        "m": model_of(1, 2, labels={"stable": 1, "next": 3}, v3=State.LOADING, v4=State.UNLOADING),
        "loading": model_of(v1=State.LOADING),
        "gone": model_of(v1=State.END),
    },
    settled=True,
)


class OipSite(DoorSite):
    """The REST port of a router that serves one model, `m`, and knows two others that do not answer."""

    good = GOOD

    def connect(self) -> RawConnection:
        return RawConnection(self.port)

    def ask(self, content: bytes, method: str = "POST") -> Reply:
        """Send a request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(content, method)

    @property
    def counts(self) -> dict:
        """The requests counted, by name and status; none if no request was counted."""
        return dict(self.metrics.snapshot().counters.get(":tensorflow:serving:request_count", {}))


OipSiteMaker = Callable[..., OipSite]


@contextmanager
def oip_sites() -> Iterator[OipSiteMaker]:
    """Yield a function that opens ports; all are closed in the end."""
    loop = LoopThread("oip-sites")
    doors: list[HttpDoor] = []

    def made(
        way: str = "short",
        table: RoutingTable = TABLE,
        handlers: Mapping[Operation, Handler] | None = None,
        **limits: Any,
    ) -> OipSite:
        transport, metrics = FakeTransport(GOOD), Metrics()
        transport.sends_at_once = way == "short"
        router = RequestRouter("r", transport, metrics)
        router.apply(table)
        budget = HttpLimits(**limits)
        port = free_port()
        api = HttpApi(router, budget, "t")
        api.others = (OipRest(ServerFacts(router, lambda: api.draining), budget, handlers or {}),)
        door = HttpDoor(HttpAddress(HOST, port), api, "t")
        loop.run(door.open()).result(60)
        doors.append(door)
        return OipSite(port, transport, router, door, metrics, loop)

    yield made
    for door in doors:
        loop.run(door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)
