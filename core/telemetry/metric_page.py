"""Writes the page for Prometheus in its text format, as TensorFlow Serving does.

Differences from what Prometheus' own libraries write: names begin with `:`, a sample without labels has `{}`, there is
no `# HELP` (but for our own metrics), and a value that equals a bucket's limit is counted above it. Improvements over
it: sums have all their digits, and a line feed in a label is escaped, so that no client can break the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from core.telemetry.metrics import Distribution, Labels, Metric, MetricKind, MetricSnapshot

CONTENT_TYPE = b"text/plain"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9]")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_LARGEST_EXACT = 2.0**53


def page(metrics: Iterable[Metric], snapshot: MetricSnapshot) -> bytes:
    """Return all metrics in the order of their names, also those without values."""
    ordered = sorted(metrics, key=lambda one: page_name(one.name))
    return "".join(line for metric in ordered for line in lines(metric, snapshot)).encode()


def lines(metric: Metric, snapshot: MetricSnapshot) -> Iterator[str]:
    """Yield the lines of one metric: its type, and each value."""
    by_kind: Mapping[MetricKind, Mapping[str, Mapping[Labels, float | Distribution]]] = {
        MetricKind.COUNTER: snapshot.counters,
        MetricKind.GAUGE: snapshot.gauges,
        MetricKind.HISTOGRAM: snapshot.distributions,
    }
    cells = by_kind[metric.kind].get(metric.name, {})
    if metric.hidden_until_used and not cells:
        return
    name = page_name(metric.name)
    if metric.help:
        yield f"# HELP {name} {metric.help}\n"
    yield f"# TYPE {name} {metric.kind.value}\n"
    label_names = tuple(map(label_name, metric.labels))
    for labels in sorted(cells):
        shown = _pairs(label_names, labels)
        value = cells[labels]
        if isinstance(value, Distribution):
            yield from _histogram(name, shown, metric.buckets, value)
        else:
            yield f"{name}{{{shown}}} {sample_text(value)}\n"


def _histogram(name: str, shown: str, limits: tuple[float, ...], value: Distribution) -> Iterator[str]:
    before = f"{shown}," if shown else ""
    shown_limits = (*(f"{limit:g}" for limit in limits), "+Inf")
    for limit, count in zip(shown_limits, accumulate(value.counts), strict=True):
        yield f'{name}_bucket{{{before}le="{limit}"}} {count}\n'
    yield f"{name}_sum{{{shown}}} {sample_text(value.sum)}\n"
    yield f"{name}_count{{{shown}}} {sum(value.counts)}\n"


def _pairs(names: tuple[str, ...], values: Labels) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))


def sample_text(value: float) -> str:
    """Return a value as text: whole numbers without a point, others with all their digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if isinstance(value, int) or (value.is_integer() and abs(value) < _LARGEST_EXACT):
        return str(int(value))
    return repr(value)


def page_name(name: str) -> str:
    """Return the name on the page: every character but letters, digits and underscores becomes a colon."""
    clean = _NO_NAME.sub(":", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


def label_name(name: str) -> str:
    """Return the name of a label on the page: every character but letters and digits becomes an underscore."""
    clean = _NO_LABEL.sub("_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean
