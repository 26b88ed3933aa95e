"""The card of a rollout on the pages."""

from __future__ import annotations

from typing import Any

import pytest

from core.delivery.rollout_record import NO_RECORD
from core.delivery_status.rollout_document import RolloutFacts, rollout_document
from core.pages.rollout_html import is_worth_a_card, rollout_card
from tests.support.html_page import Page
from tests.support.rollout_states import STATES, delivery

HOSTILE = """<script>alert("1")</script>'&"""


def model(state: str, name: str = "ranking") -> dict[str, Any]:
    return {"name": name, "path": "ranking", "delivery": delivery(state)}


def shown(state: str, **changes: Any) -> Page:
    made = model(state)
    made["delivery"] |= changes
    return Page(rollout_card(made))


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_card_that_says_it_in_words(state: str) -> None:
    """The first sentence is the state."""
    page = shown(state)

    assert "ranking" in page.text
    assert all(len(row) == len(rows[0]) for rows in page.tables.values() for row in rows)


def test_a_model_without_delivery_has_no_card() -> None:
    """Most models."""
    assert rollout_card({"name": "m", "path": "m", "delivery": None}) == ""


def test_a_changed_signature_alone_is_worth_a_card() -> None:
    """Of a model without plan or shares, whose callers may fail now."""
    bare = rollout_document(NO_RECORD, RolloutFacts(warnings=("input <x> is missing",)), 0.0)
    changed = {"name": "ranking", "path": "ranking", "delivery": bare}

    assert is_worth_a_card(changed)
    page = Page(rollout_card(changed))
    assert "Signatures of ranking" in page.text
    assert "input <x> is missing" in page.text


def test_both_arms_stand_side_by_side() -> None:
    """Stable left, the canary beside it."""
    rows = shown("weighted").tables["Traffic of the versions"]

    assert rows[0] == ["", "Version 7, stable", "Version 8, canary"]
    assert rows[1:3] == [["Share", "95 %", "5 %"], ["Requests/s", "76.0", "4.1"]]
    assert ["Rows of a run", "11.4", "1.7"] in rows
    assert ["Server errors", "5 (0.0274 %)", "2 (0.208 %)"] in rows


def test_each_metric_has_its_numbers_evidence_and_outlook() -> None:
    """And a bar, whose text says the same."""
    page = shown("weighted")

    first = page.tables["Metrics"][1]
    assert first[0].startswith("server_errors max_ratio 1.2")
    assert first[1:] == [
        "open", "0.0274 % (5 of 18240)", "0.936 % (9 of 962)", "430 of 600",
        "one more server error of the canary would fail it",
    ]  # fmt: skip
    bars = [one for tag, one in page.tags if tag == "svg" and one["aria-label"].startswith("evidence")]
    assert bars[0]["aria-label"] == "evidence 430 of 600"
    assert bars[0]["class"] == "bar warn"


def test_a_failed_metric_is_marked() -> None:
    """By its colour and by a word."""
    page = shown("rolling_back")

    assert page.tables["Metrics"][1][1] == "FAIL"
    assert "bar bad" in {one.get("class") for tag, one in page.tags if tag == "svg"}


def test_steps_are_a_list_whose_present_one_is_marked() -> None:
    """With the running bake, for screen readers too."""
    page = shown("weighted")

    steps = [one for tag, one in page.tags if tag == "li"]
    assert [one.get("aria-current") for one in steps] == [None, "step", None, None, None]
    labels = [one["aria-label"] for tag, one in page.tags if tag == "svg"]
    assert labels[:2] == ["step 1, 100 % copied: done", "step 2, 5 % to the canary: running"]
    assert "running, 4 min 10 s of 10 min" in page.text


def test_copies_have_the_noise_floor_beside_them() -> None:
    """So that nobody takes noise for a difference."""
    tables = shown("mirroring").tables

    assert tables["Compared copies"][2] == ["stable again: the noise floor", "600", "590", "10", "0", "0", "0", "0"]
    assert tables["Outputs of the copies"][2][:6] == ["scores", "610", "130", "12", "4", "0.0312"]
    assert tables["Outputs of the copies"][2][7] == "at most 3.1e-07"


def test_what_happened_is_shown_newest_first() -> None:
    """With time and reason."""
    rows = shown("rolling_back").tables["What happened"]

    assert rows[1][:2] == ["2023-11-15 00:18:15 UTC", "rolled back"]
    assert rows[-1][1] == "started"


def test_a_step_that_pauses_without_end_is_drawn_half() -> None:
    """Nobody knows how much of it is over."""
    page = shown("paused", steps=[{**delivery("paused")["steps"][4], "state": "paused", "baked_s": 5.0}])

    widths = [one["width"] for tag, one in page.tags if tag == "rect" and one.get("class") != "ground"]
    assert widths[0] == "50.0"


def test_texts_cannot_become_tags() -> None:
    """Names, reasons, outputs and outlooks come from files, clients and models."""
    made = model("mirroring", HOSTILE)
    shown = made["delivery"]
    shown |= {"reason": HOSTILE, "paused_by": HOSTILE, "next": HOSTILE, "sticky_header": HOSTILE, "warnings": [HOSTILE]}
    shown["metrics"][0] |= {"metric": HOSTILE, "outlook": HOSTILE}
    shown["mirrored"] |= {"reason": HOSTILE}
    shown["mirrored"]["outputs"][0]["output"] = HOSTILE
    shown["happenings"][0] |= {"name": HOSTILE, "text": HOSTILE}
    shown["rejected"] = [{"version": "9", "reason": HOSTILE, "at": "2023-11-15T00:00:00.000Z"}]
    shown["steps"][0]["gate"] = HOSTILE
    shown["label_weights"] = [{"label": HOSTILE, "weights": []}]

    card = rollout_card(made, is_linked=True)

    assert "<script" not in card
    assert Page(card).text.count('<script>alert("1")</script>') >= 10


def test_the_list_of_models_shows_what_goes_on() -> None:
    """A plan that waits for a version is shown on the model's own page only."""
    assert [state for state in STATES if not is_worth_a_card(model(state))] == ["idle"]
    assert not is_worth_a_card({"delivery": None})
