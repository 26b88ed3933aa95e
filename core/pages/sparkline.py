"""Draws small curves as SVG: no script and no axes, with a text for screen readers."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 120, 24
MARGIN = 2
"""Space around the curve for the thickness of its line."""

Points = Sequence[tuple[float, float | None]]
"""Points as seconds ago and value, oldest first."""


def sparkline(label: str, points: Points, span_s: float) -> str:
    """Draw values from zero to their largest, over a line that shows the whole time.

    The curve has gaps where there is no value; without any value, nothing is drawn.
    """
    values = [value for _, value in points if value is not None]
    if not values:
        return ""
    top = max(values) or 1.0
    lines = "".join(_line(one, span_s, top) for one in unbroken(points))
    ground = f'<line x1="{MARGIN}" y1="{HEIGHT - 1}" x2="{WIDTH - MARGIN}" y2="{HEIGHT - 1}"/>'
    return (
        f'<svg class="curve" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'aria-label="{html.escape(label)}">{ground}{lines}</svg>'
    )


def unbroken(points: Points) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a curve between its gaps."""
    part: list[tuple[float, float]] = []
    for ago_s, value in points:
        if value is not None:
            part.append((ago_s, value))
        elif part:
            yield part
            part = []
    if part:
        yield part


def _line(part: Sequence[tuple[float, float]], span_s: float, top: float) -> str:
    """Draw one line; a single point becomes a short one, so that it is visible."""
    corners = [(_x(ago_s, span_s), _y(value, top)) for ago_s, value in part]
    first, last = corners[0], corners[-1]
    if len(corners) == 1:
        corners = [(first[0] - 1, first[1]), first]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    area = f"{corners[0][0]:.1f},{HEIGHT} {joined} {last[0]:.1f},{HEIGHT}"
    return f'<polygon points="{area}"/><polyline points="{joined}"/>'


def _x(ago_s: float, span_s: float) -> float:
    return WIDTH - MARGIN - (WIDTH - 2 * MARGIN) * min(max(ago_s / span_s, 0.0), 1.0)


def _y(value: float, top: float) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / top
