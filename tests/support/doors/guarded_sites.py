"""Both ports of a router with an access file, whose versions answer from memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from core.access.rights import STATUS
from core.access.token_hashes import sha256_of
from core.admin.status_document import Listener, RouterFacts, WatcherReport
from core.errors import Code, Problem
from core.oip.rest_body import ALL_JSON, footer
from core.rest.http_answer import HttpAnswer
from core.rest.rights import PlacedPage
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call
from core.telemetry.metrics import Metrics
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId
from deployments.access.followed_rules import FollowedRules
from deployments.access.guard import Guard, LocalGuard, RuledGuard
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.oip.extensions import extensions_of
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.pages.people_pages import people_pages
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.rest.status_endpoint import StatusPage
from deployments.routing.access_log import AccessLog
from deployments.routing.request_router import RequestRouter
from deployments.system.clock import SystemClock
from deployments.system.event_loop import LoopThread
from tests.support.clients import Reply, free_port
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeTransport

SECRET_PATH = "/secret/models"
SECRET_ERROR = f"Failed in {SECRET_PATH}/broken/1"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def _broken() -> ModelRoutes:
    failure = Failure(Code.NOT_FOUND, SECRET_ERROR)
    return ModelRoutes(
        {},
        {},
        (VersionStatus(1, State.END, Code.NOT_FOUND, SECRET_ERROR),),
        problem=SECRET_ERROR,
        ignored={"x": SECRET_ERROR},
        waiting={3: SECRET_ERROR},
        histories={1: VersionHistory(State.END, failure=failure)},
        base_path=f"{SECRET_PATH}/broken",
    )


def _good(name: str) -> ModelRoutes:
    route = Route.of(ServableId(name, 1))
    return ModelRoutes({1: route}, {"stable": 1}, (VersionStatus(1, State.AVAILABLE),), base_path=SECRET_PATH)


GUARDED_TABLE = RoutingTable(
    1,
    {"m": _good("m"), "unseen": _good("unseen"), "broken": _broken()},
    settled=True,
    in_force=ListInForce(problems=(Problem(SECRET_ERROR, f"{SECRET_PATH}/models.config"),)),
)
"""Two models that answer and one that cannot be loaded, whose errors and paths are nobody's business."""


def hash_of(token: str) -> str:
    """Return a token as an access file has it."""
    return f"sha256:{sha256_of(token.encode()).hex()}"


def client_of(name: str, *groups: str, models: tuple[str, ...] = (), token: str = "", more: str = "") -> str:
    """Write a client of an access file; its token is its name and `-token`."""
    names = ", ".join(f'"{one}"' for one in models)
    for_models = f", models: [{names}]" if models else ""
    return (
        f'  {name}:\n    tokens: ["{hash_of(token or f"{name}-token")}"]\n'
        f"    allow: [{{groups: [{', '.join(groups)}]{for_models}}}]\n{more}"
    )


class GuardedTransport(FakeTransport):
    """Answers every protocol in its form."""

    async def call(self, route: Route, call: Call) -> Answer:
        self.answer = Answer(Code.OK, b"{}" + footer(ALL_JSON) if call.method.name.startswith("OIP") else b"{}")
        return await super().call(route, call)


