"""The status document as a web page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from core.admin.status_document import AgedReport, RouterFacts, WatcherReport
from core.errors import Code
from core.pages.frame import Links, StyleAndScript
from core.pages.status_html import status_page
from core.pages.tables import LONGEST_TEXT
from core.routing.admission import TrafficLimits
from core.routing.table import ListInForce, RoutingTable
from core.telemetry.traffic import REFUSED, Rates, Traffic
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from tests.support.html_page import Page
from tests.support.status_pages import BEGAN_S, FACTS, NOW_S, busy_table, document, model

HOSTILE = """<script>alert("1")</script>'&\x1b"""


def shown(table: RoutingTable, **changes: Any) -> Page:
    """Render the page of a table."""
    return Page(status_page(document(table, **changes), StyleAndScript("p { margin: 0 }", "let it = 1;"), Links()))


def one_model(name: str, *histories: tuple[int, VersionHistory], **known: Any) -> RoutingTable:
    """Make a table with one model."""
    return RoutingTable(1, {name: model(name, *histories, **known)}, settled=True, started_s=BEGAN_S)


def test_every_version_has_a_row_with_all_that_is_known() -> None:
    """State, since when, replicas, labels (those that are to come too), what it answers and how quickly."""
    unwanted, until = " (not wanted any more)", "canary (until 2 answers)"

    assert shown(busy_table()).tables["Versions"] == [
        ["Model", "Version", "State", "For", "Replicas", "Labels", "Requests/s", "p50", "p99", "Loaded in"],
        ["gone", "1", "END", "2 h 5 min", "0", "", "", "", "", ""],
        ["half_plus_two", "2", "LOADING", "20 s", "0", "canary (pending)", "0.0", "", "", ""],
        ["half_plus_two", "1", f"AVAILABLE{unwanted}", "2 h 5 min", "3", f"{until}, stable", "150", "4.20 ms", "250 ms", "1.2 s"],
        ["old", "7", f"UNLOADING{unwanted}", "3 s", "0", "", "", "", "", ""],
        ["ranker", "4", "START", "2 h 5 min", "0", "", "", "", "", ""],
        ["ranker", "3", "FAILED", "2 h 5 min", "0", "", "", "", "", ""],
    ]  # fmt: skip


def test_traffic_has_curves_that_say_what_they_show() -> None:
    """Two for a version with requests, and none for one without."""
    curves = [attributes for tag, attributes in shown(busy_table()).tags if tag == "svg"]

    assert [one["aria-label"] for one in curves] == [
        "requests per second over the last 5 min: at most 200",
        "p99 latency over the last 5 min: at most 250 ms",
    ]
    assert {one["role"] for one in curves} == {"img"}


@pytest.mark.parametrize(
    ("title", "rows"),
    [
        ("Configuration problems", [["models.config:12", "model_config_list.config.name", "is given twice"]]),
        ("Models with a problem", [["words", "NOT_FOUND: /models/words not found"]]),
        (
            "Failed loads",
            [
                ["ranker", "4", "INTERNAL: crashed", "1; again at 2023-11-15 00:19:20 UTC"],
                ["ranker", "3", "NOT_FOUND: no SavedModel <here> & there", "2"],
            ],
        ),
        (
            "Rollouts in progress",
            [
                ["half_plus_two", "2", "1", "availability_preserving"],
                ["old", "", "7", "availability_preserving"],
                ["ranker", "4", "", "availability_preserving"],
            ],
        ),
        (
            "Labels",
            [
                ["canary", "half_plus_two", "2", "pending, meanwhile version 1 answers"],
                ["next", "half_plus_two", "9", "pending"],
                ["stable", "half_plus_two", "1", "answers"],
            ],
        ),
        ("Versions that are not complete", [["5", "words", "variables/variables.index is missing"]]),
        ("Ignored directories", [["tmp", "words", "not a whole number"]]),
        (
            "Models",
            [
                ["gone", "/models/gone", "", "availability_preserving"],
                ["half_plus_two", "/models/half_plus_two", "latest 1", "availability_preserving"],
                ["old (not configured any more)", "/models/old", "all", "availability_preserving"],
                ["ranker", "/models/ranker", "specific: 3, 4", "availability_preserving"],
                ["words", "/models/words", "", "resource_preserving"],
            ],
        ),
    ],
)
def test_what_is_wrong_or_unfinished_has_a_table(title: str, rows: list[list[str]]) -> None:
    """One for each kind."""
    assert shown(busy_table()).tables[title][1:] == rows


