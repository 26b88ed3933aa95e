"""The page with metrics at a router, with a watcher and siblings that answer, hang or fail as told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayError

from core.rest.http_answer import HttpAnswer
from core.telemetry.metric_ledger import NO_STAMP, Collected, Copy, Stamp
from deployments.rest import metrics_endpoint
from deployments.rest.metrics_endpoint import MetricsPage, Sums
from deployments.telemetry.process_metrics import process_name
from tests.support.fakes import FakeClock

PATH = "/monitoring/prometheus/metrics"


class FakeModelServers:
    """Model servers with these reports."""

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Return them at once."""
        del timeout_s
        return [b"model server"]


class FakeWatcher:
    """Adds up; `answer` makes the answer from page and copy, or fails, or hangs."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[bytes], Stamp, bool]] = []
        self.version = 1
        self.answer: Callable[[], Awaitable[Collected | None]] = self.sums
        self.collect = self

    async def remote(self, router: str, reports: list[bytes], have: Stamp, *, with_page: bool) -> Collected | None:
        """Answer as a handle does."""
        assert router == "r1"
        self.asked.append((reports, have, with_page))
        return await self.answer()

    async def sums(self) -> Collected:
        """Return sums that name their version."""
        _, have, _ = self.asked[-1]
        stamp = (1, self.version)
        copy = None if have == stamp else Copy(stamp, f"ledger {self.version}".encode())
        return Collected(f"page {self.version}\n".encode(), copy)

    async def starts(self) -> None:
        """Know nothing yet."""

    async def fails(self) -> Collected:
        """Be dead."""
        raise RayError("dead")

    async def hangs(self) -> Collected:
        """Never answer."""
        await asyncio.Event().wait()
        raise AssertionError


class FakeSiblings:
    """Routers that have these sums, this one among them; none answers when `sums` is None."""

    def __init__(self) -> None:
        self.sums: list[Sums | None] | None = []

    def broadcast(self, method: str) -> Any:
        """Ask as a handle does."""
        assert method == "metrics_sums"
        return self

    async def results_async(self) -> list[Sums | None]:
        """Return all answers."""
        if self.sums is None:
            raise RayError("gone")
        return self.sums


class Site:
    """One router's page."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.watcher = FakeWatcher()
        self.siblings = FakeSiblings()
        self.page = MetricsPage(PATH, "r1", FakeModelServers(), self.watcher, self.siblings, now_s=self.clock.wall_s)

    async def get(self) -> HttpAnswer:
        return await self.page.answer("GET", PATH)


def body(version: int, age_s: int = 0) -> bytes:
    """Return the page with the sums of this version."""
    name = "ray_model_server_metrics_age_seconds"
    text = "Age of the metrics on this page; above 0 while the watcher does not answer."
    return f"page {version}\n# HELP {name} {text}\n# TYPE {name} gauge\n{name}{{}} {age_s}\n".encode()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """A page that does not wait long."""
    monkeypatch.setattr(metrics_endpoint, "SUMS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(metrics_endpoint, "REPORT_EVERY_S", 0.01)
    monkeypatch.setattr(metrics_endpoint, "REPORT_TIMEOUT_S", 0.05)
    return Site()


async def test_the_page_shows_the_sums_of_the_watcher(site) -> None:
    """Which gets the numbers of this router and of all model servers, and says only what is new to this router."""
    answers = [await site.get() for _ in range(2)]

    assert [(one.status, one.body) for one in answers] == [(200, body(1))] * 2
    assert answers[0].headers == ((b"content-type", b"text/plain"),)
    (reports, first_have, with_page), (_, then_have, _) = site.watcher.asked
    assert (process_name().encode() in reports[0], reports[1:], with_page) == (True, [b"model server"], True)
    assert (first_have, then_have) == (NO_STAMP, (1, 1))
    assert site.page.kept == b"ledger 1"


async def test_case_P8_another_target_is_refused(site) -> None:
    """Bytes that are no UTF-8 come back as they were."""
    answer = await site.page.answer("GET", f"{PATH}?x=\udcff")

    assert (answer.status, answer.body) == (
        400,
        b"Unexpected path: " + PATH.encode() + b"?x=\xff. Should be " + PATH.encode(),
    )
    assert site.watcher.asked == []


@pytest.mark.parametrize("how", ["fails", "hangs", "starts"])
async def test_without_the_watcher_the_last_sums_are_shown_with_their_age(site, how) -> None:
    """Dead, hanging, or only just started."""
    await site.get()
    site.clock.advance(7)
    site.watcher.answer = getattr(site.watcher, how)

    answer = await site.get()

    assert (answer.status, answer.body) == (200, body(1, age_s=7))


async def test_a_wall_clock_that_stepped_back_makes_no_negative_age(site) -> None:
    """The age is of the wall clock, because sums travel between routers."""
    await site.get()
    site.clock.wall_ahead_s -= 100
    site.watcher.answer = site.watcher.fails

    assert (await site.get()).body == body(1)


async def test_without_the_watcher_the_newest_sums_of_all_routers_are_shown(site) -> None:
    """So that numbers do not fall when another router is asked."""
    await site.get()
    newest = Sums(b"page 3\n", Copy((1, 3), b"ledger 3"), site.clock.wall_s())
    site.siblings.sums = [None, Sums(b"page 2\n", Copy((1, 2), b"ledger 2"), 0.0), newest, site.page.sums]
    site.watcher.answer = site.watcher.fails

    assert (await site.get()).body == body(3)
    assert site.page.kept == b"ledger 3"


async def test_siblings_that_know_less_change_nothing(site) -> None:
    """Nor does one whose copy this router has already."""
    await site.get()
    site.watcher.version = 2
    await site.get()
    site.watcher.answer = site.watcher.fails
    site.siblings.sums = [Sums(b"page 1\n", Copy((1, 1), b"ledger 1"), 0.0)]

    assert (await site.get()).body == body(2)
    site.siblings.sums = None
    assert (await site.get()).body == body(2)


async def test_without_any_sums_there_is_no_page(site) -> None:
    """Numbers that are too small would look like a restart of the whole server."""
    site.watcher.answer = site.watcher.fails

    answer = await site.get()

    assert (answer.status, answer.body, site.page.kept) == (503, b"The metrics are not known yet.", None)


async def test_pages_are_made_one_after_the_other(site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page must not be older than one that was shown before it."""
    monkeypatch.setattr(metrics_endpoint, "SUMS_TIMEOUT_S", 60.0)
    gate = asyncio.Event()

    async def slow() -> Collected:
        await gate.wait()
        return await site.watcher.sums()

    site.watcher.answer = slow
    asked = [asyncio.ensure_future(site.get()) for _ in range(2)]
    while not site.watcher.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(site.watcher.asked) == 1
    gate.set()

    assert [(await one).status for one in asked] == [200, 200]


async def test_numbers_are_brought_also_while_nobody_looks(site) -> None:
    """Whatever happens to the watcher meanwhile."""
    reporting = asyncio.ensure_future(site.page.report_regularly())
    for how in (site.watcher.fails, site.watcher.hangs, site.watcher.starts, site.watcher.sums):
        before = len(site.watcher.asked)
        site.watcher.answer = how
        async with asyncio.timeout(60):
            while len(site.watcher.asked) < before + 2:
                await asyncio.sleep(0.005)
    reporting.cancel()

    assert {with_page for _, _, with_page in site.watcher.asked} == {False}
    assert (site.page.kept, site.page.sums) == (b"ledger 1", None)
