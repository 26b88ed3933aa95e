"""All pages for people, by their paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.rest.http_answer import HttpAnswer
from deployments.pages.docs_endpoint import DOCS, FILES, DocsPage, docs_file_answer
from deployments.pages.html_endpoint import PATH, HtmlPage
from deployments.pages.model_endpoint import MODELS, ModelPage


def people_pages(
    document: Callable[[], Awaitable[bytes]], metrics_path: str
) -> dict[str, Callable[[str, str], Awaitable[HttpAnswer]]]:
    """Return what answers a method and a target at each path, and below those that end in a slash.

    `document` returns the present status document; `metrics_path` is empty where there are no metrics.
    """
    return {
        PATH: HtmlPage(document, metrics_path).answer,
        MODELS: ModelPage(document, metrics_path).answer,
        DOCS: DocsPage(metrics_path).answer,
        FILES: docs_file_answer,
    }
