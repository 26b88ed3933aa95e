"""The status page at `/` of the REST port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from core.pages.frame import Links, StyleAndScript
from core.pages.status_html import status_page
from core.rest.http_answer import HttpAnswer, wrong_method
from deployments.pages.asset_files import REFRESH, assets, page_headers

PATH = "/"


class HtmlPage:
    """Renders the status document; `document` returns its present text."""

    def __init__(self, document: Callable[[], Awaitable[bytes]], metrics_path: str = "") -> None:
        self._document = document
        self._links = Links(metrics_path=metrics_path)

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page; it is rendered in a thread, because many models make it long."""
        del target
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, PATH)
        body = await asyncio.to_thread(self._rendered, await self._document())
        return HttpAnswer(200, body, page_headers(style_and_script().policy))

    def _rendered(self, document: bytes) -> bytes:
        return status_page(json.loads(document), style_and_script(), self._links).encode()


def style_and_script() -> StyleAndScript:
    """Return the style and the script of this page."""
    return assets(REFRESH)
