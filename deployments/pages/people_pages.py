"""All pages for people, by their paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.access.rights import METADATA, STATUS
from core.rest.rights import PlacedPage
from deployments.pages.docs_endpoint import DOCS, FILES, DocsPage, docs_file_answer
from deployments.pages.html_endpoint import PATH, HtmlPage
from deployments.pages.model_endpoint import MODELS, ModelPage


def people_pages(document: Callable[[], Awaitable[bytes]], metrics_path: str) -> dict[str, PlacedPage]:
    """Return the pages, each with what its readers need: those of the state show what they may see.

    `document` returns the present status document; `metrics_path` is empty where there are no metrics.
    """
    return {
        PATH: PlacedPage(HtmlPage(document, metrics_path).answer, STATUS, is_root=True),
        MODELS: PlacedPage(ModelPage(document, metrics_path).answer, STATUS, is_folder=True),
        DOCS: PlacedPage(DocsPage(metrics_path).answer, METADATA),
        FILES: PlacedPage(docs_file_answer, METADATA, is_folder=True),
    }
