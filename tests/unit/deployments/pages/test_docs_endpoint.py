"""The OpenAPI document in its viewer, at `/docs` of a REST port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.pages.docs_html import VIEWER_POLICY
from tests.support.browser import SOON_MS, new_context
from tests.support.clients import RestClient, free_port
from tests.support.status_pages import LivePage, busy_table

pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def live() -> Iterator[LivePage]:
    """A server."""
    page = LivePage(busy_table(), free_port())
    page.open()
    yield page
    page.stop()


def test_the_document_is_shown_without_help_from_outside(chrome: Any, live: LivePage) -> None:
    """Each operation, narrow and dark too; no policy is broken, and every request goes to the server itself."""
    faults: list[str] = []
    seen: list[str] = []
    context = new_context(chrome, viewport={"width": 400, "height": 800}, color_scheme="dark")
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda line: faults.append(line.text))
    tab.on("request", lambda request: seen.append(request.url))
    tab.goto(f"{live.url}docs")
    tab.get_by_text("/v1/models/{model}:predict").first.click()
    tab.get_by_role("button", name="Try it out").first.wait_for(timeout=SOON_MS)

    assert faults == []
    assert all(one.startswith((live.url, "data:")) for one in seen)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert tab.locator("html.dark-mode").count() == 1
    assert tab.get_by_role("link", name="Models", exact=True).get_attribute("href") == "."
    context.close()


def test_the_policy_lets_no_text_run() -> None:
    """Not even those that the viewer itself would make."""
    assert "unsafe" not in VIEWER_POLICY
    assert VIEWER_POLICY.startswith("default-src 'none'; ")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/docs", 200, "text/html; charset=utf-8"),
        ("HEAD", "/docs", 200, "text/html; charset=utf-8"),
        ("GET", "/docs/swagger-ui-bundle.js", 200, "text/javascript; charset=utf-8"),
        ("GET", "/docs/swagger-ui.css?v=1", 200, "text/css; charset=utf-8"),
        ("GET", "/docs/docs.js", 200, "text/javascript; charset=utf-8"),
        ("POST", "/docs/docs.js", 405, "application/json"),
        ("POST", "/docs", 405, "application/json"),
        ("GET", "/docs/", 404, "text/html"),
        ("GET", "/docs/../pages.css", 404, "text/html"),
        ("GET", "/docs/%2e%2e/__init__.py", 404, "text/html"),
        ("GET", "/docs/__init__.py", 404, "text/html"),
    ],
)
def test_there_are_no_other_files(live: LivePage, method: str, path: str, status: int, kind: str) -> None:
    """Neither of the package nor of this one."""
    client = RestClient(int(live.url.rstrip("/").rpartition(":")[2]))
    reply = client.send(method, path)
    client.close()

    assert (reply.status, reply.headers["content-type"]) == (status, kind)
