"""Tests of the status document at a router: fresh, shared, and there when the watcher hangs."""

from __future__ import annotations

import asyncio
import json

import pytest
from ray.exceptions import RayActorError

from core.admin.messages import read_status_answer
from core.admin.status_document import RouterFacts, WatcherReport
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.rest import status_endpoint
from deployments.rest.status_endpoint import ASK_EVERY_S, ASK_TIMEOUT_S, StatusPage
from deployments.routing.request_router import RequestRouter
from tests.support.fakes import FakeClock, FakeTransport

TABLE = RoutingTable(
    3,
    {"m": ModelRoutes({1: Route.of(ServableId("m", 1))}, statuses=(VersionStatus(1, State.AVAILABLE),))},
    settled=True,
)


class Asked:
    """A watcher that counts the replicas up each time it is asked, and may hang or be gone."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self) -> WatcherReport:
        self.count += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return WatcherReport({"m:1": self.count})


class Page:
    """A page with its clock and its watcher."""

    def __init__(self) -> None:
        self.clock, self.watcher = FakeClock(), Asked()
        router = RequestRouter("r", FakeTransport())
        router.apply(TABLE)
        facts = RouterFacts("r", "1", self.clock.wall_s())
        self.page = StatusPage(router, lambda: facts, self.watcher, self.clock)

    async def look(self) -> tuple[int | None, bool]:
        """Return the replicas that are shown, and whether the watcher answers."""
        document = json.loads(await self.page.document())
        return document["models"][0]["versions"][0]["replicas"], document["watcher"]["answers"]


async def test_the_watcher_is_asked_once_a_second_at_most() -> None:
    """However many look."""
    one = Page()

    assert await asyncio.gather(*(one.look() for _ in range(20))) == [(1, True)] * 20
    assert await one.look() == (1, True)
    one.clock.advance(ASK_EVERY_S + 0.1)

    assert await one.look() == (2, True)
    assert one.watcher.count == 2


async def test_while_the_watcher_hangs_its_last_answer_is_shown_with_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than a second, and it is not asked twice at a time."""
    monkeypatch.setattr(status_endpoint, "ASK_TIMEOUT_S", 0.05)
    one = Page()
    assert await one.look() == (1, True)
    one.watcher.may_answer.clear()
    one.clock.advance(ASK_EVERY_S + ASK_TIMEOUT_S + 1.0)

    assert await asyncio.gather(*(one.look() for _ in range(5))) == [(1, False)] * 5
    assert one.watcher.count == 2
    document = json.loads(await one.page.document())
    assert document["watcher"]["ticked_s_ago"] == pytest.approx(3.0)

    one.watcher.may_answer.set()
    await asyncio.sleep(0)
    assert await one.look() == (2, True)


async def test_a_question_that_is_never_answered_is_put_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher was replaced while we waited for the old one."""
    monkeypatch.setattr(status_endpoint, "ASK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(status_endpoint, "GIVE_UP_AFTER_S", 0.1)
    one = Page()
    one.watcher.may_answer.clear()
    assert await one.look() == (None, False)
    while not one.page._asking.done():
        await asyncio.sleep(0.001)
    one.watcher.may_answer.set()

    assert await one.look() == (2, True)


async def test_a_watcher_that_is_gone_is_no_error() -> None:
    """The table says the rest."""
    one = Page()
    one.watcher.error = RayActorError()

    assert await one.look() == (None, False)


async def test_rest_and_grpc_give_the_same_document() -> None:
    """Other methods than GET and HEAD are refused."""
    one = Page()
    answer = await one.page.answer("GET", "/status.json")

    assert (answer.status, dict(answer.headers)[b"cache-control"]) == (200, b"no-store")
    assert read_status_answer(await one.page.grpc_answer(b"")).encode() == answer.body
    assert (await one.page.answer("POST", "/status.json")).status == 405
