"""Charts with axes."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from core.pages.chart import BOTTOM, HEIGHT, LEFT, MOST_STEPS, RIGHT, TOP, WIDTH, Curve, axis_ticks, chart, with_gaps
from core.pages.sparkline import Points

SPAN_S = 300.0
RAMP: Points = [(300.0, 0.0), (150.0, 4.0), (0.0, 8.0)]


def drawn(*curves: Curve) -> ET.Element:
    """Draw, and read it back."""
    return ET.fromstring(chart("<name> & more", curves, SPAN_S, lambda value: f"{value:g} s"))


def corners(text: str) -> list[tuple[float, float]]:
    """Read the corners of a line."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (8.0, [0, 2, 4, 6, 8]),
        (9.0, [0, 2.5, 5, 7.5, 10]),
        (131.0, [0, 50, 100, 150]),
        (0.065, [0, 0.02, 0.04, 0.06, 0.08]),
        (1.0, [0, 0.25, 0.5, 0.75, 1.0]),
        (0.0, [0, 1]),
        (3e-7, [0, 1e-7, 2e-7, 3e-7]),
        (2e9, [0, 5e8, 1e9, 1.5e9, 2e9]),
    ],
)
def test_ticks_are_round_and_reach_the_largest_value(most: float, ticks: list[float]) -> None:
    """From zero, in equal steps."""
    assert axis_ticks(most) == pytest.approx(ticks)


@pytest.mark.parametrize("most", [10.0**power * digit for power in range(-6, 9) for digit in (1, 1.7, 2.3, 4.9, 9.99)])
def test_ticks_are_few_and_waste_little(most: float) -> None:
    """Whatever the values are, the curve fills the chart and labels do not touch."""
    ticks = axis_ticks(most)

    assert len(ticks) <= MOST_STEPS + 1
    assert ticks[-1] >= most * (1 - 1e-9)
    assert ticks[-2] < most


def test_a_curve_lies_between_the_axes() -> None:
    """The oldest point at the left, the largest at the top."""
    line = drawn(Curve("a", RAMP)).find("polyline")

    assert line is not None
    assert corners(line.attrib["points"]) == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (WIDTH - RIGHT, TOP),
    ]


def test_axes_have_labels_with_units() -> None:
    """They can be read without pointing at anything."""
    texts = [one.text for one in drawn(Curve("a", RAMP)).iter("text")]

    assert texts == ["0", "2 s", "4 s", "6 s", "8 s", "-5 min", "-4", "-3", "-2", "-1", "now"]


def test_a_chart_says_what_it_shows() -> None:
    """To those who do not see it; the text does not become markup."""
    assert drawn(Curve("a", RAMP)).attrib["aria-label"] == "<name> & more"


def test_between_curves_lies_a_band() -> None:
    """From the first to the last, in each part without a gap."""
    low: Points = [(200.0, 1.0), (190.0, 1.0), (180.0, None), (170.0, 1.0), (160.0, 1.0)]
    high: Points = [(at_s, value and 3 * value) for at_s, value in low]
    picture = drawn(Curve("p50_s", low), Curve("p95_s", low), Curve("p99_s", high))

    assert [one.attrib["class"] for one in picture.iter("polyline")] == [
        name for name in ("p50_s", "p95_s", "p99_s") for _ in range(2)
    ]
    assert [len(corners(one.attrib["points"])) for one in picture.iter("polygon")] == [4, 4]


def test_a_single_point_is_visible() -> None:
    """As a short line."""
    line = drawn(Curve("a", [(10.0, 1.0)])).find("polyline")

    assert line is not None
    assert len(corners(line.attrib["points"])) == 2


@pytest.mark.parametrize("points", [[], [(10.0, None)]])
def test_without_values_there_are_axes_only(points: Points) -> None:
    """No latency, because all requests failed."""
    picture = drawn(Curve("a", points), Curve("b", points))

    assert list(picture.iter("polyline")) == []
    assert [one.text for one in picture.iter("text")][:2] == ["0", "1 s"]


def test_a_long_silence_is_a_gap() -> None:
    """While the watcher was away, nothing is known; a line would say that nothing changed."""
    assert with_gaps([(300.0, 1.0), (295.0, 1.0), (100.0, 2.0), (95.0, None)], 30.0) == [
        (300.0, 1.0),
        (295.0, 1.0),
        (197.5, None),
        (100.0, 2.0),
        (95.0, None),
    ]
    assert with_gaps([], 30.0) == []