def test_the_server_is_described() -> None:
    """Version, uptime, generation, addresses, files, watcher."""
    text = shown(busy_table()).text

    facts = ["Version1.2.3", "Up for2 h 5 min, since 2023-11-14 22:13:20 UTC", "Routing generation41"]
    facts += [
        "grpc [::]:8500 (TLS)|rest [::]:8501",
        "router-1",
        "answers, last looked 1 s ago",
        "models.config|models.yaml",
    ]
    assert [one for one in facts if one not in text] == []


def test_the_summary_counts_states_and_problems() -> None:
    """It is read to those who cannot see the page when it changes."""
    page = shown(busy_table())

    states = "1 AVAILABLE, 1 END, 1 FAILED, 1 LOADING, 1 START, 1 UNLOADING"
    assert f"ready with problems 5 models. Versions: {states}. Problems: 5." in page.text
    assert 'class="state warn">ready with problems<' in page.source
    assert [one["aria-live"] for tag, one in page.tags if one.get("role") == "status"] == ["polite", "polite"]


def test_an_empty_server_has_a_page() -> None:
    """It says that there is nothing yet."""
    page = shown(RoutingTable(0), facts=RouterFacts("r", "1", NOW_S), known=AgedReport())

    assert page.tables == {}
    for told in [
        "not ready 0 models. Versions: none. Problems: 1. no routing table has come yet.",
        "There is no version.",
        "No model is configured.",
        "nowhere",
        "flags",
    ]:
        assert told in page.text


def test_a_watcher_that_does_not_answer_is_reported() -> None:
    """The numbers that only it knows are unknown, or old."""
    unknown = shown(busy_table(), known=AgedReport())
    old = shown(busy_table(), known=AgedReport(WatcherReport({}, 1.0), 90.0))

    assert {row[4] for row in unknown.tables["Versions"][1:]} == {"unknown"}
    assert "The watcher does not answer: no version changes until it does." in unknown.text
    assert "does not answer, last looked 1 min 31 s ago" in old.text


def test_a_stopping_server_says_so() -> None:
    """In the title too."""
    stopping = RouterFacts("r", "1", BEGAN_S, is_draining=True)

    assert "<title>Ray Model Server: not ready, stopping</title>" in shown(busy_table(), facts=stopping).source


def test_a_slow_installation_is_reported() -> None:
    """What the operator can repair is not only in the document."""
    slow = RouterFacts("r", "1", BEGAN_S, warnings=("Python <3.11> is slow",))

    assert shown(busy_table(), facts=slow).tables["Slow installation"][1:] == [["Python <3.11> is slow"]]


def test_models_that_came_by_a_request_are_reported() -> None:
    """Nobody should look for them in the file."""
    table = RoutingTable(1, in_force=ListInForce(is_requested=True), settled=True)

    assert "a request at run time; until its content changes, not from models.config" in shown(table).text


def test_a_problem_without_a_line_has_no_colon() -> None:
    """A file that is missing has none."""
    changed = document(busy_table())
    changed["configuration"]["problems"][0] |= {"line": None}

    assert (
        Page(status_page(changed, StyleAndScript(), Links())).tables["Configuration problems"][1][0] == "models.config"
    )


