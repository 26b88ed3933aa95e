"""The page of a model."""

from __future__ import annotations

from typing import Any

import pytest

from core.admin.status_document import AgedReport, WatcherReport
from core.pages.frame import Links, StyleAndScript
from core.pages.model_html import missing_page, model_page
from core.routing.admission import TrafficLimits
from core.routing.table import RoutingTable
from core.telemetry.traffic import REFUSED, Rates, Traffic
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from tests.support.html_page import Page
from tests.support.rollout_states import RECORD, shares
from tests.support.status_pages import BEGAN_S, CURVE, busy_table, document, model

HOSTILE = """<script>alert("1")</script>'&\x1b"""
ASSETS = StyleAndScript("p { margin: 0 }", "let it = 1;")


def shown(name: str, table: RoutingTable | None = None, **changes: Any) -> Page:
    """Render the page of a model of a table."""
    page = model_page(document(table or busy_table(), **changes), name, ASSETS, Links("../", "/metrics"))
    assert page is not None
    return Page(page)


def choices(page: Page) -> list[str]:
    """Return the ends of paths that the form offers."""
    return [given["value"] or "" for tag, given in page.tags if tag == "data"]


def test_it_shows_the_versions_of_one_model() -> None:
    """As the page of all models does."""
    page = shown("half_plus_two")

    assert [row[:2] for row in page.tables["Versions"]] == [
        ["Version", "State"], ["2", "LOADING"], ["1", "AVAILABLE (not wanted any more)"],
    ]  # fmt: skip
    assert "ranker" not in page.text
    assert "Versions: 2 LOADING, 1 AVAILABLE." in page.text


def test_what_is_wrong_with_it_comes_first() -> None:
    """Failed loads, what storage says, what waits and what is ignored."""
    assert shown("ranker").tables["Problems"][1:] == [
        ["version 4", "INTERNAL: crashed"],
        ["version 3", "NOT_FOUND: no SavedModel <here> & there"],
    ]
    assert shown("words").tables["Problems"][1:] == [
        ["the model", "NOT_FOUND: /models/words not found"],
        ["version 5", "variables/variables.index is missing"],
        ["directory tmp", "not a whole number"],
    ]
    assert "Problems" not in shown("half_plus_two").tables


def test_the_form_can_address_each_version_and_label() -> None:
    """By what its path ends with."""
    assert choices(shown("half_plus_two")) == [
        "", "/versions/2", "/versions/1", "/labels/canary", "/labels/next", "/labels/stable",
    ]  # fmt: skip


def test_a_choice_tells_when_its_version_was_replaced() -> None:
    """By a moment that changes, also under the same number; a label has that of its version."""
    moments = {given["value"]: given["data-since"] for tag, given in shown("half_plus_two").tags if tag == "data"}

    assert moments["/versions/1"] == moments["/labels/stable"] != moments["/versions/2"] == moments["/labels/canary"]
    assert moments[""] == moments["/labels/next"] == ""


def test_the_form_has_the_path_of_its_model() -> None:
    """Escaped, whatever stands in the address; it is hidden while there is no such model."""
    name = 'a/b:"c"'
    missing = Page(missing_page(name, ASSETS, Links("../")))
    found = shown(name, RoutingTable(1, {name: model(name)}))
    sections = [next(given for _, given in page.tags if given.get("id") == "try") for page in (missing, found)]

    assert [one["data-model"] for one in sections] == ["a%2Fb%3A%22c%22"] * 2
    assert ["hidden" in one for one in sections] == [True, False]


def test_a_label_may_hold_anything() -> None:
    """It is a part of a path."""
    seen = model("m", (1, VersionHistory(State.AVAILABLE, since_s=BEGAN_S)), labels={'a/"b"': 1})

    assert choices(shown("m", RoutingTable(1, {"m": seen})))[-1] == "/labels/a%2F%22b%22"


