"""The page of each model at `/models/NAME` of the REST port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from core.pages.frame import Links, StyleAndScript
from core.pages.model_html import missing_page, model_page
from core.rest.http_answer import HttpAnswer, wrong_method
from core.rest.path import decoded
from deployments.pages.asset_files import REFRESH, assets, page_headers

MODELS = "/models/"
"""Where the pages of models lie, each at its name."""


class ModelPage:
    """Renders one model of the status document; `document` returns its present text."""

    def __init__(self, document: Callable[[], Awaitable[bytes]], metrics_path: str = "") -> None:
        self._document = document
        self._links = Links("../", metrics_path)

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page of the model whose name ends the path; 404 without such a model."""
        path = target.partition("#")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, path)
        return await asyncio.to_thread(self._rendered, await self._document(), decoded(path.removeprefix(MODELS)))

    def _rendered(self, document: bytes, name: str) -> HttpAnswer:
        found = model_page(json.loads(document), name, model_assets(), self._links)
        shown = found if found is not None else missing_page(name, model_assets(), self._links)
        headers = page_headers(model_assets().policy)
        return HttpAnswer(404 if found is None else 200, shown.encode("utf-8", "replace"), headers)


def model_assets() -> StyleAndScript:
    """Return the style and the scripts of this page."""
    return assets("json_text.js", "example_body.js", "snippets.js", REFRESH, "request_form.js")
