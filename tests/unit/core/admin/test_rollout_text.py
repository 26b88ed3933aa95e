"""Tests of rollouts as text for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from core.admin.rollout_text import phase_text, rollouts_text
from tests.support.rollout_states import STATES, delivery

ANSWERING: dict[str, Any] = {"watcher": {"answers": True}}


def text_of(shown: dict[str, Any] | None, width: int = 80, name: str = "ranking") -> str:
    return rollouts_text(ANSWERING, [{"name": name, "delivery": shown}], width)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("width", [80, 140])
def test_sentences_keep_to_the_window(state: str, width: int) -> None:
    """Tables are as wide as their columns, and sentences are broken between words."""
    lines = text_of(delivery(state), width).splitlines()

    assert [one for one in lines if len(one) > max(width, 100)] == []
    assert lines[0].startswith("ranking: ")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("idle", "no rollout"),
        ("loading", "version 8 is being loaded"),
        ("weighted", "version 8 in step 2 of 5"),
        ("paused", "version 8 paused in step 2 of 5"),
        ("promoted", "version 8 is promoted, and version 7 stays loaded for now"),
        ("rolling_back", "version 8 is being rolled back"),
        ("rejected", "no rollout; rejected: version 9, 8"),
        ("shares by hand", "no rollout; requests are divided by order"),
    ],
)
def test_the_state_is_a_sentence(state: str, text: str) -> None:
    """The first line says what goes on."""
    assert phase_text(delivery(state)) == text


def test_each_metric_has_a_line_and_open_ones_an_outlook() -> None:
    """With the numbers of both arms."""
    shown = text_of(delivery("weighted"), 140)

    assert "server_errors        open        0.0274 % (5 of 18240)   0.936 % (9 of 962)   430 of 600" in shown
    assert "server_errors: one more server error of the canary would fail it" in shown
    assert "slow_requests_p99:" not in shown


def test_steps_show_the_running_bake() -> None:
    """And for how long the others bake."""
    shown = text_of(delivery("weighted"), 140)

    assert "2     5 % to the canary   running  4 min 10 s of 10 min" in shown
    assert "5     pause               to come  until an order" in shown
    assert "step 3 of 5: 25 % of the requests (in 5 min 50 s at the earliest)" in shown


def test_copies_have_the_noise_floor_below() -> None:
    """So that nobody takes the noise of threads for a difference."""
    shown = text_of(delivery("mirroring"), 140)

    assert "version 8     613       480        118     12       2            1       37" in shown
    assert "stable again  600       590        10      0        0            0       0" in shown


def test_a_model_without_delivery_is_explained() -> None:
    """Also where the server is of a version that knows no rollouts."""
    expected = "ranking: no plan, no shares and no copies; the newest version gets all requests\n"

    assert text_of(None) == expected
    assert rollouts_text(ANSWERING, [{"name": "ranking"}], 80) == expected
    assert rollouts_text(ANSWERING, [], 80) == "No models.\n"


def test_a_watcher_that_does_not_answer_is_told_first() -> None:
    """Then nothing goes on, whatever the numbers say."""
    shown = rollouts_text({"watcher": {"answers": False}}, [{"name": "m", "delivery": delivery("weighted")}], 80)

    assert shown.startswith("The watcher does not answer: no rollout goes on until it does.\n\nm: version 8")


def test_control_characters_do_not_reach_the_terminal() -> None:
    """Names and reasons come from files and stores."""
    shown = delivery("paused")
    shown["reason"] = "\x1b[31mred"

    assert "\x1b" not in text_of(shown, name="m\x1b[2J")


def test_texts_that_may_not_be_seen_are_missing_in_words() -> None:
    """A caller with the right to states only."""
    shown = delivery("rejected")
    shown["rejected"][0]["reason"] = None
    shown["happenings"][0]["text"] = None

    assert "version 9: no reason is shown" in text_of(shown)
    assert "started: no text is shown" in text_of(shown)
