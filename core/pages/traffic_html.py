"""The traffic of a version as charts of the last minutes, with the present values in words and a table beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.admin.status_text import duration, latency, rate
from core.pages.chart import Curve, chart, with_gaps
from core.pages.tables import Row, escaped, table_section

Json = Mapping[str, Any]

LONGEST_STEP_S = 30.0
"""Time between two points from which on nothing is known of it."""

COLUMNS = ("Ended", "Requests/s", "Errors/s", "p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class _Figure:
    """A chart: its title, its members of the document with their names for people, and how values are written.

    Those at the axis are round, and shorter. `remark` says what the numbers leave out.
    """

    title: str
    members: Mapping[str, str]
    written: Callable[[float], str]
    at_axis: Callable[[float], str]
    remark: str = ""


def traffic_section(model: Json) -> str:
    """Return the charts of all versions that were requested in the last minutes."""
    busy = [one for one in model["versions"] if one["traffic"] is not None and one["traffic"]["history"]]
    content = "".join(map(_version, busy)) or f"<p>{_why_nothing(model)}</p>"
    heading = '<h2 id="traffic-h">Traffic</h2>'
    return f'<section id="traffic" data-key="traffic" aria-labelledby="traffic-h">{heading}{content}</section>'


def _why_nothing(model: Json) -> str:
    known = [one["traffic"] for one in model["versions"] if one["traffic"] is not None]
    if not known:
        return "It is not known yet how often this model is requested."
    return f"There was no request in the last {duration(known[0]['history_s'])}."


def _version(version: Json) -> str:
    traffic, number = version["traffic"], escaped(version["version"])
    figures = "".join(_figure(one, traffic) for one in FIGURES)
    table = table_section("The points of these curves", COLUMNS, _rows(traffic["history"]))
    return (
        f'<div class="traffic" id="traffic-{number}" data-key="traffic-{number}"><h3>Version {number}</h3>'
        f"{_covered(traffic)}"
        f'<div class="figures">{figures}</div><details><summary>The same as a table</summary>{table}</details></div>'
    )


def _covered(traffic: Json) -> str:
    now, past = duration(traffic["window_s"]), duration(traffic["history_s"])
    return f'<p class="soft">Numbers of the last {now}, curves of the last {past}</p>'


def _figure(figure: _Figure, traffic: Json) -> str:
    history, span_s = traffic["history"], traffic["history_s"]
    curves = [
        Curve(member, with_gaps([(one["s_ago"], one[member]) for one in history], LONGEST_STEP_S))
        for member in figure.members
    ]
    drawn = chart(_spoken(figure, curves, span_s), curves, span_s, figure.at_axis)
    now = " ".join(_now(name, member, traffic[member], figure) for member, name in figure.members.items())
    remark = f' <span class="soft">{figure.remark}</span>' if figure.remark else ""
    caption = f"<figcaption><b>{figure.title}</b> {now}{remark}</figcaption>"
    return f'<figure data-key="{figure.title}">{caption}{drawn}</figure>'


def _now(name: str, member: str, value: float | None, figure: _Figure) -> str:
    shown = figure.written(value) if value is not None else "none"
    return f'<span class="now {member}">{name}{" " if name else ""}<b>{shown}</b></span>'


def _spoken(figure: _Figure, curves: Sequence[Curve], span_s: float) -> str:
    """Return what a chart shows, for those who do not see it."""
    most = ", ".join(_most(figure, curve) for curve in curves)
    return f"{figure.title} over the last {duration(span_s)}: {most}"


def _most(figure: _Figure, curve: Curve) -> str:
    values = [value for _, value in curve.points if value is not None]
    name = figure.members[curve.style]
    prefix = f"{name} " if name else ""
    return f"{prefix}at most {figure.written(max(values))}" if values else f"{prefix}none"


def _rows(history: Sequence[Json]) -> Iterator[Row]:
    for place, one in enumerate(reversed(history)):
        rates = (rate(one["requests_per_s"]), rate(one["errors_per_s"]))
        yield Row(str(place), (f"{duration(one['s_ago'])} ago", *rates, *(latency(one[name]) for name in QUANTILES)))


def _per_second(value: float) -> str:
    return f"{rate(value)}/s"


def _round_rate(value: float) -> str:
    return f"{value:g}/s"


def _round_latency(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


QUANTILES: Mapping[str, str] = {"p50_s": "p50", "p95_s": "p95", "p99_s": "p99"}
FIGURES = (
    _Figure("Requests", {"requests_per_s": ""}, _per_second, _round_rate),
    _Figure("Errors", {"errors_per_s": ""}, _per_second, _round_rate, "without refused requests"),
    _Figure("Latency", QUANTILES, latency, _round_latency),
)
