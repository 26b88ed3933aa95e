"""Tests of a replay as a page."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from core.replay.replay_html import replay_page
from core.replay.replay_tally import ReplayTally
from tests.unit.core.replay.conftest import make_document
from tests.unit.core.replay.test_replay_tally import add, bad, good

Document = dict[str, Any]
STYLE = "body { margin: 0; }"


def test_a_page_needs_no_network_and_forbids_it(document: Document) -> None:
    """It is opened as a file, often where there is none; no text in it can become a script."""
    page = replay_page(document, STYLE)

    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert (
        policy[1].replace("&#x27;", "'").startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "<script" not in page
    assert " style=" not in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]


def test_names_and_texts_are_not_html(document: Document) -> None:
    """They come from models and servers."""
    page = replay_page(document, STYLE)

    assert "<i>&" not in page
    assert "</script>" not in page
    assert "m&lt;odel" in page


def test_a_page_has_plots_with_a_text_for_each(document: Document) -> None:
    """Of the distances of each output, and of latencies."""
    page = replay_page(document, STYLE)

    labels = re.findall(r'<svg class="chart plot" role="img" viewBox="[^"]*" aria-label="([^"]*)"', page)
    assert len(labels) == 3
    assert page.count('<polyline class="new-line" points="') == 2
    assert "nan" not in page.lower().replace("dominant", "")


@pytest.mark.parametrize("count", [0, 1])
def test_a_page_of_nothing_says_so(count: int) -> None:
    """No request was answered by both; there is nothing to draw."""
    tally = ReplayTally()
    for _ in range(count):
        add(tally, bad(), bad())

    page = replay_page(make_document(tally), STYLE)
    assert "UNKNOWN: no request was answered by both versions" in page
    assert "chart plot" not in page


def test_one_request_can_be_drawn() -> None:
    """Every axis has a length then, too."""
    tally = ReplayTally()
    add(tally, good([0.0], 0.0), good([1.0], 0.0))

    page = replay_page(make_document(tally), STYLE)

    assert page.count("chart plot") == 2


def test_a_model_with_many_outputs_is_drawn_in_part() -> None:
    """All are in the table."""
    tally = ReplayTally()
    for place in range(60):
        add(tally, good([1.0], name=f"output_{place}"), good([2.0], name=f"output_{place}"))

    page = replay_page(make_document(tally), STYLE)

    assert page.count("<figure>") == 24
    assert len(set(re.findall(r">(output_\d+)<", page))) == 60
