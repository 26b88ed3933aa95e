"""Both doors of a router on real sockets, of one model with limits or a division, whose versions answer from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import grpc

from core.delivery.split import Division
from core.errors import Code
from core.oip.rest_body import ALL_JSON, footer
from core.routing.admission import TrafficLimits
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, Method
from core.telemetry.metric_names import REFUSED_REQUESTS
from core.telemetry.metrics import Metrics
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port
from tests.support.doors.door_sites import DoorSite
from tests.support.doors.raw_http import HOST
from tests.support.fakes import FakeTransport

ANSWERS = {Method.OIP_REST_INFER: Answer(Code.OK, b"{}" + footer(ALL_JSON))}


class ByMethod(FakeTransport):
    """Gives each method an answer that its door can read."""

    async def call(self, route: Route, call: Call) -> Answer:
        answer = await super().call(route, call)
        return ANSWERS.get(call.method, answer) if answer.code is Code.OK else answer


@dataclass
class LimitedSite(DoorSite):
    """The REST port of a router that serves `m`, with limits, and `free`, without; `grpc_port` is the other.

    `apis` are those behind the ports, for REST and for gRPC.
    """

    grpc_port: int = 0
    apis: tuple[HttpApi, GrpcApi] | None = None

    def limit(self, limits: TrafficLimits, routers: int = 1) -> None:
        """Publish a table with these limits."""
        self._publish(replace(self.router.table.models["m"], limits=limits), routers)

    def divide(self, division: Division | None, *versions: int) -> None:
        """Publish a table in which these versions of `m` answer, and its requests are divided so."""
        routes = {version: Route.of(ServableId("m", version)) for version in versions}
        statuses = tuple(VersionStatus(version, State.AVAILABLE) for version in sorted(versions, reverse=True))
        model = self.router.table.models["m"]
        self._publish(
            replace(model, routes=routes, statuses=statuses, division=division, labels={"exact": versions[0]})
        )

    def _publish(self, model: ModelRoutes, routers: int = 1) -> None:
        table = self.router.table
        models = {**table.models, "m": model}
        newer = replace(table, generation=table.generation + 1, models=models, routers=routers)

        async def apply() -> None:
            self.router.apply(newer)

        self.loop.run(apply()).result(60)

    def refused(self, reason: str) -> float:
        """Return how many requests were counted as refused for this reason."""
        return self.metrics.snapshot().counters.get(REFUSED_REQUESTS.name, {}).get(("m", reason), 0)

    def call(self, method: str, body: bytes, metadata: Sequence[tuple[str, str | bytes]] = ()) -> grpc.Call:
        """Make a call with gRPC's own client; the call is returned with its outcome."""
        with grpc.insecure_channel(f"{HOST}:{self.grpc_port}") as channel:
            try:
                return channel.unary_unary(method).with_call(body, timeout=60, metadata=metadata)[1]
            except grpc.RpcError as error:
                return error


LimitedSiteMaker = Callable[..., LimitedSite]
Arguments = tuple[tuple[str, int | str], ...]
"""Channel arguments, with any of which gRPC's own library serves the port."""


def _model(name: str) -> ModelRoutes:
    return ModelRoutes({1: Route.of(ServableId(name, 1))}, {}, (VersionStatus(1, State.AVAILABLE),))


@contextmanager
def limited_sites() -> Iterator[LimitedSiteMaker]:
    """Yield a function that opens ports; all are closed in the end."""
    loop = LoopThread("limited-sites")
    opened: list[HttpDoor | GrpcDoor] = []

    def made(way: str = "short", limits: TrafficLimits | None = None, arguments: Arguments = ()) -> LimitedSite:
        transport, metrics = ByMethod(), Metrics()
        transport.sends_at_once = way == "short"
        router = RequestRouter("r", transport, metrics)
        router.apply(RoutingTable(1, {"m": _model("m"), "free": _model("free")}, settled=True))
        facts, port, grpc_port = ServerFacts(router, lambda: False), free_port(), free_port()
        rest_api = HttpApi(router, HttpLimits(), "t", others=(OipRest(facts, HttpLimits()),))
        grpc_api = GrpcApi(router, "t", _no_reload, others=(OipService(facts).service(),))
        rest_door = HttpDoor(HttpAddress(HOST, port), rest_api, "t")
        grpc_door = GrpcDoor(GrpcAddress(HOST, grpc_port, "", arguments), grpc_api, "t")
        for door in (rest_door, grpc_door):
            loop.run(door.open()).result(60)
            opened.append(door)
        site = LimitedSite(port, transport, router, rest_door, metrics, loop, grpc_port, (rest_api, grpc_api))
        if limits is not None:
            site.limit(limits)
        return site

    yield made
    for door in opened:
        loop.run(door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)


async def _no_reload(raw: bytes) -> bytes:
    return raw
