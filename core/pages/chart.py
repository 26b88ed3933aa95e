"""Draws charts with axes as SVG: what they show can be read without a pointer, and without seeing them as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from core.pages.sparkline import Points, unbroken
from core.pages.tables import escaped

WIDTH, HEIGHT = 400, 176
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 10, 26
MOST_STEPS = 4
"""Most labelled steps of the upright axis."""

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Steps of an axis, times a power of ten."""

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve: its name in the style sheet, and its points as seconds ago and value, oldest first."""

    style: str
    points: Points


def chart(label: str, curves: Sequence[Curve], span_s: float, written: Callable[[float], str]) -> str:
    """Draw curves over common axes, from zero; `written` gives the text of a value with its unit.

    Between the first and the last curve lies a band, if there are several.
    """
    values = [value for one in curves for _, value in one.points if value is not None]
    ticks = axis_ticks(max(values, default=0.0))
    plot = _Plot(ticks[-1], span_s)
    band = plot.band(curves[0].points, curves[-1].points) if len(curves) > 1 else plot.area(curves[0].points)
    lines = "".join(plot.lines(one) for one in curves)
    axes = "".join((*plot.levels(ticks, written), *plot.minutes()))
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escaped(label)}">'
        f"{axes}{band}{lines}</svg>"
    )


def axis_ticks(most: float) -> list[float]:
    """Return the values to label, from zero in equal round steps to the first one that is not below the largest."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most / MOST_STEPS))
    step = next(one * power for one in STEPS if one * power * MOST_STEPS >= most * (1 - 1e-9))
    return [step * place for place in range(math.ceil(most / step - 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class _Plot:
    """The area inside the axes."""

    top: float
    span_s: float

    def x(self, ago_s: float) -> float:
        """Return where a moment is; what is older than the axis is at its beginning."""
        return WIDTH - RIGHT - (WIDTH - LEFT - RIGHT) * min(max(ago_s / self.span_s, 0.0), 1.0)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top

    def levels(self, ticks: Sequence[float], written: Callable[[float], str]) -> Iterator[str]:
        """Yield a line and a label for each tick of the upright axis."""
        for value in ticks:
            y = self.y(value)
            name = "0" if not value else written(value)
            yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
            yield f'<text class="level" x="{LEFT - 6}" y="{y + 4:.1f}">{escaped(name)}</text>'

    def minutes(self) -> Iterator[str]:
        """Yield a label for each minute; the last one is now."""
        for minute in range(round(self.span_s / MINUTE_S), -1, -1):
            anchor = "end" if not minute else "start" if minute * MINUTE_S == self.span_s else "middle"
            name = f"-{minute} min" if anchor == "start" else f"-{minute}" if minute else "now"
            yield f'<text class="{anchor}" x="{self.x(minute * MINUTE_S):.1f}" y="{HEIGHT - 8}">{name}</text>'

    def lines(self, curve: Curve) -> str:
        """Return a curve, with gaps where it has no value."""
        parts = (self._corners(part) for part in unbroken(curve.points))
        return "".join(f'<polyline class="{curve.style}" points="{part}"/>' for part in parts)

    def area(self, points: Points) -> str:
        """Return the area below a curve."""
        parts = list(unbroken(points))
        grounds = ([(part[-1][0], 0.0), (part[0][0], 0.0)] for part in parts)
        return "".join(map(self._polygon, parts, grounds))

    def band(self, low: Points, high: Points) -> str:
        """Return the area between two curves that have values at the same moments."""
        parts = zip(unbroken(low), unbroken(high), strict=True)
        return "".join(self._polygon(below, above[::-1]) for below, above in parts)

    def _polygon(self, there: Sequence[tuple[float, float]], back: Sequence[tuple[float, float]]) -> str:
        return f'<polygon points="{self._corners((*there, *back))}"/>'

    def _corners(self, part: Sequence[tuple[float, float]]) -> str:
        """Return the corners of a line; a single point becomes a short line, so that it is visible."""
        placed = [(self.x(ago_s), self.y(value)) for ago_s, value in part]
        if len(placed) == 1:
            placed = [(placed[0][0] - 2, placed[0][1]), *placed]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)


def with_gaps(points: Points, longest_s: float) -> Points:
    """Return points with an empty one wherever two are further apart: no line pretends to know what was there."""
    filled: list[tuple[float, float | None]] = list(points[:1])
    for (before_s, _), (ago_s, value) in pairwise(points):
        if before_s - ago_s > longest_s:
            filled.append(((before_s + ago_s) / 2, None))
        filled.append((ago_s, value))
    return filled
