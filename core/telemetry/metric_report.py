"""Encodes the metrics of a process as JSON, for the process that adds them up.

During an update, processes of different versions of this program exchange reports. A reader ignores a metric that it
does not declare, or declares with other labels or buckets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from core.errors import InvalidArgument
from core.telemetry.metric_names import BY_NAME
from core.telemetry.metrics import Distribution, Exemplar, Labels, Metric, MetricKind, MetricSnapshot

Plain = dict[str, Any]
"""A value that JSON can hold."""

V = TypeVar("V")

_TRACE_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics of one process; `number` rises with each report of the process."""

    process: str
    number: int
    snapshot: MetricSnapshot


def to_bytes(report: Report) -> bytes:
    """Return a report as bytes."""
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
    """Return a report as a JSON value."""
    return {"process": report.process, "number": report.number, **plain_snapshot(report.snapshot)}


def report_from(document: Plain) -> Report:
    """Read a report; raises InvalidArgument."""
    process, number = document.get("process"), document.get("number")
    if not isinstance(process, str) or not isinstance(number, int):
        raise InvalidArgument("Not a metrics report of a process.")
    return Report(process, number, snapshot_from(document))


def plain_snapshot(snapshot: MetricSnapshot) -> Plain:
    """Return a snapshot as a JSON value."""
    return {
        "counters": {name: list(cells.items()) for name, cells in snapshot.counters.items()},
        "gauges": {name: list(cells.items()) for name, cells in snapshot.gauges.items()},
        "distributions": {
            name: [(labels, (one.counts, one.sum)) for labels, one in cells.items()]
            for name, cells in snapshot.distributions.items()
        },
        "exemplars": {
            name: [
                (labels, [(bucket, (one.trace_id, one.value, one.at_s)) for bucket, one in buckets.items()])
                for labels, buckets in cells.items()
            ]
            for name, cells in snapshot.exemplars.items()
        },
    }


def snapshot_from(document: Plain) -> MetricSnapshot:
    """Read a snapshot, as far as it matches the declared metrics."""
    return MetricSnapshot(
        _cells(document.get("counters"), MetricKind.COUNTER, _number),
        _cells(document.get("gauges"), MetricKind.GAUGE, _number),
        _cells(document.get("distributions"), MetricKind.HISTOGRAM, _distribution),
        _cells(document.get("exemplars"), None, _exemplars),
    )


def _cells(
    document: Any, kind: MetricKind | None, read: Callable[[Metric, Any], V | None]
) -> Mapping[str, Mapping[Labels, V]]:
    """Read the cells of all metrics of a kind, None for every kind; invalid ones are left out."""
    found: dict[str, dict[Labels, V]] = {}
    for name, cells in _items(document):
        metric = BY_NAME.get(name)
        if metric is None or (kind is not None and metric.kind is not kind) or not isinstance(cells, list):
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


def _exemplars(metric: Metric, plain: Any) -> dict[int, Exemplar] | None:
    """Read the exemplars of a cell; those that no page could show are left out."""
    if not isinstance(plain, list):
        return None
    found: dict[int, Exemplar] = {}
    for pair in plain:
        bucket, one = _pair(pair)
        if isinstance(bucket, int) and 0 <= bucket <= len(metric.buckets) and _is_exemplar(one):
            found[bucket] = Exemplar(*one)
    return found


def _is_exemplar(plain: Any) -> bool:
    if not isinstance(plain, list) or len(plain) != len(Exemplar.__slots__):
        return False
    trace_id, value, at_s = plain
    is_trace = isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id) is not None
    return is_trace and isinstance(value, int | float) and isinstance(at_s, int | float)
