"""The page at `/` of the REST port, asked for over HTTP; and in a browser, where there is one."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from core.routing.table import RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from deployments.pages import html_endpoint
from tests.support.browser import CONTRAST, SOON_MS, misfits, new_context
from tests.support.clients import free_port
from tests.support.status_pages import BEGAN_S, TRAFFIC, LivePage, busy_table, model

pytestmark = pytest.mark.tools


@pytest.fixture
def live() -> Iterator[LivePage]:
    """The page of a busy server."""
    page = LivePage(busy_table(), free_port())
    page.open()
    yield page
    page.stop()


@pytest.fixture
def tab(chrome: Any, live: LivePage) -> Iterator[Any]:
    """The page in a browser, which finds no fault with it."""
    faults: list[str] = []
    context = new_context(chrome, viewport={"width": 1280, "height": 500})
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda line: faults.append(line.text))
    tab.goto(live.url)
    yield tab
    assert [one for one in faults if "ERR_CONNECTION_REFUSED" not in one] == []
    context.close()


def asked(live: LivePage, method: str, target: str = "/") -> tuple[http.client.HTTPResponse, bytes]:
    """Ask for the page as a plain client does."""
    connection = http.client.HTTPConnection(urlsplit(live.url).netloc, timeout=60)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("target", ["/", "/?a=b"])
def test_the_root_is_the_status_page(live: LivePage, target: str) -> None:
    """Fresh each time, and with the headers that keep everything else out."""
    answer, body = asked(live, "GET", target)

    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert answer.headers["content-security-policy"] == html_endpoint.style_and_script().policy
    assert b"half_plus_two" in body


def test_head_gives_the_headers_only(live: LivePage) -> None:
    """As for every page."""
    answer, body = asked(live, "HEAD")

    assert (answer.status, body) == (200, b"")


def test_other_methods_are_refused(live: LivePage) -> None:
    """The answer says what would be right."""
    answer, body = asked(live, "POST")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert b"Use GET /." in body


def test_names_that_are_no_text_have_a_page(live: LivePage) -> None:
    """Directories may be named in bytes that are no UTF-8; the document writes them as question marks."""
    live.table = RoutingTable(1, {"m": model("m", ignored={"\udcff": "no number"})})

    answer, body = asked(live, "GET")

    assert answer.status == 200
    assert b'scope="row" role="rowheader">?<' in body


def test_style_and_script_are_not_empty() -> None:
    """They are found where the package is."""
    assets = html_endpoint.style_and_script()

    assert "prefers-color-scheme: dark" in assets.style
    assert "</" not in assets.style + assets.script


def test_a_rollout_is_seen_without_reloading(live: LivePage, tab: Any) -> None:
    """A version that becomes available, one that goes, a model that is new; the title follows too."""
    done = VersionHistory(State.AVAILABLE, since_s=BEGAN_S)
    tab.get_by_role("row", name="half_plus_two 2 LOADING").wait_for(timeout=SOON_MS)

    live.table = RoutingTable(
        42,
        {"a_new_one": model("a_new_one", (1, done)), "half_plus_two": model("half_plus_two", (2, done))},
        settled=True,
    )

    tab.get_by_role("row", name="half_plus_two 2 AVAILABLE").wait_for(timeout=SOON_MS)
    versions = tab.get_by_role("table", name="Versions", exact=True).get_by_role("rowheader")
    assert versions.all_inner_texts() == ["a_new_one", "half_plus_two"]
    assert tab.get_by_role("table", name="Ignored directories").count() == 0


def test_focus_scroll_and_unfolded_texts_stay(live: LivePage, tab: Any) -> None:
    """A reader is not disturbed by what changes elsewhere, above or below."""
    live.table = replace(busy_table(), models={"words": model("words", problem="long " * 100)})
    summary = tab.locator("summary")
    summary.wait_for(timeout=SOON_MS)
    summary.click()
    tab.evaluate("scrollTo(0, 100)")

    more = {"aaa": model("aaa", problem="too"), "words": model("words", problem="long " * 100)}
    live.table = replace(busy_table(), generation=77, models=more)
    tab.get_by_text("77", exact=True).wait_for(timeout=SOON_MS)

    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert tab.locator("details[open]").count() == 1
    assert tab.get_by_role("row", name="aaa too").count() == 1
    assert tab.evaluate("scrollY") > 0


def test_a_server_that_is_gone_is_told_until_it_is_back(live: LivePage, tab: Any) -> None:
    """What it said last stays to be read."""
    notice = tab.locator("#connection")
    live.close()

    tab.get_by_text("The server does not answer since").wait_for(timeout=SOON_MS)
    assert notice.get_attribute("aria-live") == "polite"
    assert tab.get_by_role("table", name="Versions", exact=True).is_visible()

    live.open()
    notice.filter(has_not_text="answer").wait_for(state="attached", timeout=SOON_MS)


def test_refreshing_can_be_switched_off_and_on(live: LivePage, tab: Any) -> None:
    """By the keyboard. The browser's clock is ours, so that a minute without a request takes no time."""
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(request.url))
    tab.clock.install()
    tab.reload()
    tab.get_by_label("Refresh by itself").press("Space")
    seen.clear()

    live.table = busy_table(generation=99)
    tab.clock.run_for(60_000)
    assert seen == []
    assert tab.get_by_text("99", exact=True).count() == 0

    tab.keyboard.press("Space")
    tab.clock.run_for(2_500)
    tab.get_by_text("99", exact=True).wait_for(timeout=SOON_MS)


