"""A gRPC port with the Admin service, a watcher that turns, and Serve in memory: what the commands talk to."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Self, TypeVar

from core.admin.status_document import RouterFacts, WatcherReport
from core.errors import Code
from core.profiling.profile_request import RecordingOrder
from core.routing.table import Route
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.grpc.services import GrpcService
from deployments.rest.status_endpoint import StatusPage
from deployments.routing.profile_call import answer_profile
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from deployments.versions.config_requests import ConfigRequests
from deployments.versions.rollout_requests import RolloutRequests
from tests.support.clients import free_port
from tests.support.fakes import FakeTransport
from tests.support.order_book import OrderBook
from tests.support.sites import Site

T = TypeVar("T")


def _raised(answer: Any) -> bytes:
    """Turn an error that travelled as a value into one that is raised, as the router does."""
    if isinstance(answer, Exception):
        raise answer
    return bytes(answer)


class AdminServer:
    """Serves a site's watcher until the block ends; a context manager. Time in it passes quickly."""

    def __init__(self, site: Site, **address: Any) -> None:
        self.site = site
        self.port = 0 if "socket_path" in address else free_port()
        self.is_turning = True
        self.recording_error: Exception | None = None
        self.orders: OrderBook | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._loop = LoopThread("admin-server")
        self._ticks = threading.Thread(target=self._turn, daemon=True)
        self.router = RequestRouter("r", FakeTransport())
        self.facts = RouterFacts("r", "1.2.3", site.clock.wall_s(), files=("/m.config",))
        requests = ConfigRequests(site.watch, self._wake.set)
        self.page = StatusPage(self.router, lambda: self.facts, self._watcher_report, site.clock)

        async def get(raw: bytes) -> bytes:
            return _raised(await requests.get(raw))

        async def change(raw: bytes) -> bytes:
            return _raised(await requests.change(raw))

        async def reload(raw: bytes) -> bytes:
            return _raised(await requests.reload(raw))

        rollouts = RolloutRequests(site.watch, self._wake.set)

        async def order(raw: bytes) -> bytes:
            """Answer by the book, if there is one."""
            return await self.orders.answer(raw) if self.orders is not None else _raised(await rollouts.change(raw))

        self.requests = {"get_config": get, "change_config": change}
        profile = partial(answer_profile, lambda: self.router.table, self._record)
        admin = {
            "GetConfig": get,
            "ChangeConfig": change,
            "GetStatus": self.page.grpc_answer,
            "Profile": profile,
            "ChangeRollout": order,
        }
        api = GrpcApi(self.router, "token", reload, admin=admin, others=self._others())
        self._door = GrpcDoor(GrpcAddress("127.0.0.1", self.port, **address), api, "token")

    def _others(self) -> Sequence[GrpcService]:
        """Return the further services of the port."""
        return ()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop of the port and wait for it."""
        return self._loop.run(work).result(60)

    async def _watcher_report(self) -> WatcherReport:
        divided = self.site.watch.rollouts.divided(self.site.clock.steady_s())
        return WatcherReport(dict.fromkeys(self.site.host.running, 1), divided=divided)

    async def _record(self, route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        if self.recording_error is not None:
            raise self.recording_error
        return Code.OK, f"{route.app} for {order.seconds:g} s".encode()

    def _turn(self) -> None:
        while not self._stop.is_set():
            if self.is_turning:
                self.site.tick(0.2)
                self.site.host.progress()
                self.router.apply(self.site.router.table)
            self._wake.wait(0.01)
            self._wake.clear()

    def __enter__(self) -> Self:
        self.run(self._door.open())
        self._ticks.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._wake.set()
        self._ticks.join(10)
        self.run(self._door.drain(0.1))
        self._loop.stop()
