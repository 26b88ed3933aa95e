"""Bars and histograms of pages."""

from __future__ import annotations

import re

import pytest

from core.pages.bars import HEIGHT, WIDTH, bar, histogram


@pytest.mark.parametrize(("share", "width"), [(0.0, 0.0), (0.25, 25.0), (1.0, 100.0), (7.0, 100.0), (-1.0, 0.0)])
def test_a_bar_is_filled_by_its_share(share: float, width: float) -> None:
    """And never runs over."""
    drawn = bar("half", share, "fine")

    assert f'<rect width="{width:.1f}" height="{HEIGHT}"/>' in drawn
    assert f'class="ground" width="{WIDTH}"' in drawn
    assert 'class="bar fine"' in drawn


def test_a_bar_says_what_it_shows() -> None:
    """To those who do not see it, and without becoming a tag."""
    assert 'aria-label="3 of &lt;5&gt;"' in bar("3 of <5>", 0.6)


def test_columns_are_as_high_as_the_largest_allows() -> None:
    """One among a thousand is visible, none at all is not drawn."""
    drawn = histogram("pairs", [1000, 0, 1])

    heights = [float(one) for one in re.findall(r'height="([\d.]+)"/>', drawn)]
    assert heights == [23.0, 1.5]
    assert histogram("pairs", [0, 0]) == histogram("pairs", []) == ""
