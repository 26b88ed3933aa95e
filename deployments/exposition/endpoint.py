"""`/metrics` of a router: the same sums as on TensorFlow Serving's page, in the format that a scrape asks for.

The watcher writes the page, because writing takes many times as long as adding up and would hold up the requests of a
router. While it does not answer, the router writes the newest sums that it or a sibling has.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from core.exposition.scrape import Scrape, read_scrape
from core.rest.http_answer import HttpAnswer, wrong_method
from deployments.exposition.sums_collector import Exposition, exposition
from deployments.rest.asgi import Scope, header
from deployments.rest.metrics_endpoint import HEADERS, UNKNOWN, MetricsPage, Sums
from deployments.telemetry.serve_failures import brief

log = logging.getLogger(__name__)

NO_WATCHER = (RayError, RayServeException)
"""What a call to a watcher that has ended raises; a time-out means that it is busy, and so would the router be."""

EXPOSITION_PATH: Final = "/metrics"
WRITE_TIMEOUT_S = 8.0
"""Prometheus waits for ten seconds."""

TOO_SLOW = HttpAnswer(503, b"The metrics could not be written in time.", HEADERS)


class ExpositionPage:
    """The page with the sums over the whole cluster, for everybody's Prometheus."""

    def __init__(self, sums: MetricsPage, watcher: Any) -> None:
        self._sums = sums
        self._watcher = watcher
        self._turn = asyncio.Lock()

    async def answer(self, scope: Scope, target: str) -> HttpAnswer:
        """Answer a request for the page."""
        if scope["method"] not in {"GET", "HEAD"}:
            return wrong_method(scope["method"], EXPOSITION_PATH)
        asked = (header(scope, name).decode("latin-1") for name in (b"accept", b"accept-encoding"))
        scrape = read_scrape(target, *asked)
        known = await self._sums.newest()
        if known is None:
            return UNKNOWN
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S), self._turn:
                return _answer(await self._written(*known, scrape))
        except TimeoutError:
            return TOO_SLOW

    async def _written(self, sums: Sums, age_s: float, scrape: Scrape) -> Exposition:
        if age_s == 0:
            try:
                written: Exposition = await self._watcher.expose.remote(sums.plain, scrape)
            except NO_WATCHER as error:
                log.info("metrics_not_written_by_watcher error=%r", brief(error))
            else:
                return written
        return await asyncio.to_thread(exposition, sums.plain, scrape, age_s)


def _answer(written: Exposition) -> HttpAnswer:
    headers = [(b"content-type", written.content_type.encode()), (b"vary", b"accept, accept-encoding")]
    if written.zipped:
        headers.append((b"content-encoding", b"gzip"))
    return HttpAnswer(200, written.body, tuple(headers))
