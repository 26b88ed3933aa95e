"""`/metrics` at a router's REST port, with a watcher that writes, hangs or has ended."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayError

from core.exposition.scrape import Scrape
from core.rest.http_answer import HttpAnswer
from core.telemetry.metric_ledger import Collected, Copy, plain_sums
from core.telemetry.metric_names import REQUEST_COUNT
from core.telemetry.metrics import Metrics
from deployments.exposition import endpoint
from deployments.exposition.endpoint import ExpositionPage
from deployments.exposition.sums_collector import Exposition, exposition
from deployments.rest import metrics_endpoint
from deployments.rest.metrics_endpoint import MetricsPage
from tests.support.fakes import FakeClock

SAMPLE = b'tensorflow_serving_request_count_total{model_name="m",status="OK"} 3.0\n'


class NoModelServers:
    """Model servers that have nothing to report."""

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Return nothing."""
        del timeout_s
        return []


class FakeWatcher:
    """Adds up and writes, unless it is told to do otherwise."""

    def __init__(self) -> None:
        metrics = Metrics()
        metrics.count(REQUEST_COUNT, "m", "OK", by=3)
        self.sums = plain_sums(metrics.snapshot())
        self.collects = self.writes = True
        self.write: Callable[[bytes, Scrape], Awaitable[Exposition]] = self._write
        self.written = 0
        self.collect = Remote(self._collect)
        self.expose = Remote(self._expose)

    async def _collect(self, *arguments: Any, with_page: bool) -> Collected:
        if not self.collects:
            raise RayError("dead")
        return Collected(b"page\n", Copy((1, 1), b"ledger"), self.sums)

    async def _expose(self, sums: bytes, scrape: Scrape) -> Exposition:
        return await self.write(sums, scrape)

    async def _write(self, sums: bytes, scrape: Scrape) -> Exposition:
        self.written += 1
        return exposition(sums, scrape, 0.0)


class Remote:
    """A method of a handle."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.remote = method


class NoSiblings:
    """The only router."""

    def broadcast(self, method: str) -> Any:
        """Fail as a handle does."""
        raise RayError(method)


class Site:
    """One router's page."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.watcher = FakeWatcher()
        where = ("/monitoring", "r1", NoModelServers(), self.watcher, NoSiblings())
        self.other = MetricsPage(*where, now_s=self.clock.wall_s)
        self.page = ExpositionPage(self.other, self.watcher)

    async def get(self, *headers: tuple[bytes, bytes], method: str = "GET", target: str = "/metrics") -> HttpAnswer:
        return await self.page.answer({"method": method, "headers": list(headers)}, target)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """A page that does not wait long."""
    monkeypatch.setattr(metrics_endpoint, "SUMS_TIMEOUT_S", 5.0)
    return Site()


async def test_the_watcher_writes_in_the_format_that_the_headers_ask_for(site) -> None:
    """A router that wrote itself would hold its requests up."""
    plain = await site.get()
    opened = await site.get((b"accept", b"application/openmetrics-text;version=1.0.0"), (b"accept-encoding", b"gzip"))

    headers = dict(opened.headers)
    assert (plain.status, dict(plain.headers)[b"content-type"]) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    assert b"content-encoding" not in dict(plain.headers)
    assert SAMPLE in plain.body
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0;")
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"vary"] == b"accept, accept-encoding"
    assert gzip.decompress(opened.body).endswith(b"# EOF\n")
    assert site.watcher.written == 2


async def test_names_in_the_target_choose_samples(site) -> None:
    """As the library's own servers do."""
    answer = await site.get(target="/metrics?name[]=tensorflow_serving_request_count_total")

    assert [one for one in answer.body.splitlines(keepends=True) if not one.startswith(b"#")] == [SAMPLE]


async def test_without_the_watcher_the_router_writes_the_last_sums_with_their_age(site) -> None:
    """The same numbers as on TensorFlow Serving's page."""
    await site.get()
    site.watcher.collects = False
    site.clock.advance(7)

    answer = await site.get()

    assert (answer.status, site.watcher.written) == (200, 1)
    assert SAMPLE in answer.body
    assert b"\nray_model_server_metrics_age_seconds 7.0\n" in answer.body


async def test_a_watcher_that_ends_while_it_writes_costs_no_scrape(site) -> None:
    """The sums are there already."""

    async def dies(*arguments: Any) -> Exposition:
        raise RayError("dead")

    site.watcher.write = dies
    answer = await site.get()

    assert answer.status == 200
    assert b"\nray_model_server_metrics_age_seconds 0.0\n" in answer.body


async def test_a_page_that_takes_too_long_is_refused(site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus would not wait longer, and the router has requests to answer."""
    monkeypatch.setattr(endpoint, "WRITE_TIMEOUT_S", 0.05)

    async def hangs(*arguments: Any) -> Exposition:
        await asyncio.Event().wait()
        raise AssertionError

    site.watcher.write = hangs
    answer = await site.get()

    assert (answer.status, answer.body) == (503, b"The metrics could not be written in time.")


async def test_without_any_sums_there_is_no_page(site) -> None:
    """Numbers that are too small would look like a restart of the whole server."""
    site.watcher.collects = False

    answer = await site.get()

    assert (answer.status, answer.body) == (503, b"The metrics are not known yet.")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
async def test_other_methods_than_get_are_refused(site, method) -> None:
    """Unlike on TensorFlow Serving's page, which takes any."""
    answer = await site.get(method=method)

    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"GET, HEAD")
    assert (await site.get(method="HEAD")).status == 200
