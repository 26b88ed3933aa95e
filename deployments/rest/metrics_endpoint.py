"""The metrics page of a router: collects the reports of the model servers, has them summed, and shows the sums.

The watcher sums (`deployments.telemetry.collector`). While it does not answer, the page shows the newest sums of this
router or of its siblings, and `ray_model_server_metrics_age_seconds` says how old they are. A router without any sums
answers 503, because sums that are too small would look like a restart of the whole server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from core.rest.http_answer import HttpAnswer
from core.telemetry.metric_ledger import NO_STAMP, Collected, Copy, Stamp
from core.telemetry.metric_names import METRICS_AGE
from core.telemetry.metric_page import CONTENT_TYPE, page
from core.telemetry.metrics import MetricSnapshot
from deployments.telemetry.process_metrics import report
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

REPORT_EVERY_S = 10.0
GATHER_TIMEOUT_S = 0.3
SUMS_TIMEOUT_S = 0.9
SIBLINGS_TIMEOUT_S = 0.5
REPORT_TIMEOUT_S = 5.0

HEADERS = ((b"content-type", CONTENT_TYPE),)
UNKNOWN = HttpAnswer(503, b"The metrics are not known yet.", HEADERS)
NO_SUMS = b"{}"


class ModelServers(Protocol):
    """The source of the model servers' reports."""

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Return the reports of the model servers that answer in time."""
        ...


@dataclass(frozen=True, slots=True)
class Sums:
    """The page at one moment, and the copy of the ledger that it was made from; `at_s` is of the wall clock."""

    page: bytes
    copy: Copy
    at_s: float
    plain: bytes = NO_SUMS
    """The same as JSON, from which pages in other formats are made."""


class MetricsPage:
    """The page with the sums over the whole cluster."""

    def __init__(
        self,
        path: str,
        name: str,
        model_servers: ModelServers,
        watcher: Any,
        siblings: Any,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._name = name
        self._model_servers = model_servers
        self._watcher = watcher
        self._siblings = siblings
        self._now_s = now_s
        self._turn = asyncio.Lock()
        self._copy: Copy | None = None
        self.sums: Sums | None = None

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page, whatever its method (TensorFlow Serving, Monitoring)."""
        del method
        if target != self.path:
            text = f"Unexpected path: {target}. Should be {self.path}"
            return HttpAnswer(400, text.encode("utf-8", "surrogateescape"), HEADERS)
        known = await self.newest()
        if known is None:
            return UNKNOWN
        sums, age_s = known
        return HttpAnswer(200, sums.page + _age(age_s), HEADERS)

    async def newest(self) -> tuple[Sums, float] | None:
        """Return the newest sums and their age in seconds, 0 for those of now; None while none are known."""
        is_fresh = True
        try:
            async with asyncio.timeout(SUMS_TIMEOUT_S):
                await self._refresh()
        except SERVE_FAILURES as error:
            log.info("metrics_not_fresh error=%r", brief(error))
            await self._ask_siblings()
            is_fresh = False
        if self.sums is None:
            return None
        return self.sums, 0.0 if is_fresh else max(0.0, self._now_s() - self.sums.at_s)

    async def _refresh(self) -> None:
        """Refresh the sums; one request after the other, so that no page is older than an earlier one.

        Raises TimeoutError when there are none.
        """
        async with self._turn:
            reports = await self._gathered()
            collected = await self._collected(reports, with_page=True)
            if collected is None or self._copy is None:
                raise TimeoutError("the watcher has just started")
            self.sums = Sums(collected.page, self._copy, self._now_s(), collected.plain)

    async def _gathered(self) -> list[bytes]:
        return [report(), *await self._model_servers.reports(GATHER_TIMEOUT_S)]

    async def _collected(self, reports: list[bytes], *, with_page: bool) -> Collected | None:
        """Send reports to the watcher, and keep the copy of the ledger that it returns."""
        collected: Collected | None = await self._watcher.collect.remote(
            self._name, reports, self._stamp, with_page=with_page
        )
        if collected is not None and collected.copy is not None:
            self._copy = collected.copy
        return collected

    @property
    def _stamp(self) -> Stamp:
        return self._copy.stamp if self._copy is not None else NO_STAMP

    @property
    def kept(self) -> bytes | None:
        """The ledger that a new watcher continues from."""
        return self._copy.ledger if self._copy is not None else None

    async def _ask_siblings(self) -> None:
        """Take the newest page of all routers, so that each of them shows the same."""
        try:
            answers: list[Sums | None] = await asyncio.wait_for(
                self._siblings.broadcast("metrics_sums").results_async(), SIBLINGS_TIMEOUT_S
            )
        except SERVE_FAILURES as error:
            log.info("sibling_metrics_missed error=%r", brief(error))
            return
        for sums in answers:
            if sums is not None and (self.sums is None or sums.copy.stamp > self.sums.copy.stamp):
                self.sums = sums
                if sums.copy.stamp > self._stamp:
                    self._copy = sums.copy

    async def report_now(self) -> None:
        """Send the present metrics to the watcher; raises SERVE_FAILURES."""
        await self._collected(await self._gathered(), with_page=False)

    async def report_regularly(self) -> None:
        """Send the metrics to the watcher even while the page is not read, so that little is lost at the end."""
        while True:
            try:
                async with asyncio.timeout(REPORT_TIMEOUT_S):
                    await self.report_now()
            except SERVE_FAILURES as error:
                log.info("metrics_not_reported error=%r", brief(error))
            await asyncio.sleep(REPORT_EVERY_S)


def _age(seconds: float) -> bytes:
    return page((METRICS_AGE,), MetricSnapshot(gauges={METRICS_AGE.name: {(): seconds}}))
