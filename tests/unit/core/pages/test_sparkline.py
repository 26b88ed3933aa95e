"""Small curves."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from core.pages.sparkline import HEIGHT, MARGIN, WIDTH, Points, sparkline


def lines(points: Points, span_s: float = 100.0) -> list[list[tuple[float, float]]]:
    """Draw, and read the lines back."""
    drawn = ET.fromstring(sparkline("label", points, span_s))
    texts = [one.attrib["points"] for one in drawn.iter("polyline")]
    return [[tuple(map(float, pair.split(","))) for pair in text.split()] for text in texts]  # type: ignore[misc]


def test_the_largest_value_is_at_the_top_and_the_newest_at_the_right() -> None:
    """Zero is at the bottom whatever the smallest value is."""
    assert lines([(100.0, 0.0), (50.0, 2.0), (0.0, 4.0)]) == [
        [(MARGIN, HEIGHT - MARGIN), (WIDTH / 2, HEIGHT / 2), (WIDTH - MARGIN, MARGIN)]
    ]


def test_where_nothing_is_known_the_line_has_a_gap() -> None:
    """Also at its ends."""
    drawn = lines([(90.0, None), (80.0, 1.0), (70.0, 1.0), (60.0, None), (50.0, 1.0), (40.0, 1.0), (30.0, None)])

    assert [len(one) for one in drawn] == [2, 2]


def test_a_lonely_point_can_be_seen() -> None:
    """It becomes a line as long as it is thick."""
    ((first, second),) = lines([(0.0, 3.0)])

    assert second[0] - first[0] == 1
    assert first[1] == second[1]


@pytest.mark.parametrize("points", [[], [(1.0, None)]])
def test_nothing_known_draws_nothing(points: Points) -> None:
    """Not even an empty picture."""
    assert sparkline("label", points, 100.0) == ""


def test_zeros_are_a_line_at_the_bottom() -> None:
    """No division by their largest."""
    assert {y for line in lines([(10.0, 0.0), (0.0, 0.0)]) for _, y in line} == {HEIGHT - MARGIN}


def test_points_that_are_too_old_stay_inside() -> None:
    """An answer of the watcher that waited for long makes all of its points older."""
    assert lines([(130.0, 1.0), (0.0, 1.0)])[0][0][0] == MARGIN


def test_a_label_cannot_break_out() -> None:
    """It is an attribute."""
    assert re.search(r'aria-label="&quot;&lt;b&gt;"', sparkline('"<b>', [(0.0, 1.0)], 10.0))
