"""Draws the plots of a report as SVG: distances of answers, and latencies by percentile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.admin.status_text import latency
from core.delivery.mirror_counts import L2_EDGES
from core.pages.chart import axis_ticks
from core.pages.tables import escaped

WIDTH, HEIGHT = 400, 190
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 12, 28
SHARES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Labelled places of the axis of percentiles, on which the last ones have as much room as all others."""

_NAMES: Final = ("0", *(f"{edge:.0e}".replace("e-0", "e-") if edge < 0.1 else f"{edge:g}" for edge in L2_EDGES), ">10")

Step = Sequence[float]
"""A latency in seconds, and the number of calls that took as long."""


def distance_plot(label: str, new: Sequence[int], noise: Sequence[int]) -> str:
    """Draw how many pairs are how far apart: those of both versions as bars, those of the old one twice as frames.

    The upright axis has powers of ten, so that one pair in thousands can be seen.
    """
    decades = max(1, math.ceil(math.log10(max(*new, *noise, 1) + 1)))
    slot = (WIDTH - LEFT - RIGHT) / len(_NAMES)
    parts = [_level(_height(10**one, decades), f"{10**one:,}") for one in range(decades + 1)]
    for place, (count, by_chance) in enumerate(zip(new, noise, strict=True)):
        x = LEFT + place * slot
        parts += _bar("new", x + 0.12 * slot, 0.46 * slot, _height(count, decades), count)
        parts += _bar("noise", x + 0.62 * slot, 0.28 * slot, _height(by_chance, decades), by_chance)
    parts += (
        f'<text class="middle" x="{LEFT + (place + 0.5) * slot:.1f}" y="{HEIGHT - 9}">{escaped(name)}</text>'
        for place, name in enumerate(_NAMES)
        if place % 2 == 0
    )
    return _svg(label, parts)


def latency_plot(label: str, curves: Mapping[str, Sequence[Step]]) -> str:
    """Draw latencies by percentile; curves are named as in the style sheet."""
    longest_s = max((edge_s for steps in curves.values() for edge_s, _ in steps), default=0.0)
    ticks = axis_ticks(longest_s)
    most = max((sum(int(count) for _, count in steps) for steps in curves.values()), default=1)
    plot = _Percentiles(ticks[-1], math.log10(max(2, most)))
    parts = [_level(plot.y(one), "0" if not one else latency(one)) for one in ticks]
    parts += plot.shares()
    parts += (f'<polyline class="{name}" points="{plot.corners(steps)}"/>' for name, steps in curves.items())
    return _svg(label, parts)


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escaped(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _level(y: float, name: str) -> str:
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        f'<text class="level" x="{LEFT - 6}" y="{y + 4:.1f}">{escaped(name)}</text>'
    )


def _height(count: int, decades: int) -> float:
    """Return where the top of a bar is; that of a single pair lies above the ground."""
    share = (0.15 + math.log10(count)) / (0.15 + decades) if count else 0.0
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _bar(style: str, x: float, width: float, top: float, count: int) -> Iterator[str]:
    if count:
        height = HEIGHT - BOTTOM - top
        yield f'<rect class="{style}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


@dataclass(frozen=True, slots=True)
class _Percentiles:
    """The area of latencies: its top in seconds, and how many nines its axis has."""

    top_s: float
    nines: float

    def x(self, share: float) -> float:
        """Return where a percentile is."""
        nines = min(self.nines, -math.log10(max(1 - share, 1e-12)))
        return LEFT + (WIDTH - LEFT - RIGHT) * nines / self.nines

    def y(self, took_s: float) -> float:
        """Return where a latency is."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * took_s / self.top_s

    def shares(self) -> Iterator[str]:
        """Yield the labels of the percentiles that the calls reach and that have room."""
        last = -math.inf
        for share in SHARES:
            x = self.x(share)
            if -math.log10(max(1 - share, 1e-12)) <= self.nines and x - last >= 44:
                anchor = "end" if x > WIDTH - RIGHT - 20 else "start" if not share else "middle"
                yield f'<text class="{anchor}" x="{x:.1f}" y="{HEIGHT - 9}">{100 * share:g} %</text>'
                last = x

    def corners(self, steps: Sequence[Step]) -> str:
        """Return the corners of a curve."""
        total, seen, found = sum(int(count) for _, count in steps), 0, []
        for edge_s, count in steps:
            y = self.y(edge_s)
            found.append(f"{self.x(seen / total):.1f},{y:.1f}")
            seen += int(count)
            found.append(f"{self.x(seen / total):.1f},{y:.1f}")
        return " ".join(found)