def hostile_strings(value: Any) -> Any:
    """Replace every text that comes from outside."""
    kept = {"started", "since", "next_attempt", "state"}
    if isinstance(value, dict):
        return {key: one if key in kept else hostile_strings(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile_strings(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_no_text_becomes_markup() -> None:
    """Neither between tags nor inside of an attribute, wherever the document has a text."""
    page = Page(status_page(hostile_strings(document(busy_table())), StyleAndScript(), Links()))

    scripts = [tag for tag, _ in page.tags if tag == "script"]
    assert len(scripts) == 1
    assert not {name for _, given in page.tags for name in given if "alert" in name or '"' in name}
    assert page.text.count(HOSTILE.replace("\x1b", " ")) > 50
    assert "\x1b" not in page.source


@pytest.mark.parametrize("length", [LONGEST_TEXT, LONGEST_TEXT + 1, 100_000])
def test_a_long_text_is_folded_and_all_there(length: int) -> None:
    """A stack trace does not hide the other models."""
    page = shown(one_model("m", problem="x" * length))

    told = page.tables["Models with a problem"][1][1]
    assert told.count("x") == length
    assert ("details" in {tag for tag, _ in page.tags}) == (length > LONGEST_TEXT)


def test_two_hundred_models_have_two_hundred_rows() -> None:
    """Nothing is left out."""
    names = [f"model_{number:03}" for number in range(200)]
    available = VersionHistory(State.AVAILABLE, since_s=BEGAN_S)
    table = RoutingTable(1, {name: model(name, (1, available)) for name in names}, settled=True, started_s=BEGAN_S)

    assert [row[0] for row in shown(table).tables["Versions"][1:]] == names


def test_nothing_comes_from_outside() -> None:
    """The page asks nobody else for anything, and the browser is instructed to refuse it."""
    page = shown(busy_table())
    leads = [given[name] for _, given in page.tags for name in ("src", "href", "action") if name in given]
    policy = StyleAndScript("p { margin: 0 }", "let it = 1;").policy

    assert set(leads) == {
        "data:,", "#main", ".", "docs", "status.json",
        "models/gone", "models/half_plus_two", "models/old", "models/ranker", "models/words",
    }  # fmt: skip
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_metrics_are_linked_where_they_are() -> None:
    """Their path is the operator's choice, and there may be none."""
    links = Links("../", "/monitoring/<x>").navigation("API")

    assert '<a href="../monitoring/&lt;x&gt;">Metrics</a>' in links
    assert '<a href="../docs" aria-current="page">API</a>' in links
    assert "Metrics" not in Links().navigation("API")


@pytest.mark.parametrize(
    ("name", "path"), [("a/b c", "a%2Fb%20c"), ("ü?#", "%C3%BC%3F%23"), ("a\u200db", "a%E2%80%8Db"), ("%41", "%2541")]
)
def test_a_model_is_linked_by_its_name_however_odd(name: str, path: str) -> None:
    """Also where the name is shown with blanks for what cannot be printed."""
    leads = [given.get("href") for tag, given in shown(one_model(name)).tags if tag == "a"]

    assert f"models/{path}" in leads


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_browsers_take_for_a_way_up_is_no_link(name: str) -> None:
    """It would lead to another page."""
    assert f"models/{name}" not in [given.get("href") for _, given in shown(one_model(name)).tags]


def test_the_policy_has_the_hashes_of_style_and_script() -> None:
    """These are of the empty text."""
    empty = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"

    assert f"style-src {empty}; script-src {empty};" in StyleAndScript().policy


def test_rows_and_sections_have_keys_of_their_own() -> None:
    """The script finds by them what stays and what is new."""
    sections = re.findall(r"<section[^>]*>.*?</section>", shown(busy_table()).source)

    keys = [re.findall(r'data-key="([^"]*)"', one) for one in sections]
    assert all(len(one) == len(set(one)) for one in keys)
    assert len({one[0] for one in keys}) == len(sections)


def test_tables_say_what_their_cells_are() -> None:
    """Columns and rows have headers, also for those who hear the page."""
    page = shown(busy_table())

    heads = {(given["scope"], given["role"]) for tag, given in page.tags if tag == "th"}
    assert heads == {("col", "columnheader"), ("row", "rowheader")}
    assert [given["lang"] for tag, given in page.tags if tag == "html"] == ["en"]
    assert {"header", "nav", "main", "h1", "h2", "caption"} <= {tag for tag, _ in page.tags}


def test_a_version_that_answers_with_errors_only_is_bad_and_says_why() -> None:
    """Its state is AVAILABLE for programs, and FAILING for people."""
    lost = VersionStatus(1, State.AVAILABLE, Code.INTERNAL, "every run failed so far: device <lost>")
    seen = one_model("m", (1, VersionHistory(State.AVAILABLE)))
    page = shown(replace(seen, models={"m": replace(seen.models["m"], statuses=(lost,))}))

    assert page.tables["Versions that answer with errors only"][1:] == [["m", "1", f"INTERNAL: {lost.message}"]]
    assert page.tables["Versions"][1][2] == "FAILING"


def test_limits_have_a_table_where_there_are_any() -> None:
    """With what is refused; also of a model without limits, of which requests are refused."""
    free, limited = one_model("m", (1, VersionHistory(State.AVAILABLE))), TrafficLimits(0.5, 0)
    models = {**free.models, "n": replace(free.models["m"], limits=limited), "o": free.models["m"]}
    refusing = WatcherReport(traffic={("o", REFUSED): Traffic(Rates(12.0))})
    page = shown(replace(free, models=models), known=AgedReport(refusing, 0.2, is_fresh=True))

    assert page.tables["Limits"][1:] == [["n", "0.5", "", "0.0"], ["o", "", "", "12.0"]]
    assert "Limits" not in shown(free).tables


def test_what_a_caller_may_not_see_is_not_told() -> None:
    """Nothing is claimed of the server's addresses and files, and of models that may be there."""
    page = shown(RoutingTable(1, {}, settled=True), facts=FACTS.of_state_only())

    for claim in ("nowhere", "Models come from", "No model is configured"):
        assert claim not in page.text
    assert "There is no model that you may see." in page.text
    assert "Listens" in shown(busy_table()).text