def test_charts_say_what_they_show() -> None:
    """One for requests, one for errors, one for latencies, each with its present values in words."""
    page = shown("half_plus_two")

    names = [given["aria-label"] or "" for tag, given in page.tags if given.get("class") == "chart"]
    assert names[:2] == [
        "Requests over the last 5 min: at most 200/s",
        "Errors over the last 5 min: at most 0.0/s",
    ]
    assert names[2].startswith(
        "Latency over the last 5 min: p50 at most 4.00 ms, p95 at most 80 ms, p99 at most 250 ms"
    )
    for told in (
        "150/s",
        "p50 4.20 ms",
        "p95 none",
        "p99 250 ms",
        "Numbers of the last 30 s, curves of the last 5 min",
    ):
        assert told in page.text


def test_the_points_of_the_charts_are_a_table_too() -> None:
    """The newest first."""
    rows = shown("half_plus_two").tables["The points of these curves"]

    assert rows[:2] == [
        ["Ended", "Requests/s", "Errors/s", "p50", "p95", "p99"],
        ["0 s ago", "71.0", "0.0", "4.00 ms", "51 ms", "105 ms"],
    ]
    assert len(rows) == 31


@pytest.mark.parametrize(
    ("name", "told"),
    [("gone", "It is not known yet how often this model is requested."), ("half_plus_two", "Version 1")],
)
def test_a_model_without_traffic_says_so(name: str, told: str) -> None:
    """An empty chart would leave the reader in doubt."""
    assert told in shown(name).text


def test_there_is_no_page_without_a_model() -> None:
    """What is said instead shows the name as a text."""
    assert model_page(document(busy_table()), "nobody", ASSETS, Links("../")) is None
    page = Page(missing_page(HOSTILE, ASSETS, Links("../")))
    assert HOSTILE.replace("\x1b", " ") in page.text


def test_no_text_becomes_markup() -> None:
    """Neither a name nor an error, a label or a path."""
    seen = model(
        HOSTILE, (1, VersionHistory(State.AVAILABLE)), labels={HOSTILE: 1}, problem=HOSTILE, ignored={HOSTILE: HOSTILE}
    )
    page = shown(HOSTILE, RoutingTable(1, {HOSTILE: seen}))

    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert not {name for _, given in page.tags for name in given if "alert" in name or '"' in name}
    assert page.text.count(HOSTILE.replace("\x1b", " ")) > 5
    assert "\x1b" not in page.source


def test_it_leads_to_the_other_pages() -> None:
    """All, metrics, the interface, the document, and the signatures as clients get them."""
    leads = {given["href"] for tag, given in shown("half_plus_two").tags if tag == "a"}

    assert {"../", "../docs", "../metrics", "../status.json", "../v1/models/half_plus_two/metadata"} <= leads


def test_limits_and_refusals_are_shown() -> None:
    """Who is refused looks here for why; the errors beside do not have them."""
    limited = model("m", (1, VersionHistory(State.AVAILABLE)), limits=TrafficLimits(1_234_567.0, 8))
    table = RoutingTable(1, {"m": limited})
    traffic = {("m", REFUSED): Traffic(Rates(2.5)), ("m", "1"): Traffic(Rates(1.0), CURVE)}
    page = shown("m", table, known=AgedReport(WatcherReport({}, 1.0, traffic), 0.2, is_fresh=True))

    assert page.tables["Limits"] == [["Requests/s at most", "In work at most", "Refused/s"], ["1234567", "8", "2.5"]]
    assert "without refused requests" in page.text
    assert "Limits" not in shown("half_plus_two").tables


def test_a_label_is_a_path_before_its_characters_are_replaced() -> None:
    """What stands in for a character that cannot be shown is not the label's name."""
    seen = model("m", (1, VersionHistory(State.AVAILABLE, since_s=BEGAN_S)), labels={"a\x1b": 1})

    assert choices(shown("m", RoutingTable(1, {"m": seen})))[-1] == "/labels/a%1B"


def test_the_choice_without_a_version_says_what_answers_it() -> None:
    """The newest, unless requests are divided: then the newest may be a canary, and get a share only."""
    rolling = model("m", (1, VersionHistory(State.AVAILABLE)), delivery=RECORD, division=shares(500))

    assert "newest that answers" in rendered("m", RoutingTable(1, {"m": model("m")}))
    assert "stable, or as requests are divided" in rendered("m", RoutingTable(1, {"m": rolling}))


def rendered(name: str, table: RoutingTable) -> str:
    return model_page(document(table), name, StyleAndScript(), Links("../")) or ""