class GuardedSite:
    """The ports, and what tests look at behind them."""

    def __init__(self, loop: LoopThread, guard: Guard, *, host: str = "127.0.0.1", **options: Any) -> None:
        self.loop, self.guard = loop, guard
        self.transport = GuardedTransport()
        self.transport.sends_at_once = options.get("is_short", True)
        self.router = RequestRouter("r", self.transport, Metrics())
        self.router.apply(GUARDED_TABLE)
        self.handed_over: list[str] = []
        status = StatusPage(self.router, self._facts, self._report, SystemClock())
        facts = ServerFacts(self.router, lambda: False)
        more = extensions_of(facts, self._hand_over, self, has_repository=True)
        limits = HttpLimits(cors=options.get("cors", False))
        access = AccessLog(1.0) if options.get("is_logged") else None
        pages = {"/status.json": PlacedPage(status.answer, STATUS), **people_pages(status.document, "")}
        pages |= dict.fromkeys(("/metrics", *options.get("metrics_at", ())), PlacedPage(self._metrics))
        others = (OipRest(facts, limits, more.handlers),)
        api = HttpApi(self.router, limits, "t", pages, access=access, others=others, guard=guard)
        self.port, self.grpc_port = free_port(), free_port()
        tls = str(options.get("tls", ""))
        self._rest = HttpDoor(HttpAddress(host, self.port, str(options.get("socket_path", "")), tls), api, "t")
        self.grpc_api = GrpcApi(
            self.router,
            "t",
            self._changed("reload"),
            session_run=True,
            admin={
                "GetConfig": self._changed("get_config"),
                "ChangeConfig": self._changed("change_config"),
                "GetStatus": status.grpc_answer,
                "Profile": self._changed("profile"),
                "ChangeRollout": self._changed("change_rollout"),
            },
            access=access,
            others=(OipService(facts, more.methods).service(),),
            guard=guard,
        )
        arguments = (("grpc.max_concurrent_streams", 100),) if options.get("by_library") else ()
        address = GrpcAddress(host, self.grpc_port, str(options.get("grpc_socket_path", "")), arguments, tls)
        self._grpc = GrpcDoor(address, self.grpc_api, "t")
        loop.run(self._open()).result(60)

    async def _open(self) -> None:
        await self._rest.open()
        await self._grpc.open()
        self._grpc.health.open(GUARDED_TABLE)

    def close(self) -> None:
        """Close the ports."""
        for door in (self._rest, self._grpc):
            self.loop.run(door.drain(0.5)).result(60)

    def _facts(self) -> RouterFacts:
        listener = Listener("grpc", "secret-address:8500")
        return RouterFacts("r", "1", 0.0, (listener,), (SECRET_PATH,), problems=self.guard.problems)

    async def _report(self) -> WatcherReport:
        return WatcherReport()

    async def _metrics(self, method: str, target: str) -> HttpAnswer:
        return HttpAnswer(200, b"secret metrics")

    async def reports(self, timeout_s: float) -> list[bytes]:
        return []

    async def _hand_over(self, method: str, raw: bytes) -> bytes:
        self.handed_over.append(method)
        return b""

    def _changed(self, method: str) -> Callable[[bytes], Any]:
        async def changed(raw: bytes) -> bytes:
            self.handed_over.append(method)
            return b""

        return changed

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Reply:
        """Send an HTTP request on a connection of its own."""
        with RawConnection(self.port) as connection:
            return connection.ask(request(method, target, body, *headers), method)

    def call(self, path: str, raw: bytes = b"", *metadata: tuple[str, str], address: str = "", **options: Any) -> bytes:
        """Call a gRPC method; raises grpc.RpcError."""
        with grpc.insecure_channel(address or f"127.0.0.1:{self.grpc_port}", **options) as channel:
            answer: bytes = channel.unary_unary(path)(raw, metadata=metadata, timeout=20)
        return answer

    def code(self, path: str, raw: bytes = b"", *metadata: tuple[str, str], **options: Any) -> str:
        """Return the code of a call."""
        try:
            self.call(path, raw, *metadata, **options)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


def bearer(token: str) -> tuple[str, str]:
    """Return the metadata that shows a token."""
    return ("authorization", f"Bearer {token}")


class GuardedSites:
    """Opens ports behind guards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = LoopThread("guarded-sites")
        self._sites: list[GuardedSite] = []
        self.followed: list[FollowedRules] = []

    @property
    def file(self) -> Path:
        """The access file."""
        return self._folder / "access.yaml"

    def ruled(self, content: str, **options: Any) -> GuardedSite:
        """Open ports with an access file."""
        self.file.write_text(content)
        followed = FollowedRules(str(self.file), look_every_s=0.02)
        self.followed.append(followed)
        return self._opened(RuledGuard(followed), **options)

    def unruled(self, *, remote_admin: bool = False, **options: Any) -> GuardedSite:
        """Open ports without an access file."""
        return self._opened(LocalGuard(is_open=remote_admin), **options)

    def _opened(self, guard: Guard, **options: Any) -> GuardedSite:
        site = GuardedSite(self._loop, guard, **options)
        self._sites.append(site)
        return site

    def close(self) -> None:
        """Close everything."""
        for site in self._sites:
            site.close()
        for one in self.followed:
            one.close()
        self._loop.stop()
        self._loop.join(60)


@contextmanager
def guarded_sites(folder: Path) -> Iterator[GuardedSites]:
    """Yield what opens ports; all are closed in the end."""
    sites = GuardedSites(folder)
    yield sites
    sites.close()


def eventually(is_true: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait until something is true; False if it does not become so."""
    ends_at = time.monotonic() + timeout_s
    while not (seen := is_true()) and time.monotonic() < ends_at:
        time.sleep(0.01)
    return seen
