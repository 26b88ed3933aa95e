"""What `Monitor` of TensorFlow's profiler service tells: the requests that a router answered while it watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from core.telemetry.metric_names import REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metrics import MetricSnapshot

_MICROS_PER_MS = 1e3


def answered_requests(snapshot: MetricSnapshot) -> Mapping[str, float]:
    """Return how many requests were answered, by the name of the model that they asked for."""
    counts: defaultdict[str, float] = defaultdict(float)
    for (name, _), count in snapshot.counters.get(REQUEST_COUNT.name, {}).items():
        counts[name] += count
    return counts


def watched_text(before: MetricSnapshot, after: MetricSnapshot, seconds: float, at: str = "") -> str:
    """Return a line for each model that was asked, the busiest first; `at` is a time to begin with.

    Latencies are means of successful requests, in milliseconds.
    """
    earlier, later = answered_requests(before), answered_requests(after)
    counts = {name: count - earlier.get(name, 0.0) for name, count in later.items()}
    old, new = _latencies(before), _latencies(after)
    lines = [f"Time: {at}"] if at else []
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if not count:
            continue
        requests, micros = (mine - its for mine, its in zip(new[name], old[name], strict=True))
        latency = f", {micros / requests / _MICROS_PER_MS:.3f} ms on average" if requests else ""
        lines.append(f"{_shown(name)}: {count / seconds:.1f} requests/s{latency}")
    if len(lines) == bool(at):
        lines.append("No request was answered by this router.")
    return "".join(f"{line}\n" for line in lines)


def _shown(name: str) -> str:
    """Return a name, which clients choose, in one line of printable characters."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name) or "no model"


def _latencies(snapshot: MetricSnapshot) -> defaultdict[str, tuple[float, float]]:
    """Return the number of successful requests of each model, and the microseconds that they took together."""
    found: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for (name, *_), one in snapshot.distributions.get(REQUEST_LATENCY.name, {}).items():
        requests, micros = found[name]
        found[name] = requests + sum(one.counts), micros + one.sum
    return found
