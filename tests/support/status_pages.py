"""Status documents as a router writes them, for tests of what shows them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from core.admin.status_document import AgedReport, Listener, RouterFacts, WatcherReport, status_document
from core.config.model_config import Rollout
from core.config.version_policy import All, Latest, Specific
from core.errors import Code, Problem
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.telemetry.traffic import Point, Rates, Traffic
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId, app_name
from deployments.pages.people_pages import people_pages
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.rest.status_endpoint import StatusPage
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.fakes import FakeTransport

METRICS_PATH = "/monitoring/prometheus/metrics"
BEGAN_S = 1_700_000_000.0
NOW_S = BEGAN_S + 7_500.0
FACTS = RouterFacts(
    "router-1",
    "1.2.3",
    BEGAN_S,
    (Listener("grpc", "[::]:8500", is_encrypted=True), Listener("rest", "[::]:8501")),
    ("models.config", "models.yaml"),
)
CURVE = tuple(
    Point(
        290.0 - 10.0 * place,
        Rates(100.0 + 100.0 * (place % 6 == 0) - place, 0.004, 0.25 - 0.005 * place, p95_s=0.08 - 0.001 * place),
    )
    for place in range(30)
)
TRAFFIC = {
    ("half_plus_two", "1"): Traffic(Rates(150.0, 0.0042, 0.25), CURVE),
    ("half_plus_two", "2"): Traffic(Rates(0.0)),
}
WATCHER_REPORT = WatcherReport({app_name(ServableId("half_plus_two", 1)): 3}, 1.5, TRAFFIC)


def model(name: str, *histories: tuple[int, VersionHistory], **known: Any) -> ModelRoutes:
    """Make a model with these versions; what is available answers."""
    answering = {number for number, one in histories if one.state is State.AVAILABLE}
    return ModelRoutes(
        routes={number: Route.of(ServableId(name, number)) for number in answering},
        statuses=tuple(VersionStatus(number, one.state) for number, one in sorted(histories, reverse=True)),
        histories=dict(histories),
        base_path=f"/models/{name}",
        **known,
    )


def busy_table(generation: int = 41) -> RoutingTable:
    """Return a table in which everything occurs that a table can hold."""
    failed = VersionHistory(
        State.END, since_s=BEGAN_S, failed_attempts=2, failure=Failure(Code.NOT_FOUND, "no SavedModel <here> & there")
    )
    again = VersionHistory(
        State.START,
        since_s=BEGAN_S,
        failed_attempts=1,
        retry_at_s=NOW_S + 60,
        failure=Failure(Code.INTERNAL, "crashed"),
    )
    models = {
        "half_plus_two": model(
            "half_plus_two",
            (1, VersionHistory(State.AVAILABLE, aspired=False, since_s=BEGAN_S, load_s=1.25)),
            (2, VersionHistory(State.LOADING, since_s=NOW_S - 20)),
            labels={"stable": 1, "canary": 2, "next": 9},
            held={"canary": 1},
            policy=Latest(1),
        ),
        "ranker": model("ranker", (3, failed), (4, again), policy=Specific(frozenset({3, 4}))),
        "old": model(
            "old",
            (7, VersionHistory(State.UNLOADING, aspired=False, since_s=NOW_S - 3)),
            configured=False,
            policy=All(),
        ),
        "gone": model("gone", (1, VersionHistory(State.END, aspired=False, since_s=BEGAN_S))),
        "words": model(
            "words",
            problem="NOT_FOUND: /models/words not found",
            waiting={5: "variables/variables.index is missing"},
            ignored={"tmp": "not a whole number"},
            rollout=Rollout.RESOURCE_PRESERVING,
        ),
    }
    problems = (Problem("is given twice", "models.config", 12, "model_config_list.config.name"),)
    return RoutingTable(generation, models, settled=True, in_force=ListInForce(problems=problems), started_s=BEGAN_S)


def document(table: RoutingTable, *, facts: RouterFacts = FACTS, known: AgedReport | None = None) -> dict[str, Any]:
    """Return the document of a table."""
    return status_document(table, facts, known or AgedReport(WATCHER_REPORT, 0.2, is_fresh=True), NOW_S)


class PageClock:
    """The wall clock of the documents, and a steady clock that goes on."""

    def wall_s(self) -> float:
        return NOW_S

    def steady_s(self) -> float:
        return time.monotonic()


class LivePage:
    """The page on a REST port without Ray, of a table that may change at any time."""

    def __init__(self, table: RoutingTable, port: int) -> None:
        self.table = table
        self.traffic = TRAFFIC
        self._status = StatusPage(self, lambda: FACTS, self._watcher_report, PageClock())
        self.url = f"http://127.0.0.1:{port}/"
        self._loop = LoopThread("status-page-test")
        self._port = port
        self._door: HttpDoor | None = None

    async def _watcher_report(self) -> WatcherReport:
        return replace(WATCHER_REPORT, traffic=self.traffic)

    def open(self) -> None:
        """Begin to answer, also once more."""
        api = HttpApi(
            RequestRouter("r", FakeTransport()), HttpLimits(), pages=people_pages(self._status.document, METRICS_PATH)
        )
        self._door = HttpDoor(HttpAddress("127.0.0.1", self._port), api, "")
        self._loop.run(self._door.open()).result(60)

    def close(self) -> None:
        """Answer no more."""
        if self._door is not None:
            self._loop.run(self._door.drain(1.0)).result(60)
            self._door = None

    def stop(self) -> None:
        """End it for good."""
        self.close()
        self._loop.stop()
        self._loop.join(60)
