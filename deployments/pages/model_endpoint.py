"""The page of each model at `/models/NAME` of the REST port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from core.pages.frame import Links, StyleAndScript
from core.pages.model_html import missing_page, model_page
from core.pages.version_cells import WITHOUT_PAGE, path_part
from core.rest.http_answer import HttpAnswer, wrong_method
from core.rest.path import decoded
from deployments.pages.asset_files import REFRESH, SAFE, assets, page_headers

MODELS = "/models/"
"""Where the pages of models lie, each at its name."""


class ModelPage:
    """Renders one model of the status document; `document` returns its present text."""

    def __init__(self, document: Callable[[], Awaitable[bytes]], metrics_path: str = "") -> None:
        self._document = document
        self._links = Links("../", metrics_path)

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page of the model whose name ends the path; 404 without such a model.

        A name whose slashes are not escaped, or that a slash follows, leads to the address with the escaped name: all
        links of the page start there.
        """
        path = target.partition("#")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, path)
        return await asyncio.to_thread(self._rendered, await self._document(), path.removeprefix(MODELS))

    def _rendered(self, document: bytes, written: str) -> HttpAnswer:
        known, name = json.loads(document), decoded(written)
        meant = _meant(known, name)
        if "/" in written and meant not in WITHOUT_PAGE:
            place = f"{'../' * written.count('/')}{path_part(meant)}"  # relative, for those behind a prefix
            return HttpAnswer(307, b"", ((b"location", place.encode()), (b"cache-control", b"no-store"), *SAFE))
        found = model_page(known, name, model_assets(), self._links)
        shown = found if found is not None else missing_page(name, model_assets(), self._links)
        headers = page_headers(model_assets().policy)
        return HttpAnswer(404 if found is None else 200, shown.encode("utf-8", "replace"), headers)


def _meant(document: Mapping[str, Any], name: str) -> str:
    """Return the model that a name stands for: slashes at its end are its own only where there is such a model."""
    return name if any(one["name"] == name for one in document["models"]) else name.rstrip("/")


def model_assets() -> StyleAndScript:
    """Return the style and the scripts of this page."""
    return assets("json_text.js", "example_body.js", "snippets.js", REFRESH, "request_form.js")
