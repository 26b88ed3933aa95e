"""Draws bars and histograms as SVG, because the policy of a page forbids styles of single elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.pages.tables import escaped

WIDTH, HEIGHT = 100, 8
COLUMN, TALL = 8, 24
LEAST: Final = 1.5
"""Height of a column of which there is one among many."""


def bar(label: str, share: float, style: str = "") -> str:
    """Draw how much of a whole is done, from 0 to 1; the style names its colour."""
    filled = WIDTH * min(1.0, max(0.0, share))
    return (
        f'<svg class="bar {style}" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'aria-label="{escaped(label)}"><rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<rect width="{filled:.1f}" height="{HEIGHT}"/></svg>'
    )


def histogram(label: str, counts: Sequence[int]) -> str:
    """Draw counts as columns, the largest as high as there is room; nothing where all are 0."""
    top = max(counts, default=0)
    if not top:
        return ""
    columns = "".join(_column(place, count / top) for place, count in enumerate(counts))
    width = COLUMN * len(counts)
    ground = f'<line x1="0" y1="{TALL}" x2="{width}" y2="{TALL}"/>'
    return (
        f'<svg class="columns" role="img" viewBox="0 0 {width} {TALL}" width="{width}" height="{TALL}" '
        f'aria-label="{escaped(label)}">{ground}{columns}</svg>'
    )


def _column(place: int, share: float) -> str:
    if not share:
        return ""
    height = max(LEAST, (TALL - 1) * share)
    return f'<rect x="{COLUMN * place + 1}" y="{TALL - height:.1f}" width="{COLUMN - 2}" height="{height:.1f}"/>'
