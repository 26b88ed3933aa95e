"""The status page at `/` of the REST port."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from importlib import resources

from core.admin.status_html import StyleAndScript, status_page
from core.rest.http_answer import HttpAnswer, wrong_method

PATH = "/"


class HtmlPage:
    """Renders the status document; `document` returns its present text."""

    def __init__(self, document: Callable[[], Awaitable[bytes]]) -> None:
        self._document = document

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page; it is rendered in a thread, because many models make it long."""
        del target
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, PATH)
        body = await asyncio.to_thread(_rendered, await self._document())
        return HttpAnswer(200, body, _headers())


def _rendered(document: bytes) -> bytes:
    return status_page(json.loads(document), style_and_script()).encode()


@functools.cache
def style_and_script() -> StyleAndScript:
    """Return the style and the script that come with this package."""
    pages = resources.files("deployments.rest") / "pages"
    return StyleAndScript((pages / "status.css").read_text("utf-8"), (pages / "status.js").read_text("utf-8"))


@functools.cache
def _headers() -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", style_and_script().policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    )
