"""The status document at a router: made from its table and the watcher's last report.

A request for the document asks the watcher for a report, at most once a second, and waits for a second at most; while
the watcher hangs, its last report is shown with its age.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from core.admin.messages import status_document_answer
from core.admin.status_document import AgedReport, RouterFacts, WatcherReport, status_json
from core.rest.http_answer import HttpAnswer, wrong_method
from deployments.access.guard import SIGHT
from deployments.routing.request_router import RequestRouter
from deployments.system.clock import Clock
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

PATH = "/status.json"
ASK_EVERY_S = 1.0
ASK_TIMEOUT_S = 1.0
GIVE_UP_AFTER_S = 10.0
"""A watcher that hangs is asked again after this time; no request waits that long."""

NO_STORE = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class StatusPage:
    """Serves the document over REST and gRPC."""

    def __init__(
        self,
        router: RequestRouter,
        facts: Callable[[], RouterFacts],
        ask: Callable[[], Awaitable[WatcherReport]],
        clock: Clock,
    ) -> None:
        self._router = router
        self._facts = facts
        self._ask = ask
        self._clock = clock
        self._report: WatcherReport | None = None
        self._at_s = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page."""
        del target
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, PATH)
        return HttpAnswer(200, await self.document(), NO_STORE)

    async def grpc_answer(self, raw: bytes) -> bytes:
        """Answer `GetStatus` of the Admin service."""
        del raw
        return status_document_answer(await self.document())

    async def document(self) -> bytes:
        """Return the present document."""
        known, sight = await self._known(), SIGHT.get()
        facts = self._facts() if sight.is_whole else self._facts().of_state_only()
        table = self._router.table
        return status_json(sight.table(table), facts, known, self._clock.wall_s(), table)

    async def _known(self) -> AgedReport:
        """Ask the watcher unless it was asked just now; requests that arrive meanwhile await the same answer."""
        if self._report is None or self._age_s() > ASK_EVERY_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._refresh())
            await asyncio.wait([self._asking], timeout=ASK_TIMEOUT_S)
        if self._report is None:
            return AgedReport()
        age_s = self._age_s()
        return AgedReport(self._report, age_s, is_fresh=age_s <= ASK_EVERY_S + ASK_TIMEOUT_S)

    def _age_s(self) -> float:
        return self._clock.steady_s() - self._at_s

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                self._report = await self._ask()
            self._at_s = self._clock.steady_s()
        except SERVE_FAILURES as error:
            log.info("watcher_report_unknown error=%r", brief(error))
