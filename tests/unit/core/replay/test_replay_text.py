"""Tests of a replay as text for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from core.replay.replay_tally import ReplayTally
from core.replay.replay_text import distance_text, replay_text, share_text, short_name
from tests.unit.core.replay.conftest import make_document
from tests.unit.core.replay.test_replay_tally import add, good

Document = dict[str, Any]


def test_the_text_says_what_differs(document: Document) -> None:
    """Results, outputs, latencies, errors, the verdict at the end."""
    text = replay_text(document)

    assert text.splitlines()[0] == "m<odel: version 8 against version 7"
    assert 'signatures: input "x" is missing' in text
    for row in (
        "identical                       95        95 %   99 %     100 %",
        "8 alone failed                  1         1 %    0 %      0 %",
        "both failed                     1         1 %",
        "request 97: outside: y 6.3e-01 away with 1 flip",
        "request 98: structural: output y is missing; output z is new",
        "version 7, 1 time UNAVAILABLE: old",
    ):
        assert row in text, text
    assert "DIFFERENT: 1 of 100 answers have other outputs, types or shapes;" in text


@pytest.mark.parametrize("width", [40, 80, 140])
def test_lines_fit_the_terminal(width: int) -> None:
    """Names of outputs are cut in their middle, texts are wrapped."""
    tally = ReplayTally()
    long = "a_name_" * 30 + "end"
    add(tally, good([1.0], name=long), good([2.0], name=long))

    lines = replay_text(make_document(tally), width).splitlines()

    assert max(map(len, lines)) <= max(width, 72)
    assert any("\u2026" in line for line in lines)


def test_nothing_in_a_document_can_steer_the_terminal(document: Document) -> None:
    """Error texts and names come from models and files."""
    assert "\x1b" not in replay_text(document)


def test_versions_that_are_the_same_are_told_so() -> None:
    """With the tolerance that this means, or that chance explains it."""
    tally = ReplayTally()
    add(tally, good([1.0]), good([1.0]))
    assert replay_text(make_document(tally)).endswith(
        "SAME: every value is within 1e-05 + 0.001 * |value| of that of 7\n"
    )

    add(tally, good([1.0]), good([2.0]), old_again=good([2.0]))
    assert replay_text(make_document(tally)).endswith("SAME: it differs from 7 as 7 differs from itself\n")


@pytest.mark.parametrize(
    ("count", "of", "text"), [(0, 0, ""), (0, 9, "0 %"), (9, 9, "100 %"), (99_999, 100_000, "99.9 %"), (1, 3, "33.3 %")]
)
def test_a_share_is_100_percent_only_when_it_is_all(count: int, of: int, text: str) -> None:
    """One of a hundred thousand is what one looks for."""
    assert share_text(count, of) == text


def test_distances_are_told_by_the_edge_below_which_they_are() -> None:
    """Ten is the last one."""
    assert [distance_text(one) for one in (0.0, 1e-6, 0.1, 10.0, None)] == ["0", "<1e-6", "<0.1", "<10", ">10"]


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    """Outputs of one model often differ at their ends."""
    assert short_name("abcdefghij", 5) == "ab\u2026ij"
    assert short_name("abcde", 5) == "abcde"
