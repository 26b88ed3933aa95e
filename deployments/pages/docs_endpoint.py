"""The OpenAPI document in a viewer, at `/docs` of the REST port.

The viewer is Swagger UI as the package fastapi-swagger carries it. Its files are read where they lie: importing the
package would import a web framework.
"""

from __future__ import annotations

import asyncio
import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from core.pages.docs_html import VIEWER_POLICY, docs_page
from core.pages.frame import Links
from core.rest.http_answer import HttpAnswer, html_error, wrong_method
from deployments.pages.asset_files import SAFE, asset, page_headers

DOCS = "/docs"
FILES = "/docs/"
"""Where the files of the viewer lie."""

PACKAGE: Final = "fastapi_swagger"
VIEWER: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})
OWN: Final = frozenset({"docs.css", "docs.js"})
TYPES: Final = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8"}


class DocsPage:
    """Shows the document."""

    def __init__(self, metrics_path: str = "") -> None:
        self._body = docs_page(DOCS.removeprefix("/"), Links(metrics_path=metrics_path)).encode()

    async def answer(self, method: str, target: str) -> HttpAnswer:
        """Answer a request for the page."""
        del target
        if method not in {"GET", "HEAD"}:
            return wrong_method(method, DOCS)
        return HttpAnswer(200, self._body, page_headers(VIEWER_POLICY))


async def docs_file_answer(method: str, target: str) -> HttpAnswer:
    """Answer a request for a file of the viewer; only those that are listed here are there."""
    path = target.partition("#")[0].partition("?")[0]
    name = path.removeprefix(FILES)
    if name not in VIEWER | OWN:
        return html_error(404)
    if method not in {"GET", "HEAD"}:
        return wrong_method(method, path)
    content = await asyncio.to_thread(_content, name)
    kind = TYPES[name.rpartition(".")[2]]
    return HttpAnswer(200, content, ((b"content-type", kind), (b"cache-control", b"max-age=3600"), *SAFE))


@functools.cache
def _content(name: str) -> bytes:
    if name in OWN:
        return asset(name).encode()
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise FileNotFoundError(f"The package {PACKAGE} is not installed.")
    return (Path(package.origin).parent / "resources" / name).read_bytes()
