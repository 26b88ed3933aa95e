"""Counts requests at the router, under the model name that the client sent (TensorFlow Serving, Monitoring).

Clients choose the names, so unknown names must not fill the memory: the first ones have labels of their own, all
others are counted together.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Code
from core.telemetry.metric_names import REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metrics import Counter, Exemplar, Histogram, Metrics

MOST_UNKNOWN_NAMES = 100
LONGEST_UNKNOWN_NAME = 100
OTHER_NAMES = "(other)"
"""Label of all further unknown names; names of models are never counted under it."""

MICROS_PER_S = 1e6


class RequestMeter:
    """Counts requests and times the successful ones; used on one event loop only."""

    def __init__(self, metrics: Metrics, is_model: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self.is_model = is_model
        self._counts: dict[tuple[str, Code], Counter] = {}
        self._latencies: dict[tuple[str, str, str], Histogram] = {}
        self._unknown: set[str] = set()

    def answered(self, name: str, code: Code) -> None:
        """Count a request under the name that it sent; an empty name if it sent none."""
        cell = self._counts.get((name, code)) or self._new_count(name, code)
        cell.add()

    def succeeded(self, name: str, entrypoint: str, api: str, took_s: float) -> None:
        """Count a successful request and its latency."""
        (self._counts.get((name, Code.OK)) or self._new_count(name, Code.OK)).add()
        cell = self._latencies.get((name, api, entrypoint)) or self._new_latency(name, api, entrypoint)
        cell.observe(took_s * MICROS_PER_S)

    def _new_count(self, name: str, code: Code) -> Counter:
        shown = self._shown(name)
        cell = self._metrics.counter(REQUEST_COUNT, shown, code.name)
        if shown == name:
            self._counts[name, code] = cell
        return cell

    def _new_latency(self, name: str, api: str, entrypoint: str) -> Histogram:
        shown = self._shown(name)
        cell = self._metrics.histogram(REQUEST_LATENCY, shown, api, entrypoint)
        if shown == name:
            self._latencies[name, api, entrypoint] = cell
        return cell

    def _shown(self, name: str) -> str:
        if not name or self.is_model(name) or name in self._unknown:
            return name
        if len(self._unknown) >= MOST_UNKNOWN_NAMES or len(name) > LONGEST_UNKNOWN_NAME:
            return OTHER_NAMES
        self._unknown.add(name)
        return name


class TracedRequestMeter(RequestMeter):
    """Keeps the trace of the newest request of each cell as well; `trace_id` is empty outside of traced requests."""

    def __init__(
        self, metrics: Metrics, is_model: Callable[[str], bool], trace_id: Callable[[], str], now_s: Callable[[], float]
    ) -> None:
        super().__init__(metrics, is_model)
        self._trace_id = trace_id
        self._now_s = now_s

    def answered(self, name: str, code: Code) -> None:
        """Count a request."""
        super().answered(name, code)
        trace_id = self._trace_id()
        if trace_id:
            counted = Exemplar(trace_id, 1, self._now_s())
            self._metrics.exemplify(REQUEST_COUNT, self._shown(name), code.name, by=counted)

    def succeeded(self, name: str, entrypoint: str, api: str, took_s: float) -> None:
        """Count a successful request and its latency."""
        super().succeeded(name, entrypoint, api, took_s)
        trace_id = self._trace_id()
        if trace_id:
            shown, now_s = self._shown(name), self._now_s()
            self._metrics.exemplify(REQUEST_COUNT, shown, Code.OK.name, by=Exemplar(trace_id, 1, now_s))
            measured = Exemplar(trace_id, took_s * MICROS_PER_S, now_s)
            self._metrics.exemplify(REQUEST_LATENCY, shown, api, entrypoint, by=measured)
