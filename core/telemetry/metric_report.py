"""A process's numbers on their way to the one place where they are added up, as JSON.

Processes of different versions of this program may meet during an update, so a reader takes what it knows: a metric
that is not declared here, or is there with other labels or buckets, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from core.errors import InvalidArgument
from core.telemetry.metric_names import BY_NAME
from core.telemetry.metrics import Distribution, Labels, Metric, MetricKind, MetricSnapshot

Plain = dict[str, Any]
"""What JSON can hold."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of one process; `number` rises with each report of the process."""

    process: str
    number: int
    snapshot: MetricSnapshot


def to_bytes(report: Report) -> bytes:
    """Write a report."""
    return orjson.dumps(plain_report(report))


def from_bytes(raw: bytes | bytearray) -> Report:
    """Read a report; raises InvalidArgument."""
    return report_from(parsed(raw))


def parsed(raw: bytes | bytearray) -> Plain:
    """Read a JSON object; raises InvalidArgument."""
    try:
        document = orjson.loads(raw)
    except ValueError as error:
        raise InvalidArgument(f"Not a metrics report: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument("Not a metrics report: the JSON value is not an object.")
    return document


def plain_report(report: Report) -> Plain:
    """Return a report as JSON can hold it."""
    return {"process": report.process, "number": report.number, **plain_snapshot(report.snapshot)}


def report_from(document: Plain) -> Report:
    """Read a report; raises InvalidArgument."""
    process, number = document.get("process"), document.get("number")
    if not isinstance(process, str) or not isinstance(number, int):
        raise InvalidArgument("Not a metrics report of a process.")
    return Report(process, number, snapshot_from(document))


def plain_snapshot(snapshot: MetricSnapshot) -> Plain:
    """Return numbers as JSON can hold them."""
    return {
        "counters": {name: list(cells.items()) for name, cells in snapshot.counters.items()},
        "gauges": {name: list(cells.items()) for name, cells in snapshot.gauges.items()},
        "distributions": {
            name: [(labels, (one.counts, one.sum)) for labels, one in cells.items()]
            for name, cells in snapshot.distributions.items()
        },
    }


def snapshot_from(document: Plain) -> MetricSnapshot:
    """Read numbers, as far as they fit the metrics declared here."""
    return MetricSnapshot(
        _cells(document.get("counters"), MetricKind.COUNTER, _number),
        _cells(document.get("gauges"), MetricKind.GAUGE, _number),
        _cells(document.get("distributions"), MetricKind.HISTOGRAM, _distribution),
    )


def _cells(
    document: Any, kind: MetricKind, read: Callable[[Metric, Any], V | None]
) -> Mapping[str, Mapping[Labels, V]]:
    """Read the cells of all metrics of a kind; what cannot be read is left out."""
    found: dict[str, dict[Labels, V]] = {}
    for name, cells in _items(document):
        metric = BY_NAME.get(name)
        if metric is None or metric.kind is not kind or not isinstance(cells, list):
            continue
        known = found.setdefault(name, {})
        for cell in cells:
            labels, plain = _pair(cell)
            value = read(metric, plain)
            if value is not None and _are_labels(labels, metric):
                known[tuple(labels)] = value
    return found


def _items(document: Any) -> list[tuple[str, Any]]:
    return list(document.items()) if isinstance(document, dict) else []


def _pair(cell: Any) -> tuple[Any, Any]:
    return (cell[0], cell[1]) if isinstance(cell, list) and len(cell) == len(("labels", "value")) else (None, None)


def _are_labels(labels: Any, metric: Metric) -> bool:
    return (
        isinstance(labels, list)
        and len(labels) == len(metric.labels)
        and all(isinstance(label, str) for label in labels)
    )


def _number(metric: Metric, plain: Any) -> float | None:
    del metric
    return plain if isinstance(plain, int | float) else None


def _distribution(metric: Metric, plain: Any) -> Distribution | None:
    counts, total = _pair(plain)
    if not isinstance(counts, list) or len(counts) != len(metric.buckets) + 1 or not isinstance(total, int | float):
        return None
    return Distribution(tuple(counts), total) if all(isinstance(count, int) for count in counts) else None