def test_curves_come_with_the_traffic(live: LivePage, tab: Any) -> None:
    """On the page that is open; each has a name that says what it shows."""
    live.traffic = {}
    curves = tab.get_by_role("img")
    curves.first.wait_for(state="detached", timeout=SOON_MS)

    live.traffic = TRAFFIC
    curves.first.wait_for(timeout=SOON_MS)

    assert tab.get_by_role("img", name="requests per second over the last 5 min: at most 200").is_visible()
    assert tab.get_by_role("row", name="half_plus_two 1 AVAILABLE").locator("svg polyline").count() == 2
    size = curves.first.bounding_box()
    assert (size["width"], size["height"]) == (120, 24)


def test_nothing_comes_from_outside(chrome: Any, live: LivePage) -> None:
    """Every request goes to the server itself, also those that follow by themselves."""
    context = new_context(chrome)
    tab = context.new_page()
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(request.url))
    tab.goto(live.url)
    live.table = busy_table(generation=99)
    tab.get_by_text("99", exact=True).wait_for(timeout=SOON_MS)

    assert len(seen) >= 2
    assert {one for one in seen if not one.startswith("data:")} == {live.url}
    context.close()


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(live: LivePage, tab: Any) -> None:
    """The way past the links, the links, the switch, what is folded, and the model; each can be seen where it is."""
    live.table = replace(busy_table(), models={"words": model("words", problem="long " * 100)})
    tab.locator("summary").wait_for(timeout=SOON_MS)
    reached = []
    for _ in range(8):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.tagName"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    assert reached == ["A"] * 5 + ["INPUT", "SUMMARY", "A"]


def test_everything_has_a_name_for_those_who_listen(live: LivePage, tab: Any) -> None:
    """Tables by their captions, the switch, the link, the region of the server; changes of the state are read out."""
    for table in tab.get_by_role("table").all():
        caption = table.locator("caption").inner_text()
        assert tab.get_by_role("table", name=caption, exact=True).count() == 1
        assert table.get_by_role("columnheader").count() > 1
    assert tab.get_by_role("checkbox", name="Refresh by itself").count() == 1
    assert tab.get_by_role("link", name="status.json").count() == 1
    assert tab.get_by_role("region", name="Server", exact=True).count() == 1
    assert tab.get_by_role("heading", level=1).inner_text() == "Ray Model Server"
    assert tab.get_by_role("status").filter(has_text="Versions:").get_attribute("aria-live") == "polite"
    assert tab.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read(chrome: Any, live: LivePage, scheme: str) -> None:
    """Contrasts are those that WCAG demands (AA)."""
    context = new_context(chrome, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(live.url)

    assert tab.evaluate(CONTRAST) >= 4.5
    context.close()


def test_the_page_fits_every_width(live: LivePage, tab: Any) -> None:
    """Nothing sticks out, not even one word of a thousand letters, and no short word is torn."""
    live.table = replace(busy_table(), models={**busy_table().models, "w" * 1000: model("w" * 1000)})
    tab.get_by_text("w" * 1000).first.wait_for(timeout=SOON_MS)

    assert misfits(tab) == []


def test_without_script_the_tables_are_there(chrome: Any, live: LivePage) -> None:
    """And how to see what is new."""
    context = new_context(chrome, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(live.url)

    assert tab.get_by_role("row", name="ranker 3 FAILED").is_visible()
    assert tab.get_by_text("Reload the page").is_visible()
    assert not tab.get_by_label("Refresh by itself").is_visible()
    context.close()
